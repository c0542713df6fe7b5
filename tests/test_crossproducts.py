"""The shared path's statistics against dense matrix algebra."""

from functools import partial

import cases
import dense
import jax
import numpy as np
import pytest

from lmmjax.crossproducts import shared_statistics
from lmmjax.model import Model
from lmmjax.prepare import level_positions, prepare, rotate_to_spectrum
from lmmjax.statistics import Compressed, between_times, combine, contract
from lmmjax.structure import triangle


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def engine_terms(model: Model) -> tuple[list[np.ndarray], list[np.ndarray], list[int]]:
    terms = [model.design.terms[k] for k in model.order.engine_terms]
    return [t.z for t in terms], [t.codes for t in terms], [t.n_levels for t in terms]


def prepared(name: str, max_classes: int = 64, weights: np.ndarray | None = None):
    model = cases.model(name)
    return prepare(
        model.layout, model.design.X, *engine_terms(model), weights, max_classes=max_classes
    )


def test_level_positions() -> None:
    codes = np.array([2, 0, 2, 1, 2])
    np.testing.assert_array_equal(level_positions(codes, 3), [[1, 5, 5], [3, 5, 5], [0, 2, 4]])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", ["crossed", "linear", "no_fixed"])
def test_basis_reproduces_x(name: str, weighted: bool) -> None:
    weights = np.linspace(0.5, 2.0, 40) if weighted else None
    root = 1.0 if weights is None else np.sqrt(weights)[:, None]
    out = prepared(name, weights=weights)
    x = cases.model(name).design.X
    np.testing.assert_allclose(out.arrays.basis @ out.x_transform, root * x, atol=1e-12)
    p = x.shape[1]
    np.testing.assert_allclose(out.arrays.basis.T @ out.arrays.basis, np.eye(p), atol=1e-13)


def test_basis_survives_offsets_and_scales_of_columns() -> None:
    model = cases.model("crossed")
    x = model.design.X.copy()
    x[:, 1] = x[:, 1] * 1e-12 + 1e-3
    out = prepare(model.layout, x, *engine_terms(model), None)
    centred = x[:, 1] - x[:, 1].mean()
    centred -= centred.mean()  # the mean itself is rounded
    np.testing.assert_allclose(
        np.abs(out.arrays.basis[:, 1]), np.abs(centred) / np.linalg.norm(centred), atol=1e-12
    )
    np.testing.assert_allclose(out.arrays.basis @ out.x_transform, x, rtol=1e-14)


@pytest.mark.parametrize("max_classes", [64, -1])
@pytest.mark.parametrize("name", ["crossed", "slope_and_crossed"])
def test_levels_are_eliminated_exactly(name: str, max_classes: int) -> None:
    """A'V_e^-1 A of the reduced system, whatever the size of Psi."""
    model = cases.model(name)
    layout, y = model.layout, cases.responses()[:, :2]
    out = prepared(name, max_classes)
    assert out.compressed == (max_classes == 64)
    stats, fixed, log_scale, _ = shared_statistics(layout, out.arrays, y)
    z, codes, n_levels = engine_terms(model)
    z = [part / scale for part, scale in zip(z, out.z_scale, strict=True)]
    q = layout.q
    n_elim = len(layout.eliminated)
    columns = [(z[k] * (codes[k] == level)[:, None]) for k in range(n_elim, len(z))
               for level in range(n_levels[k])]  # fmt: skip
    a = np.concatenate([*columns, out.arrays.basis], axis=1)
    left = (y - out.arrays.basis @ (fixed * np.exp(log_scale))) / np.exp(log_scale)
    for psi in (np.zeros((q, q)), np.eye(q) + 0.3, 1e4 * np.eye(q)):
        v = np.eye(40)
        for row in range(40):
            for col in range(40):
                if codes[0][row] == codes[0][col]:
                    v[row, col] += z[0][row] @ psi @ z[0][col]
        inverse = np.linalg.inv(v)
        weights = []
        for root in np.asarray(stats.root)[..., 0]:
            block = np.linalg.inv(np.eye(q) + root @ psi @ root.T)
            weights.append([block[i, j] for i, j in triangle(q)])
        rr, ry, yy = combine(stats, np.array(weights)[..., None], True)
        np.testing.assert_allclose(rr[..., 0], a.T @ inverse @ a, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(ry, a.T @ inverse @ left, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(yy, np.diag(left.T @ inverse @ left), rtol=1e-10)


def test_compressed_and_blocked_contractions_agree() -> None:
    layout, y = cases.model("slope_and_crossed").layout, cases.responses()[:, :3]
    rng = np.random.default_rng(1)
    inner = rng.normal(size=(layout.m, layout.m, 3))
    inner = inner + np.swapaxes(inner, 0, 1)
    w = rng.normal(size=(layout.m, 3))
    right = rng.normal(size=(layout.m, 2, 3))
    sums = []
    for limit in (64, -1):
        stats, *_ = shared_statistics(layout, prepared("slope_and_crossed", limit).arrays, y)
        parts = [np.sum(part, axis=0) for part in contract(stats, inner, w)]
        entries = np.array([1.0, -0.5, 2.0])  # the same triangle for every level or class
        weights = np.broadcast_to(entries[None, :, None], (stats.root.shape[0], 3, 3))
        sums.append([*parts, between_times(stats, weights, right)])
    for one, other in zip(*sums, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10)


def test_equal_levels_share_a_class() -> None:
    sleepstudy = cases.lmmjax.compile("~ Days + (Days|Subject)", cases.balanced())
    stats, *_ = shared_statistics(sleepstudy.layout, sleepstudy.prepared.arrays, np.ones((180, 1)))
    assert isinstance(stats, Compressed)
    np.testing.assert_array_equal(np.asarray(stats.count), [[18.0]])
    crossed = prepared("crossed")
    np.testing.assert_array_equal(np.sort(crossed.arrays.count), [1, 1, 1, 1, 4])


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e12, 1e160, 1e-170])
def test_statistics_do_not_see_the_scale(scale: float) -> None:
    layout, arrays = cases.model("crossed").layout, prepared("crossed").arrays
    y = cases.responses()
    run = jax.jit(partial(shared_statistics, layout))
    expected, fixed, log_scale, ratio = run(arrays, y)
    stats, scaled_fixed, scaled_log, scaled_ratio = run(arrays, y * scale)
    for one, other in zip(jax.tree.leaves(stats), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(scaled_fixed, fixed, rtol=1e-12)
    np.testing.assert_allclose(scaled_log - log_scale, np.log(scale), atol=1e-12)
    np.testing.assert_allclose(scaled_ratio, ratio, rtol=1e-12)


def test_residuals_are_taken_before_any_product() -> None:
    """y + 1e8 has the cross-products of its residuals, to the digits that y + 1e8 has."""
    layout, arrays = cases.model("crossed").layout, prepared("crossed").arrays
    y = cases.responses()
    shifted = y + 1e8
    rest = shifted - 1e8  # what survives in float64
    expected = jax.tree.leaves(shared_statistics(layout, arrays, rest)[0])
    for one, other in zip(
        jax.tree.leaves(shared_statistics(layout, arrays, shifted)[0]), expected, strict=True
    ):
        np.testing.assert_allclose(one, other, rtol=1e-7, atol=1e-7)


def test_perfect_fixed_fit_leaves_ratio_zero() -> None:
    model = cases.model("crossed")
    y = (model.design.X @ np.array([1e3, 0.1]))[:, None]
    *_, ratio = shared_statistics(model.layout, prepared("crossed").arrays, y)
    np.testing.assert_array_equal(ratio, [0.0])


@pytest.mark.parametrize("weighted", [False, True])
def test_spectrum_has_the_covariance(weighted: bool) -> None:
    """The rotated design has V = I + theta^2 Z Z', up to the rotation."""
    model = cases.model("one_term")
    weights = np.linspace(0.5, 2.0, 40) if weighted else None
    z, codes, _ = engine_terms(model)
    out = rotate_to_spectrum(model.design.X, z[0], codes[0], weights)
    d = np.zeros(40)
    d[:] = (np.asarray(out.arrays.root)[:, 0, 0] * out.z_scale[0][0]) ** 2
    full, _ = dense.random_effects(model.design, [1.0])
    root = np.ones(40) if weights is None else np.sqrt(weights)
    rotate = out.arrays.rotate
    np.testing.assert_allclose(rotate @ rotate.T, np.eye(40), atol=1e-13)
    np.testing.assert_allclose(
        rotate.T @ np.diag(d) @ rotate, np.outer(root, root) * (full @ full.T), atol=1e-12
    )
    np.testing.assert_allclose(
        rotate.T @ out.arrays.basis @ out.x_transform, root[:, None] * model.design.X, atol=1e-12
    )
