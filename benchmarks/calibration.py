"""Are the p-values of likelihood-ratio tests right? 20,000 responses for which the null holds.

    python benchmarks/calibration.py

writes benchmarks/results/calibration.md and docs/images/lrt_qq.png (three minutes of processor
time; --responses 2000 for a quick look).
"""

from __future__ import annotations

import argparse
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

import lmmjax

ROOT = Path(__file__).resolve().parents[1]
LEVELS = (0.05, 0.01, 0.001)
FACTORS = ("Individual", "Tissue", "Batch")


@dataclass(frozen=True)
class Case:
    """One kind of test, on data for which its null hypothesis holds."""

    name: str
    null_term: str  # its effect is zero in every response
    full: str
    reduced: str
    reml: bool = False
    n_observations: int = 100
    n_individuals: int = 25
    n_batches: int = 4
    figure: str = ""  # panel


MIXED = "(1|Individual) + (1|Tissue)"
CASES = (
    Case("Age (fixed), ML", "Age", f"~ Age + {MIXED} + (1|Batch)", f"~ {MIXED} + (1|Batch)",
         figure="fixed"),
    Case("Age (fixed), ML", "Age", f"~ Age + {MIXED} + (1|Batch)", f"~ {MIXED} + (1|Batch)",
         n_observations=800, n_individuals=200, figure="fixed"),
    Case("Batch (random), REML", "Batch", f"~ Age + {MIXED} + (1|Batch)", f"~ Age + {MIXED}",
         reml=True, figure="random"),
    Case("Batch (random), ML", "Batch", f"~ Age + {MIXED} + (1|Batch)", f"~ Age + {MIXED}"),
    Case("Batch (random), REML", "Batch", f"~ Age + {MIXED} + (1|Batch)", f"~ Age + {MIXED}",
         reml=True, n_observations=800, n_individuals=200, n_batches=100, figure="random"),
    Case("slope of Dose (random), REML", "Dose | Individual", "~ Dose + (Dose|Individual)",
         "~ Dose + (1|Individual)", reml=True, n_observations=800, n_individuals=200),
    Case("Age and Batch, ML", "Age, Batch", f"~ Age + {MIXED} + (1|Batch)", f"~ {MIXED}"),
)  # fmt: skip


@dataclass(frozen=True)
class NullData:
    """Expression (genes x samples) without the effect in question, samples, and the truth."""

    expression: pd.DataFrame
    samples: pd.DataFrame
    truth: pd.DataFrame


def simulate(case: Case, n_responses: int, seed: int) -> NullData:
    """Responses for which the reduced model of the case is true."""
    data = lmmjax.datasets.simulate_expression(
        n_responses, case.n_individuals, 3, case.n_batches, case.n_observations, seed,
        age_fraction=0.0,
    )  # fmt: skip
    rng = np.random.default_rng(seed + 1)
    truth = data.truth
    values = rng.standard_normal((n_responses, case.n_observations))
    values *= np.sqrt(truth["Residuals"].to_numpy())[:, None]
    values += truth["(Intercept)"].to_numpy()[:, None]
    for factor in FACTORS:
        if factor in case.null_term.split(", ") or f"|{factor}" not in case.full:
            continue
        codes = data.samples[factor].astype("category").cat.codes.to_numpy()
        effects = rng.standard_normal((n_responses, codes.max() + 1))
        effects *= np.sqrt(truth[factor].to_numpy())[:, None]
        values += effects[:, codes]
    samples = data.samples.assign(Dose=rng.normal(size=case.n_observations))
    return NullData(pd.DataFrame(values, truth.index, samples.index), samples, truth)


def run(case: Case, data: NullData) -> pd.DataFrame:
    """Table of the tests."""
    fits = [
        lmmjax.compile(formula, data.samples).fit(data.expression, reml=case.reml, progress=False)
        for formula in (case.reduced, case.full)
    ]
    return lmmjax.anova(*fits)


def rates(p_values: np.ndarray) -> list[str]:
    """Rejection rates with binomial standard errors."""
    out = []
    for level in LEVELS:
        rate = float(np.mean(p_values <= level))
        out.append(f"{rate:.4f} ± {np.sqrt(rate * (1 - rate) / len(p_values)):.4f}")
    return out


def rows(case: Case, valid: pd.DataFrame, truth: pd.DataFrame) -> list[list[str]]:
    """Lines of the report: plain chi-square, then the right null where it is another."""
    sizes = f"{case.n_observations} / {case.n_individuals} / {case.n_batches}"
    if "Dose" in case.name:
        sizes = f"{case.n_observations} / {case.n_individuals} / –"
    plain = f"chisq({valid['df'].iloc[0]})"
    lines = [[case.name, sizes, plain, *rates(valid["p_chisq"].to_numpy()), ""]]
    null = valid["null"].mode().iloc[0]
    zero = f"{np.mean(valid['chisq'] == 0):.3f}" if "chisq(0)" in null else ""
    if null != plain:
        lines.append([case.name, sizes, f"**{null}**", *rates(valid["p_value"].to_numpy()), zero])
    if "Dose" in case.name:
        ratio = truth["Individual"] / truth["Residuals"]
        clear = valid.loc[ratio[valid.index] > 1, "p_value"].to_numpy()
        name = f"the {len(clear):,} of these with a variance of Individual above that of residuals"
        lines.append([name, sizes, f"**{null}**", *rates(clear), ""])
    return lines


def draw(panels: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    """QQ figure, one panel for fixed and one for random effects."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    titles = {"fixed": "fixed effect: Age, ML", "random": "random effect: Batch, REML"}
    for axes, (kind, sets) in zip(figure.subplots(1, 2), panels.items(), strict=True):
        lmmjax.plots.qq(sets, ax=axes)
        axes.set_title(titles[kind], fontsize=11)
        axes.set_ylim(0, 6)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def report(lines: list[list[str]], failed: int, n_responses: int, seed: int) -> str:
    """Markdown."""
    head = ["test", "samples / individuals / batches", "null distribution",
            *(f"rejected at {level:g}" for level in LEVELS), "statistics of 0"]  # fmt: skip
    table = "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * 7, *lines])
    versions = ", ".join(f"{name} {version(name)}" for name in ("jax", "numpy"))
    error = [f"{np.sqrt(level * (1 - level) / n_responses):.4f}" for level in LEVELS]
    return f"""# Calibration of likelihood-ratio tests

{n_responses:,} simulated responses per line, for all of which the null hypothesis is true. Other
variance components differ between responses, and some of them are zero, as in real data. Rates
that keep their level lie within about two standard errors ({", ".join(error)} at the levels of
{", ".join(f"{level:g}" for level in LEVELS)}) of it. {failed} tests failed. In bold: the null that
`lmmjax.anova` uses for `p_value`; `p_chisq` is the plain chi-square.

{table}

How to read it:

- **Fixed effects.** Age is constant within an individual, so its test rests on the number of
  individuals, not of samples. With 25 of them the ML likelihood-ratio test is anticonservative, the
  more so the smaller the level, whatever program fits the model: the chi-square is its distribution
  for many individuals (second line: 200). Where groups are few, prefer a t or F test with
  Satterthwaite or Kenward-Roger degrees of freedom.
- **Random effects.** A variance cannot be negative, so the plain chi-square rejects less than half
  as often as it says. The mixture comes close to its level where batches are many (100), less so
  far out in the tail. With four batches it is clearly conservative: the estimate is zero in 60% or
  more of the responses (last column; 50% in theory), more often under ML, which estimates variances
  too small, than under REML. In the joint test of Age and Batch this and the error of the fixed
  effect partly cancel.
- **Variances near zero elsewhere.** The mixtures take the variances of the smaller model to be
  positive. Where they are zero or nearly so, as for part of the responses here, the tests are
  conservative: see the slope, for all responses and for those with a clear variance of Individual.

Figure: [docs/images/lrt_qq.png](../../docs/images/lrt_qq.png). Both are made by
`python benchmarks/calibration.py` (seed {seed}; lmmjax {lmmjax.__version__}, Python
{platform.python_version()}, {versions}).
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--responses", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT, help="root of the two output paths")
    given = parser.parse_args()
    lines: list[list[str]] = []
    panels: dict[str, dict[str, np.ndarray]] = {"fixed": {}, "random": {}}
    failed = 0
    for case in CASES:
        start = time.perf_counter()
        data = simulate(case, given.responses, given.seed)
        tests = run(case, data)
        valid = tests[tests["status"] == "ok"]
        failed += len(tests) - len(valid)
        added = rows(case, valid, data.truth)
        lines += added
        for line in added:
            print(" | ".join(line), flush=True)
        print(f"{time.perf_counter() - start:.0f} s", flush=True)
        if case.figure == "fixed":
            label = f"{case.n_individuals} individuals"
            panels["fixed"][label] = valid["p_value"].to_numpy()
        elif case.figure == "random":
            where = f"{case.n_batches} batches"
            panels["random"][f"plain chi-square, {where}"] = valid["p_chisq"].to_numpy()
            panels["random"][f"mixture, {where}"] = valid["p_value"].to_numpy()
    table = given.out / "benchmarks" / "results" / "calibration.md"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text(report(lines, failed, given.responses, given.seed), encoding="utf-8")
    draw(panels, given.out / "docs" / "images" / "lrt_qq.png")


if __name__ == "__main__":
    main()
