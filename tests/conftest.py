"""Fits that several tests look at, made once per session."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest
import reference

import lmmjax

#: Compiled programs hold memory mappings, of which Linux grants a process 65,530.
MAPPINGS_TOLERATED = 20_000


@pytest.fixture(autouse=True, scope="module")
def release_programs() -> Iterator[None]:
    """Drop compiled programs between modules before their mappings run out."""
    yield
    mappings = Path("/proc/self/maps")
    if mappings.exists() and len(mappings.read_bytes().splitlines()) > MAPPINGS_TOLERATED:
        jax.clear_caches()


ReferenceLmer = Callable[[reference.ReferenceFit], lmmjax.LmmFit]


@pytest.fixture(scope="session")
def reference_lmer() -> ReferenceLmer:
    """``lmer`` of a reference fit, cached."""
    made: dict[str, lmmjax.LmmFit] = {}

    def fit(ref: reference.ReferenceFit) -> lmmjax.LmmFit:
        if ref.id not in made:
            made[ref.id] = lmmjax.lmer(ref.formula, ref.data, ref.reml, weights=ref.weights)
        return made[ref.id]

    return fit


@pytest.fixture(scope="session")
def sleepstudy() -> pd.DataFrame:
    """The data as lmmjax ships them."""
    return lmmjax.datasets.load_sleepstudy()


@pytest.fixture(scope="session")
def slope_fit(reference_lmer: ReferenceLmer) -> lmmjax.LmmFit:
    """Reaction ~ Days + (Days | Subject), REML."""
    return reference_lmer(reference.reference_fit("sleepstudy", "slope_reml"))


class Ragged:
    """A batch with everything that goes wrong: missing values, weights, hopeless responses.

    48 samples, crossed terms, one of them vector-valued, an offset.
    """

    formula = "~ x + f + offset(o) + (x | g) + (1 | h)"

    def __init__(self) -> None:
        rng = np.random.default_rng(3)
        n = 48
        self.samples = pd.DataFrame(
            {
                "x": rng.normal(size=n),
                "f": rng.choice(["p", "q"], n),
                "o": rng.normal(size=n),
                "g": np.repeat([f"g{i}" for i in range(8)], 6),
                "h": np.tile(["u", "v", "w"], 16),
            },
            index=[f"s{i}" for i in range(n)],
        )
        g, h = np.repeat(np.arange(8), 6), np.tile(np.arange(3), 16)
        y = rng.normal(size=(n, 12)) + rng.normal(size=(8, 12))[g] + rng.normal(size=(3, 12))[h]
        y += rng.normal(size=(8, 12))[g] * self.samples["x"].to_numpy()[:, None]
        y[rng.random(y.shape) < 0.1] = np.nan
        y[:, 0] = rng.normal(size=n)  # complete
        y[:, 1] = 2.5  # constant
        y[:, 2] = np.nan
        y[g == 5, 3] = np.nan  # a level without observations
        y[:, 4] = 1e8 + 1e-3 * y[:, 5]
        y[3, 6] = np.inf
        names = [f"gene{k}" for k in range(12)]
        self.Y = pd.DataFrame(y, index=self.samples.index, columns=names)
        self.weights = pd.DataFrame(rng.uniform(0.5, 2, y.shape), self.samples.index, names)
        self.weights.iloc[5, :] = 0.0
        self.model = lmmjax.compile(self.formula, self.samples)
        with pytest.warns(lmmjax.errors.FitWarning):
            self.fits = self.model.fit(self.Y)
        with pytest.warns(lmmjax.errors.FitWarning):
            self.weighted = self.model.fit(self.Y, weights=self.weights, reml=False)


@pytest.fixture(scope="session")
def ragged() -> Ragged:
    return Ragged()
