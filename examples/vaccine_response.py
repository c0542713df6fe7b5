"""Repeated measures: antibodies after vaccination, in families, and four ways to go wrong.

    python examples/vaccine_response.py [folder for figures]

Simulated: 8 families, 135 identifiers, each used for a brother and for a sister, IgG measured
every three months for 18 months, falling with time at a rate that varies between families and
between persons.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import lmmjax
from lmmjax.errors import CodingWarning, FitWarning

FAMILIES, PAIRS = 8, 135
TIMES = np.arange(0.0, 19.0, 3.0)


def simulate(seed: int = 5) -> pd.DataFrame:
    """One row per person and visit; ``IndID`` is shared by a brother and a sister."""
    rng = np.random.default_rng(seed)
    family = rng.integers(0, FAMILIES, PAIRS)
    family_level, family_slope = rng.normal(0, 0.35, FAMILIES), rng.normal(0, 0.02, FAMILIES)
    rows = []
    for pair in range(PAIRS):
        for sex, shift, trend in (("F", 0.0, -0.060), ("M", -0.25, -0.045)):
            level = 6.0 + shift + family_level[family[pair]] + rng.normal(0, 0.30)
            slope = trend + family_slope[family[pair]] + rng.normal(0, 0.03)
            igg = level + slope * TIMES + rng.normal(0, 0.15, len(TIMES))
            rows.append(
                pd.DataFrame(
                    {
                        "IgG": igg,
                        "Time": TIMES,
                        "Sex": sex,
                        "FamID": family[pair] + 1,
                        "IndID": pair + 1,
                    }
                )
            )
    return pd.concat(rows, ignore_index=True)


def main(folder: Path | None = None) -> None:
    data = simulate()
    persons = data[["Sex", "IndID"]].drop_duplicates()
    print(f"{len(data)} measurements of {len(persons)} persons, {PAIRS} identifiers\n")

    print("1. Identifiers are integers. As a number among the fixed effects they get one slope:")
    said = caught(lambda: lmmjax.lm("IgG ~ Sex + Time + FamID", data), CodingWarning)
    wrong = lmmjax_quietly(lmmjax.lm, "IgG ~ Sex + Time + FamID", data)
    print(f"   warning: {said}")
    print(wrong.coefficients.round(4).to_string(), "\n")
    print("   As a factor, one effect per family:")
    right = lmmjax.lm("IgG ~ Sex + Time + C(FamID)", data)
    print(right.coefficients.round(4).to_string(), "\n")

    print("2. Families as a random effect, and a difference of the sexes that varies:")
    same = lmmjax.lmer("IgG ~ Sex + (1 | FamID)", data, reml=False)
    varies = lmmjax.lmer("IgG ~ Sex + (Sex | FamID)", data, reml=False)
    print(same.summary(), "\n")
    print(varies.summary(), "\n")
    print("   Does the difference vary between families?")
    print(lmmjax.anova(same, varies).to_string(), "\n")
    sex_by_lrtest(data, same)

    print("3. Random regression on time within families:")
    families = lmmjax.lmer("IgG ~ Sex * Time + (1 + Time | FamID)", data, reml=False)
    print(families.summary(), "\n")

    print("4. Persons are measured repeatedly, but IndID is used for brother and sister:")
    lumped_formula = "IgG ~ Sex * Time + (1 + Time | FamID) + (1 + Time | IndID)"
    print(f"   warning: {caught(lambda: lmmjax.lmer(lumped_formula, data), CodingWarning)}")
    lumped = lmmjax_quietly(lmmjax.lmer, lumped_formula, data, reml=False)
    persons_fit = lmmjax.lmer(
        "IgG ~ Sex * Time + (1 + Time | FamID) + (1 + Time | Sex:IndID)", data, reml=False
    )
    table = pd.DataFrame(
        {
            "AIC": [families.aic, lumped.aic, persons_fit.aic],
            "residual sd": [families.sigma, lumped.sigma, persons_fit.sigma],
        },
        index=["families only", "siblings lumped together", "one effect per person"],
    )
    print(table.round(3).to_string(), "\n")
    print("   Simulated residual sd 0.15: only the last model finds it.\n")
    print(persons_fit.summary())
    if folder is not None:
        draw(folder, lumped, persons_fit)


def sex_by_lrtest(data: pd.DataFrame, same: lmmjax.LmmFit) -> None:
    """The test of ``Sex`` as R's tutorials do it, on REML fits, and as it is valid."""
    print("   Do the sexes differ? lrtest of two REML fits, as they are:")
    reml = [lmmjax.lmer(f"IgG ~ {x} + (1 | FamID)", data) for x in ("1", "Sex")]
    tables = []
    said = caught(lambda: tables.append(lmmjax.lrtest(*reml, reml_ok=True)), FitWarning)
    print(f"   warning: {said}")
    print(tables[0].to_string())
    print(
        "   REML looks at the residuals from the fixed effects. With other fixed effects they are\n"
        "   other data, so that Chisq compares nothing: recode Sex as 0 and 100, and it changes.\n"
        "   That is why lrtest refuses unless told otherwise, and gives no p_value then. By\n"
        "   maximum likelihood it is a test:"
    )
    none = lmmjax.lmer("IgG ~ 1 + (1 | FamID)", data, reml=False)
    print(lmmjax.lrtest(none, same).to_string(), "\n")


def caught(call, category) -> str:
    """The first warning of a category that a call gives."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        call()
    return next((str(w.message) for w in said if issubclass(w.category, category)), "none")


def lmmjax_quietly(function, *arguments, **options):
    """A call whose coding warning has been shown already."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CodingWarning)
        return function(*arguments, **options)


def draw(folder: Path, lumped: lmmjax.LmmFit, persons: lmmjax.LmmFit) -> None:
    """Diagnostic plots of the wrong and of the right model."""
    from lmmjax import plots

    folder.mkdir(parents=True, exist_ok=True)
    for name, fit in (("lumped", lumped), ("persons", persons)):
        plots.plot_residuals(fit).savefig(folder / f"vaccine_{name}_residuals.png", dpi=100)
        plots.plot_qq(fit).savefig(folder / f"vaccine_{name}_qq.png", dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
