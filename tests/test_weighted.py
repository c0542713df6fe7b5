"""Per-response statistics: ranks, factors and pivots on what a response has."""

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmmjax import deviance
from lmmjax.crossproducts import shared_statistics
from lmmjax.model import Model
from lmmjax.weighted import _cholesky, prepare_weighted, usable_columns, weighted_statistics


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def prepared(model: Model):
    terms = [model.design.terms[k] for k in model.order.engine_terms]
    arrays, transform, z_scale = prepare_weighted(
        model.layout,
        model.design.X,
        [t.z for t in terms],
        [t.codes for t in terms],
        [t.n_levels for t in terms],
    )
    return jax.tree.map(jnp.asarray, arrays), transform, z_scale


def test_transform_reproduces_x() -> None:
    for name in ("crossed", "linear"):
        model = cases.model(name)
        arrays, transform, _ = prepared(model)
        x = arrays.a[:, model.layout.n_dense :]
        np.testing.assert_allclose(x @ transform, model.design.X, atol=1e-13)


def test_usable_columns_first_wins() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(20, 4))
    dependent = a.copy()
    dependent[:, 2] = 3 * a[:, 0] - a[:, 1]
    empty = a.copy()
    empty[:, 1] = 0.0
    tiny = a.copy()
    tiny[:, 3] *= 1e-150
    grams = np.stack([m.T @ m for m in (a, dependent, empty, tiny)], axis=-1)
    expected = np.array([[1, 1, 1, 1], [1, 1, 0, 1], [1, 0, 1, 1], [1, 1, 1, 1]]).T
    np.testing.assert_array_equal(usable_columns(grams), expected)


@pytest.mark.parametrize("q", [1, 2, 3])
def test_cholesky(q: int) -> None:
    rng = np.random.default_rng(2)
    a = rng.normal(size=(5, q, 4))
    a[:, -1, 1] = a[:, 0, 1]  # dependent, where q > 1
    a[:, :, 2] = 0.0
    gram = np.einsum("nib,njb->ijb", a, a)
    root, inverse = _cholesky(gram)
    assert np.isfinite(np.asarray(root)).all() and np.isfinite(np.asarray(inverse)).all()
    for b in range(4):
        r = np.asarray(root[..., b])
        np.testing.assert_allclose(r.T @ r, gram[..., b], atol=1e-12)
    np.testing.assert_allclose(inverse[..., 0] @ root[..., 0].T, np.eye(q), atol=1e-12)


@pytest.mark.parametrize("name", ["crossed", "slope_and_crossed", "linear"])
def test_weights_of_one_give_the_shared_deviance(name: str) -> None:
    model = cases.model(name)
    y = cases.responses()[:, :3]
    arrays, transform, z_scale = prepared(model)
    own, _, own_scale, _ = weighted_statistics(model.layout, arrays, y, np.ones_like(y))
    shared, _, scale, _ = shared_statistics(model.layout, model.prepared.arrays, y)
    np.testing.assert_array_equal(own.n, [40.0] * 3)
    np.testing.assert_array_equal(own.rank, [float(model.design.rank)] * 3)
    np.testing.assert_allclose(own.log_weights, 0.0)
    for part, other in zip(z_scale, model.prepared.z_scale, strict=True):
        np.testing.assert_allclose(part, other)
    theta = np.full((model.layout.n_theta, 3), 0.6)
    for reml in (False, True):
        values = []
        for stats, log_scale, change in (
            (own, own_scale, transform),
            (shared, scale, model.prepared.x_transform),
        ):
            value = deviance.evaluate(model.layout, reml, stats, theta).value
            value = value + deviance.objective_constant(reml, stats, log_scale)
            values.append(value + reml * 2 * np.sum(np.log(np.abs(np.diag(change)))))
        np.testing.assert_allclose(values[0], values[1], rtol=1e-11)


def test_missing_values_never_reach_the_products() -> None:
    """Whatever stands in a cell of weight zero, the statistics are the same bits."""
    model = cases.model("crossed")
    arrays, _, _ = prepared(model)
    y = cases.responses()[:, :2].copy()
    w = np.ones_like(y)
    w[[3, 17], 0] = 0.0
    first = weighted_statistics(model.layout, arrays, y, w)
    y[[3, 17], 0] = [np.nan, 1e300]
    second = weighted_statistics(model.layout, arrays, y, w)
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_rank_is_that_of_the_observations_left() -> None:
    model = cases.model("linear")  # ~ x + f, f with four levels
    arrays, _, _ = prepared(model)
    y = cases.responses()[:, :2]
    w = np.ones_like(y)
    w[cases.samples()["f"].to_numpy() == "c", 1] = 0.0
    stats, *_ = weighted_statistics(model.layout, arrays, y, w)
    np.testing.assert_array_equal(stats.rank, [5.0, 4.0])
    np.testing.assert_array_equal(stats.n, [40.0, 30.0])
    names = [n for n, k in zip(model.design.fixed_names, model.design.fixed_kept, strict=True) if k]
    np.testing.assert_array_equal(
        np.asarray(stats.kept)[:, 1], [0.0 if "c" in name.split("f")[-1] and name != "(Intercept)"
                                       else 1.0 for name in names]
    )  # fmt: skip
