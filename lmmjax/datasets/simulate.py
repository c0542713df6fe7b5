"""Simulated expression with known variance components, for demonstrations and benchmarks."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmjax.errors import LmmError

# Per grouping factor: how often its variance is exactly zero, and the shape and mean of the gamma
# distribution it comes from otherwise, relative to a residual variance of 1. Together they leave
# about half of the responses with at least one zero component.
_COMPONENTS = {
    "Individual": (0.10, 0.8, 0.9),
    "Tissue": (0.20, 0.5, 0.8),
    "Batch": (0.35, 0.7, 0.25),
}


@dataclass(frozen=True)
class SimulatedExpression:
    """What :func:`simulate_expression` returns.

    Attributes
    ----------
    expression
        Genes x samples, float64, on a log2 scale; NaN where missing.
    samples
        One row per sample, indexed by sample name: ``Age`` (float, years, constant within an
        individual), ``Individual``, ``Tissue`` and ``Batch`` (text).
    truth
        One row per gene: the coefficients ``(Intercept)`` and ``Age`` and the variances
        ``Individual``, ``Tissue``, ``Batch`` and ``Residuals`` that it was drawn from.
    """

    expression: pd.DataFrame
    samples: pd.DataFrame
    truth: pd.DataFrame


def simulate_expression(
    n_responses: int = 20_000,
    n_individuals: int = 25,
    n_tissues: int = 3,
    n_batches: int = 4,
    n_observations: int = 100,
    seed: int = 0,
    missing: float = 0.0,
    age_fraction: float = 0.3,
) -> SimulatedExpression:
    """Draw expression from ``~ Age + (1|Individual) + (1|Tissue) + (1|Batch)``.

    Variance components differ between genes as they do in real data: skewed, and about half of
    the genes have at least one that is exactly zero. Individuals have equally many samples (up to
    one), spread over the tissues; batches are equally large and assigned at random.

    Parameters
    ----------
    n_responses
        Number of genes.
    n_individuals, n_tissues, n_batches
        Number of levels of the grouping factors.
    n_observations
        Number of samples; at least as many as any factor has levels.
    seed
        Seed of NumPy's default generator. Equal arguments give equal data.
    missing
        Fraction of values missing completely at random, from 0 up to but excluding 1.
    age_fraction
        Fraction of genes whose mean depends on age; the others have ``Age`` 0 in ``truth``.

    Returns
    -------
    SimulatedExpression

    Raises
    ------
    LmmError
        If a size is not positive, there are fewer samples than levels, or a fraction is outside
        its range.

    Examples
    --------
    >>> from lmmjax.datasets import simulate_expression
    >>> data = simulate_expression(n_responses=50, seed=1)
    >>> data.expression.shape, list(data.samples.columns)
    ((50, 100), ['Age', 'Individual', 'Tissue', 'Batch'])
    """
    levels = {"Individual": n_individuals, "Tissue": n_tissues, "Batch": n_batches}
    _check(n_responses, n_observations, levels, missing, age_fraction)
    rng = np.random.default_rng(seed)
    codes, age = _draw_design(rng, n_observations, levels)
    truth = _draw_truth(rng, n_responses, age_fraction)

    values = rng.standard_normal((n_responses, n_observations))
    values *= np.sqrt(truth["Residuals"])[:, None]
    values += truth["(Intercept)"][:, None]
    values += truth["Age"][:, None] * age
    for factor, n_levels in levels.items():
        effects = rng.standard_normal((n_responses, n_levels)) * np.sqrt(truth[factor])[:, None]
        values += np.take(effects, codes[factor], axis=1)
    if missing > 0:
        values[rng.random(values.shape, dtype=np.float32) < missing] = np.nan

    genes = pd.Index(_names("gene", n_responses), name="gene")
    names = pd.Index(_names("sample", n_observations), name="sample")
    labels = {
        factor: np.array(_names(factor.lower(), n_levels))[codes[factor]]
        for factor, n_levels in levels.items()
    }
    return SimulatedExpression(
        expression=pd.DataFrame(values, index=genes, columns=names),
        samples=pd.DataFrame({"Age": age, **labels}, index=names),
        truth=pd.DataFrame(truth, index=genes),
    )


def _check(
    n_responses: int,
    n_observations: int,
    levels: dict[str, int],
    missing: float,
    age_fraction: float,
) -> None:
    if n_responses < 0:
        raise LmmError(f"n_responses is {n_responses}; it cannot be negative")
    for factor, n_levels in levels.items():
        if not 1 <= n_levels <= n_observations:
            raise LmmError(
                f"{factor} has {n_levels} levels for {n_observations} observations; "
                "use at least one level and at most one per observation"
            )
    if not 0 <= missing < 1:
        raise LmmError(f"missing is {missing}; give a fraction from 0 up to, not including, 1")
    if not 0 <= age_fraction <= 1:
        raise LmmError(f"age_fraction is {age_fraction}; give a fraction from 0 to 1")


def _draw_design(
    rng: np.random.Generator, n_observations: int, levels: dict[str, int]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Level codes (n_observations,) per factor, and ages (n_observations,)."""
    order = np.arange(n_observations)
    individual = np.sort(order % levels["Individual"])
    visit = order - np.searchsorted(individual, individual)  # counts up within an individual
    codes = {
        "Individual": individual,
        "Tissue": (individual + visit) % levels["Tissue"],
        "Batch": rng.permutation(order % levels["Batch"]),
    }
    age = np.round(rng.uniform(20, 80, levels["Individual"]), 1)[individual]
    return codes, age


def _draw_truth(
    rng: np.random.Generator, n_responses: int, age_fraction: float
) -> dict[str, np.ndarray]:
    """Coefficients and variances, (n_responses,) each."""
    scale = np.exp(rng.normal(-1.2, 0.8, n_responses))  # residual variance
    truth = {
        "(Intercept)": rng.normal(5.0, 2.5, n_responses),
        "Age": rng.normal(0.0, 0.012, n_responses)
        * np.sqrt(scale)
        * (rng.random(n_responses) < age_fraction),
    }
    for factor, (zero, shape, mean) in _COMPONENTS.items():
        variance = rng.gamma(shape, mean / shape, n_responses)
        truth[factor] = scale * np.where(rng.random(n_responses) < zero, 0.0, variance)
    truth["Residuals"] = scale
    return truth


def _names(prefix: str, count: int) -> list[str]:
    width = len(str(count))
    return [f"{prefix}{number:0{width}d}" for number in range(1, count + 1)]
