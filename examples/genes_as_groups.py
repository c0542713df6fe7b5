"""Thirty genes in one model: does the effect of age vary between them?

    python examples/genes_as_groups.py

Instead of 30 separate fits, one model in long form with a common effect of Age and a
gene-specific deviation, ``expression ~ Age + (Age | Gene) + (1 | Individual)``.  A simulation
with known truth then compares its test for the common effect, and for its variation, with what
separate fits can say.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

import lmmjax

GENES, INDIVIDUALS = 30, 40
FORMULA = "expression ~ Age + (Age | Gene) + (1 | Individual)"


def simulate(rng: np.random.Generator, common: float, spread: float) -> pd.DataFrame:
    """Long form: one row per gene and individual; Age is centred, in decades."""
    age = rng.normal(0.0, 1.2, INDIVIDUALS)
    level = rng.normal(0.0, 1.0, GENES)
    slope = common + rng.normal(0.0, 1.0, GENES) * spread
    person = rng.normal(0.0, 0.15, INDIVIDUALS)
    gene, individual = np.divmod(np.arange(GENES * INDIVIDUALS), INDIVIDUALS)
    y = 8.0 + level[gene] + slope[gene] * age[individual] + person[individual]
    y += rng.normal(0.0, 0.8, len(y))
    return pd.DataFrame(
        {
            "expression": y,
            "Age": age[individual],
            "Gene": [f"gene{g:02d}" for g in gene],
            "Individual": [f"p{i:02d}" for i in individual],
        }
    )


def main() -> None:
    rng = np.random.default_rng(7)  # a draw like most: the truth within one standard error
    data = simulate(rng, common=0.10, spread=0.15)
    print(f"{GENES} genes x {INDIVIDUALS} individuals; true mean slope 0.10, its sd 0.15\n")
    joint = lmmjax.lmer(FORMULA, data, reml=False)
    print(joint.summary(), "\n")
    error = (joint.fixef["Age"] - 0.10) / joint.std_errors["Age"]
    print(f"The estimated mean slope lies {abs(error):.2f} standard errors from the truth.\n")

    same = lmmjax.lmer("expression ~ Age + (1 | Gene) + (1 | Individual)", data, reml=False)
    print("Does the effect of Age vary between genes?")
    print(lmmjax.anova(same, joint).to_string(), "\n")
    none = lmmjax.lmer("expression ~ 1 + (Age | Gene) + (1 | Individual)", data, reml=False)
    print("Is there a common effect of Age?")
    print(lmmjax.anova(none, joint).to_string(), "\n")

    separate = each_gene(data)
    print("Thirty separate regressions on Age:")
    print(f"  nominal p < 0.05 in {int((separate['p'] < 0.05).sum())} genes,")
    print(f"  after Benjamini-Hochberg at 5%: {int((separate['fdr'] < 0.05).sum())} genes\n")

    power()


def each_gene(data: pd.DataFrame) -> pd.DataFrame:
    """Slope and p-value of every gene by itself, all fitted at once."""
    wide = data.pivot(index="Individual", columns="Gene", values="expression")
    age = data.groupby("Individual")["Age"].first().to_frame()
    full = lmmjax.compile("~ Age", age).fit(wide, reml=False)
    null = lmmjax.compile("~ 1", age).fit(wide, reml=False)
    table = lmmjax.anova(null, full)
    return pd.DataFrame({"p": table["p_value"], "fdr": table["fdr"]})


def power(replicates: int = 200) -> None:
    """Share of simulated data sets in which each test rejects at 5%.

    All replicates share one design, so each model is fitted to all of them in one call.
    """
    print(f"Power at 5%, {replicates} simulated data sets each:")
    rows = {}
    for label, common, spread in (
        ("no effect at all", 0.0, 0.0),
        ("common effect only", 0.08, 0.0),
        ("varying effect only", 0.0, 0.08),
        ("common and varying", 0.08, 0.08),
    ):
        rng = np.random.default_rng(2)
        design = simulate(rng, 0.0, 0.0)
        y = np.column_stack([redraw(rng, design, common, spread) for _ in range(replicates)])
        formulas = {
            "joint": "~ Age + (Age | Gene) + (1 | Individual)",
            "no variation": "~ Age + (1 | Gene) + (1 | Individual)",
            "no common effect": "~ 1 + (Age | Gene) + (1 | Individual)",
        }
        fits = {k: lmmjax.compile(f, design).fit(y, reml=False) for k, f in formulas.items()}
        varies = lmmjax.anova(fits["no variation"], fits["joint"])["p_value"] < 0.05
        effect = lmmjax.anova(fits["no common effect"], fits["joint"])["p_value"] < 0.05
        wide = y.reshape(GENES, INDIVIDUALS, replicates).transpose(1, 0, 2).reshape(INDIVIDUALS, -1)
        age = design.iloc[:INDIVIDUALS][["Age"]]
        single = lmmjax.anova(
            lmmjax.compile("~ 1", age).fit(wide, reml=False),
            lmmjax.compile("~ Age", age).fit(wide, reml=False),
        )["p_value"].to_numpy()
        any_gene = (single.reshape(GENES, replicates) < 0.05 / GENES).any(axis=0)
        rows[label] = {
            "common effect": effect.mean(),
            "variation": varies.mean(),
            "any single gene (Bonferroni)": any_gene.mean(),
        }
    print(pd.DataFrame(rows).T.round(2).to_string())


def redraw(
    rng: np.random.Generator, design: pd.DataFrame, common: float, spread: float
) -> np.ndarray:
    """Another response for the same individuals."""
    age = design["Age"].to_numpy()
    gene = np.repeat(np.arange(GENES), INDIVIDUALS)
    person = np.tile(np.arange(INDIVIDUALS), GENES)
    slope = common + spread * rng.normal(size=GENES)
    mean = 8.0 + rng.normal(size=GENES)[gene] + slope[gene] * age
    return mean + rng.normal(0, 0.15, INDIVIDUALS)[person] + rng.normal(0, 0.8, len(age))


if __name__ == "__main__":
    main()
