"""Sleep deprivation: random intercepts and slopes, and what shrinkage does.

    python examples/sleepstudy.py [folder for figures]

The data of Belenky et al. (2003): reaction times of 18 subjects on ten days, two nights of
normal sleep and then three hours a night.  The models and the comparison are those of the
lme4 tutorials.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd

import lmmjax
from lmmjax.errors import RefitWarning


def main(folder: Path | None = None) -> None:
    data = lmmjax.datasets.load_sleepstudy()
    print(f"{len(data)} observations of {data['Subject'].nunique()} subjects\n")

    print("M1: an intercept and a slope for every subject")
    m1 = lmmjax.lmer("Reaction ~ Days + (Days | Subject)", data)
    print(m1.summary(), "\n")
    print("M2: an intercept for every subject, one slope for all")
    m2 = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data)
    print(m2.summary(), "\n")

    print("Do the slopes differ? Both models fitted by maximum likelihood:")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RefitWarning)  # said in the line above
        print(lmmjax.anova(m2.refit(reml=False), m1.refit(reml=False)).to_string(), "\n")

    print("Profile likelihood intervals of M1:")
    print(m1.confint().round(3).to_string(), "\n")

    print("Three ways to a subject's line, intercept and slope:")
    coefficients = three_ways(data, m1)
    print(coefficients.round(2).to_string(), "\n")
    own, mixed = coefficients["own"], coefficients["mixed"]
    spread = pd.DataFrame({"own line": own.std(), "mixed model": mixed.std()})
    print("Standard deviation over subjects: the mixed model shrinks towards the common line")
    print(spread.round(2).to_string())

    if folder is not None:
        draw(folder, m1, m2)


def three_ways(data: pd.DataFrame, mixed: lmmjax.LmmFit) -> pd.DataFrame:
    """Each subject's own least-squares line, the line of all data, and the mixed model's."""
    own = {}
    for subject, rows in data.groupby("Subject", observed=True):
        slope, intercept = np.polyfit(rows["Days"], rows["Reaction"], 1)
        own[subject] = (intercept, slope)
    own = pd.DataFrame(own, index=["(Intercept)", "Days"]).T
    everyone = lmmjax.lm("Reaction ~ Days", data).fixef
    modes = mixed.ranef()["Subject"]
    together = pd.DataFrame(
        {name: np.full(len(own), everyone[name]) for name in own.columns}, index=own.index
    )
    conditional = modes.add(mixed.fixef[modes.columns])
    conditional.index = own.index
    return pd.concat({"own": own, "all": together, "mixed": conditional}, axis=1)


def draw(folder: Path, m1: lmmjax.LmmFit, m2: lmmjax.LmmFit) -> None:
    """The pictures of the tutorial."""
    from lmmjax import plots

    folder.mkdir(parents=True, exist_ok=True)
    figures = {
        "sleepstudy_trellis": plots.plot_trellis([m1, m2], "Days", labels=["M1", "M2"]),
        "sleepstudy_residuals": plots.plot_residuals(m1),
        "sleepstudy_caterpillar": plots.plot_caterpillar(m1),
        "sleepstudy_shrinkage": plots.plot_shrinkage(m1),
        "sleepstudy_profile": m1.profile().plot(),
    }
    for name, figure in figures.items():
        figure.savefig(folder / f"{name}.png", dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
