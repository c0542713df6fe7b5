"""The data sets of the benchmark, one function each, all simulated with a fixed seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmjax.datasets import simulate_expression


@dataclass(frozen=True)
class Problem:
    """A table of responses (genes x samples), a sample table and a formula."""

    name: str
    formula: str
    samples: pd.DataFrame
    expression: pd.DataFrame
    weights: pd.DataFrame | None = None
    reml: bool = False
    target: int | None = None


def _frame(values: np.ndarray, samples: pd.DataFrame) -> pd.DataFrame:
    names = [f"gene{k}" for k in range(values.shape[1])]
    return pd.DataFrame(np.ascontiguousarray(values.T), index=names, columns=samples.index)


def _responses(
    rng: np.random.Generator, codes: list[np.ndarray], n: int, count: int, zero: float = 0.35
) -> np.ndarray:
    """Sums of random effects with gene-specific standard deviations, many of them zero."""
    y = rng.normal(size=(n, count)) + rng.normal(8, 2, size=count)
    for code in codes:
        sd = rng.gamma(1.5, 0.5, size=count) * (rng.random(count) > zero)
        y += (rng.normal(size=(code.max() + 1, count)) * sd)[code]
    return y


def three_crossed(count: int) -> Problem:
    data = simulate_expression(n_responses=count)
    return Problem(
        "three crossed terms, n=100",
        "~ Age + (1|Individual) + (1|Tissue) + (1|Batch)",
        data.samples,
        data.expression,
        target=1000,
    )


def visits(count: int) -> Problem:
    rng = np.random.default_rng(2)
    individual = np.repeat(np.arange(200), 3)
    batch = rng.permutation(np.arange(600) % 12)
    age = rng.normal(50, 10, 200)[individual]
    samples = pd.DataFrame(
        {
            "Age": age,
            "Individual": [f"i{k}" for k in individual],
            "Batch": [f"b{k}" for k in batch],
        },
        index=[f"s{k}" for k in range(600)],
    )
    y = _responses(rng, [individual, batch], 600, count)
    return Problem(
        "200 individuals x 3 visits + 12 batches, n=600",
        "~ Age + (1|Individual) + (1|Batch)",
        samples,
        _frame(y, samples),
        target=1000,
    )


def random_slopes(count: int) -> Problem:
    rng = np.random.default_rng(3)
    subject, days = np.repeat(np.arange(18), 10), np.tile(np.arange(10.0), 18)
    samples = pd.DataFrame(
        {"Days": days, "Subject": [f"S{k}" for k in subject]},
        index=[f"s{k}" for k in range(180)],
    )
    level = rng.normal(size=(18, count)) * rng.gamma(2, 0.5, count)
    slope = rng.normal(size=(18, count)) * rng.gamma(1, 0.15, count)
    y = level[subject] + slope[subject] * days[:, None] + rng.normal(size=(180, count))
    return Problem(
        "random slopes, n=180",
        "~ Days + (Days|Subject)",
        samples,
        _frame(y, samples),
        target=500,
    )


def one_term(count: int) -> Problem:
    data = simulate_expression(n_responses=count)
    return Problem(
        "one term, n=100", "~ Age + (1|Individual)", data.samples, data.expression, target=1500
    )


def weighted(count: int) -> Problem:
    base = three_crossed(count)
    rng = np.random.default_rng(4)
    weights = pd.DataFrame(
        rng.gamma(4, 0.25, size=base.expression.shape),
        index=base.expression.index,
        columns=base.expression.columns,
    )
    return Problem(
        "three crossed terms, a weight per cell",
        base.formula,
        base.samples,
        base.expression,
        weights,
        target=100,
    )


def missing(count: int) -> Problem:
    base = three_crossed(count)
    rng = np.random.default_rng(5)
    holes = rng.random(base.expression.shape) < 0.2
    return Problem(
        "three crossed terms, 20% missing at random",
        base.formula,
        base.samples,
        base.expression.mask(holes),
        target=100,
    )


def five_crossed(count: int) -> Problem:
    rng = np.random.default_rng(6)
    n = 1000
    sizes = {"Donor": 400, "Plate": 24, "Site": 10, "Operator": 6, "Region": 8}
    codes = {name: rng.permutation(np.arange(n) % size) for name, size in sizes.items()}
    samples = pd.DataFrame(
        {name: [f"{name[0]}{k}" for k in code] for name, code in codes.items()},
        index=[f"s{k}" for k in range(n)],
    )
    samples["Age"] = rng.normal(50, 10, sizes["Donor"])[codes["Donor"]]
    y = _responses(rng, list(codes.values()), n, count, zero=0.2)
    formula = "~ Age + " + " + ".join(f"(1|{name})" for name in sizes)
    return Problem(
        "five crossed terms (400 donors), n=1000",
        formula,
        samples,
        _frame(y, samples),
        target=100,
    )


PROBLEMS: dict[str, Callable[[int], Problem]] = {
    "three_crossed": three_crossed,
    "visits": visits,
    "random_slopes": random_slopes,
    "one_term": one_term,
    "weighted": weighted,
    "missing": missing,
    "five_crossed": five_crossed,
}
