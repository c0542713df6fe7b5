"""One-way random effects: what REML is for, two kinds of means, and Simpson's paradox.

    python examples/one_way.py [folder for figures]

The model is Y_ij = b0 + u_i + e_ij.  Ten thousand simulated data sets with few groups are
fitted in one call each by maximum likelihood and by REML.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd

import lmmjax

DATA_SETS = 10_000


def main(folder: Path | None = None) -> None:
    bias()
    means()
    simpson(folder)


def bias() -> None:
    """Estimates of the variance between groups, by ML and by REML."""
    print(f"{DATA_SETS:,} data sets, 5 observations per group, true variances 1 and 1\n")
    rows = {}
    for groups in (3, 5, 10, 30):
        rng = np.random.default_rng(groups)
        code = np.repeat(np.arange(groups), 5)
        y = rng.normal(size=(groups, DATA_SETS))[code] + rng.normal(size=(len(code), DATA_SETS))
        model = lmmjax.compile("~ 1 + (1 | g)", pd.DataFrame({"g": code.astype(str)}))
        for name, reml in (("ML", False), ("REML", True)):
            fits = model.fit(y, reml=reml)
            variance = (fits.theta.iloc[:, 0] * fits.sigma) ** 2
            rows[groups, name] = {
                "mean between": variance.mean(),
                "mean within": (fits.sigma**2).mean(),
                "estimated as zero": fits.singular.mean(),
            }
    table = pd.DataFrame(rows).T.rename_axis(["groups", "method"])
    print(table.round(3).to_string(), "\n")
    print("ML takes the fitted mean for the true one: with g groups it sees about (g - 1)/g of")
    print("the variance between them. REML does not; what is left is the cut at zero.\n")


def means() -> None:
    """The mean of all observations, and what the model says about it and about groups."""
    rng = np.random.default_rng(1)
    sizes = np.array([2, 3, 5, 8, 20, 40])
    code = np.repeat(np.arange(len(sizes)), sizes)
    y = 10 + rng.normal(0, 2, len(sizes))[code] + rng.normal(0, 1.5, len(code))
    data = pd.DataFrame({"y": y, "g": [f"g{c}" for c in code]})
    fit = lmmjax.lmer("y ~ 1 + (1 | g)", data)
    print("Unequal groups: the marginal mean is one number, conditional means are per group")
    print(f"  mean of all observations     {y.mean():.3f}")
    print(f"  mean of the group means      {data.groupby('g')['y'].mean().mean():.3f}")
    interval = fit.confint("wald").loc["(Intercept)"]
    print(f"  marginal mean of the model   {fit.fixef.iloc[0]:.3f}"
          f"  (95%: {interval.iloc[0]:.3f} to {interval.iloc[1]:.3f})")  # fmt: skip
    groups = data.groupby("g")["y"].agg(["size", "mean"])
    modes = fit.ranef(cond_var=True)["g"]
    groups["conditional"] = fit.fixef.iloc[0] + modes["(Intercept)"]
    groups["sd"] = modes["(Intercept)_sd"]
    print(groups.round(3).to_string(), "\n")


def simpson(folder: Path | None) -> None:
    """Within every group the slope is positive; pooled it is negative."""
    rng = np.random.default_rng(4)
    groups, each = 8, 12
    code = np.repeat(np.arange(groups), each)
    centre = np.linspace(0, 7, groups)
    x = centre[code] + rng.normal(0, 0.8, len(code))
    y = 20 - 3.0 * centre[code] + 1.0 * (x - centre[code]) + rng.normal(0, 0.7, len(code))
    data = pd.DataFrame({"x": x, "y": y, "g": [f"g{c}" for c in code]})
    pooled = lmmjax.lm("y ~ x", data)
    mixed = lmmjax.lmer("y ~ x + (1 | g)", data)
    print("Simpson's paradox: true slope 1 within groups, group means falling")
    print(f"  pooled regression  {pooled.fixef['x']:+.3f} (standard error "
          f"{pooled.std_errors['x']:.3f})")  # fmt: skip
    print(f"  mixed model        {mixed.fixef['x']:+.3f} (standard error "
          f"{mixed.std_errors['x']:.3f})")  # fmt: skip
    if folder is not None:
        draw(folder, data, pooled, mixed)


def draw(folder: Path, data: pd.DataFrame, pooled, mixed: lmmjax.LmmFit) -> None:
    """The pooled line, and a line per group."""
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    figure = Figure(figsize=(6, 4.2), layout="constrained")
    axes = figure.subplots()
    fitted = mixed.fitted().to_numpy()
    for _, rows in data.reset_index(drop=True).groupby("g"):
        order = rows.index[np.argsort(rows["x"])]
        (line,) = axes.plot(rows["x"], rows["y"], "o", ms=4, alpha=0.7)
        axes.plot(data["x"].to_numpy()[order], fitted[order], color=line.get_color())
    ends = np.array([data["x"].min(), data["x"].max()])
    axes.plot(ends, pooled.fixef.iloc[0] + pooled.fixef["x"] * ends, "k--", label="pooled")
    axes.set(xlabel="x", ylabel="y")
    axes.legend(frameon=False)
    figure.savefig(folder / "simpson.png", dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
