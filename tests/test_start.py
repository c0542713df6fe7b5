"""Starting points: what they cover, and a design where one scoring step is the answer."""

from __future__ import annotations

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

import lmmjax
from lmmjax import start
from lmmjax.crossproducts import shared_statistics
from lmmjax.structure import Layout


@pytest.mark.parametrize("q", [(1,), (1, 1, 1), (2,), (2, 1), (3,)])
def test_the_cover_reaches_every_term(q: tuple[int, ...]) -> None:
    layout = Layout(p=1, eliminated=(q[0],), dense=tuple((k, 4) for k in q[1:]))
    with jax.enable_x64(True):
        points = np.asarray(start.cover(layout))
    assert points.shape[1] == layout.n_theta
    assert (points[:, layout.is_diagonal] >= 0).all()
    assert (points[:, layout.is_diagonal].max(axis=0) > 1).all()
    assert len({tuple(row) for row in points}) == len(points)


@pytest.mark.parametrize("terms", [1, 2, 3, 5])
def test_nodes_of_scalar_terms(terms: int) -> None:
    layout = Layout(p=1, eliminated=(1,), dense=((1, 4),) * (terms - 1))
    size = np.linspace(2.0, 30.0, terms)[:, None]
    with jax.enable_x64(True):
        points = np.asarray(start.nodes(layout, size))
    scale = np.log1p(points**2 * size[:, 0])
    assert len(points) == (2 if terms == 1 else terms + 2)
    assert len({tuple(row) for row in points}) == len(points)
    np.testing.assert_allclose(np.unique(scale.round(12)), [start.LOW, start.HIGH])


def starts(model: lmmjax.Model, y: np.ndarray, reml: bool, n_starts: int = 1) -> np.ndarray:
    with jax.enable_x64(True):
        arrays = jax.tree.map(jnp.asarray, model.prepared.arrays)
        stats, *_ = shared_statistics(model.layout, arrays, jnp.asarray(y))
        size = jnp.asarray(model.level_size)[:, None]
        return np.asarray(start.choose_start(model.layout, reml, stats, size, n_starts))


def test_balanced_one_way_starts_at_the_analysis_of_variance() -> None:
    """In a balanced one-way layout the estimates are those of the mean squares, REML too."""
    rng = np.random.default_rng(0)
    code = np.repeat(np.arange(6), 5)
    y = rng.normal(size=(30, 40)) + rng.normal(size=(6, 40))[code]
    model = lmmjax.compile("~ 1 + (1|g)", pd.DataFrame({"g": code.astype(str)}))
    theta = starts(model, y, True)[0, 0]
    means = np.array([y[code == level].mean(axis=0) for level in range(6)])
    between = 5 * ((means - y.mean(axis=0)) ** 2).sum(axis=0) / 5
    within = ((y - means[code]) ** 2).sum(axis=0) / 24
    expected = np.sqrt(np.maximum(between / within - 1.0, 0.0) / 5)
    unit = model.theta_unit(model.prepared.z_scale)
    np.testing.assert_allclose(theta * unit[0] ** -1, expected, atol=1e-9)
    np.testing.assert_allclose(model.fit(y).theta.iloc[:, 0], expected, atol=1e-7)


@pytest.mark.parametrize("reml", [True, False])
def test_scored_starts_are_near_the_optimum(reml: bool) -> None:
    model, y = cases.model("crossed"), cases.responses(60)
    fits = model.fit(y, reml=reml)
    assert fits.n_iter.mean() < 4
    assert np.isfinite(starts(model, y, reml)).all()


def test_starts_of_hopeless_responses_are_numbers() -> None:
    model = cases.model("crossed")
    y = cases.responses(4).copy()
    y[:, 0] = 3.0
    y[:, 1] = np.nan
    some = starts(model, y, True)
    assert np.isfinite(some[..., [0, 2, 3]]).all()


def test_several_starts_differ() -> None:
    theta = starts(cases.model("slope"), cases.responses(5), True, 3)
    assert theta.shape == (3, 3, 5)
    assert (np.abs(theta[:, 0] - theta[:, 1]).max(axis=0) > 0).all()
