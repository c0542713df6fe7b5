"""Small designs, one per kind of structure, shared by the tests of the engine.

Few and fixed: every structure costs a compilation.
"""

from __future__ import annotations

import warnings
from functools import cache

import numpy as np
import pandas as pd

import lmmjax
from lmmjax.errors import FitWarning
from lmmjax.model import Model
from lmmjax.results import FitBatch


@cache
def samples() -> pd.DataFrame:
    """40 observations: g (8 uneven levels), h (3), k (5, nested in nothing), x, days, factor f."""
    rng = np.random.default_rng(7)
    sizes = [3, 4, 5, 5, 5, 5, 6, 7]
    n = sum(sizes)
    return pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "days": np.concatenate([np.arange(size) for size in sizes]).astype(float),
            "f": np.tile(list("abcd"), 10),
            "g": np.repeat([f"g{i}" for i in range(8)], sizes),
            "h": np.array(["h0", "h1", "h2"])[rng.integers(0, 3, n)],
            "k": np.array([f"k{i}" for i in range(5)])[rng.integers(0, 5, n)],
        },
        index=pd.Index([f"s{i}" for i in range(n)], name="sample"),
    )


@cache
def balanced() -> pd.DataFrame:
    """18 subjects x 10 days: the layout of lme4's sleepstudy."""
    return pd.DataFrame(
        {
            "Days": np.tile(np.arange(10.0), 18),
            "Subject": np.repeat([f"p{i:02d}" for i in range(18)], 10),
        },
        index=pd.Index([f"s{i}" for i in range(180)]),
    )


#: one per kind of structure
FORMULAS = {
    "one_term": "~ x + (1|g)",
    "crossed": "~ x + (1|g) + (1|h)",
    "slope": "~ days + (days|g)",
    "slope_and_crossed": "~ days + (days|g) + (1|h)",
    "dense_slope": "~ x + (1|g) + (x|h)",
    "independent": "~ days + (days||g)",
    "nested": "~ (1|h/k)",
    "no_fixed": "~ 0 + (1|g)",
    "linear": "~ x + f",
}


@cache
def model(name: str) -> Model:
    """The compiled model of one of :data:`FORMULAS`."""
    return lmmjax.compile(FORMULAS[name], samples())


@cache
def responses(count: int = 12, seed: int = 3) -> np.ndarray:
    """(40, count) responses with effects of g, h and slopes of different size; read only."""
    rng = np.random.default_rng(seed)
    table = samples()
    n = len(table)
    out = rng.normal(size=(n, count))
    for column in ("g", "h", "k"):
        codes = pd.factorize(table[column])[0]
        size = rng.choice([0.0, 0.5, 2.0], size=count)
        out += size * rng.normal(size=(codes.max() + 1, count))[codes]
    codes = pd.factorize(table["g"])[0]
    slope = rng.choice([0.0, 0.3], size=count) * rng.normal(size=(codes.max() + 1, count))
    out += slope[codes] * table["days"].to_numpy()[:, None]
    out += 5.0 + table["x"].to_numpy()[:, None]
    out.flags.writeable = False
    return out


def fit_quietly(compiled: Model, y: np.ndarray, **options) -> FitBatch:
    """Fit where some responses are meant to fail."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        return compiled.fit(y, **options)


def numbers(fits: FitBatch) -> dict[str, np.ndarray]:
    """Everything numeric about the fits, one row per response."""
    return {
        "theta": fits.theta.to_numpy(),
        "sigma": fits.sigma.to_numpy(),
        "objective": fits.objective.to_numpy(),
        "fixef": fits.fixef.to_numpy(),
        "std_errors": fits.std_errors.to_numpy(),
        "gradient_norm": fits.gradient_norm.to_numpy(),
        "n_iter": fits.n_iter.to_numpy(),
    }


def assert_same_fits(
    one: FitBatch, other: FitBatch, rtol: float = 1e-9, theta_atol: float = 1e-6
) -> None:
    """Same optimum: objectives, sigma and coefficients to rtol.

    theta only to ``theta_atol``: the deviance is flat at its minimum, so rounding of size eps
    in the deviance moves theta by sqrt(eps).
    """
    assert (one.status.to_numpy() == other.status.to_numpy()).all()
    np.testing.assert_allclose(one.objective, other.objective, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(one.theta.to_numpy(), other.theta.to_numpy(), atol=theta_atol)
    loose = max(rtol, theta_atol)
    np.testing.assert_allclose(one.sigma, other.sigma, rtol=loose)
    np.testing.assert_allclose(one.fixef.to_numpy(), other.fixef.to_numpy(), rtol=loose, atol=loose)
    np.testing.assert_allclose(
        one.std_errors.to_numpy(), other.std_errors.to_numpy(), rtol=loose, atol=loose
    )
