"""Batched small-matrix operations against NumPy."""

from contextlib import nullcontext

import jax
import numpy as np
import pytest

from lmmjax import linalg
from lmmjax.array_library import by_numpy
from lmmjax.structure import Layout


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def spd(size: int, batch: int, seed: int = 0) -> np.ndarray:
    """(size, size, batch) symmetric positive definite."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(size, size + 3, batch))
    return np.einsum("ikb,jkb->ijb", root, root)


@pytest.mark.parametrize("inner", [1, 3, 7])
@pytest.mark.parametrize("shared", [False, True])
def test_product(inner: int, shared: bool) -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(2, inner, 1 if shared else 5))
    b = rng.normal(size=(inner, 4, 5))
    expected = np.einsum("ijb,jkb->ikb", np.broadcast_to(a, (2, inner, 5)), b)
    np.testing.assert_allclose(linalg.product(a, b), expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_inverse_and_logdet(size: int) -> None:
    matrix = spd(size, 6)
    inverse, logdet = linalg.inverse_and_logdet(matrix)
    for b in range(6):
        np.testing.assert_allclose(inverse[..., b], np.linalg.inv(matrix[..., b]), rtol=1e-10)
        np.testing.assert_allclose(logdet[b], np.linalg.slogdet(matrix[..., b])[1], rtol=1e-12)


def test_sweep_is_least_squares() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    gram = np.repeat((x.T @ x)[..., None], 3, axis=2)
    rr, ry, yy, logdet = linalg.sweep(0, gram, x.T @ y, np.sum(y * y, axis=0), None)
    beta, rss, _, _ = np.linalg.lstsq(x, y)
    np.testing.assert_allclose(ry, beta, rtol=1e-12)
    np.testing.assert_allclose(yy, rss, rtol=1e-12)
    np.testing.assert_allclose(-rr[..., 0], np.linalg.inv(x.T @ x), rtol=1e-11)
    np.testing.assert_allclose(logdet, np.linalg.slogdet(x.T @ x)[1], rtol=1e-13)


def test_sweep_leaves_the_rest_in_residual_form() -> None:
    rng = np.random.default_rng(3)
    a, y = rng.normal(size=(20, 5)), rng.normal(size=(20, 1))
    x = a[:, 2:]
    gram = (a.T @ a)[..., None]
    rr, ry, _, _ = linalg.sweep(2, gram, a.T @ y, np.sum(y * y, axis=0), None)
    project = np.eye(20) - x @ np.linalg.solve(x.T @ x, x.T)
    np.testing.assert_allclose(rr[:2, :2, 0], a[:, :2].T @ project @ a[:, :2], rtol=1e-11)
    np.testing.assert_allclose(ry[:2], a[:, :2].T @ project @ y, rtol=1e-11)
    np.testing.assert_allclose(ry[2:], np.linalg.lstsq(x, y)[0], rtol=1e-11)


def test_sweep_skips_columns_per_lane() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(20, 3)), rng.normal(size=(20, 2))
    gram = np.repeat((x.T @ x)[..., None], 2, axis=2)
    kept = np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    rr, ry, yy, logdet = linalg.sweep(0, gram, x.T @ y, np.sum(y * y, axis=0), kept)
    fewer = x[:, [0, 2]]
    beta, rss, _, _ = np.linalg.lstsq(fewer, y[:, 1])
    np.testing.assert_allclose(ry[:, 1], [beta[0], 0.0, beta[1]], rtol=1e-12)
    np.testing.assert_allclose(yy[1], rss[0], rtol=1e-12)
    np.testing.assert_allclose(logdet[1], np.linalg.slogdet(fewer.T @ fewer)[1], rtol=1e-12)
    np.testing.assert_allclose(
        -np.asarray(rr)[np.ix_([0, 2], [0, 2])][..., 1], np.linalg.inv(fewer.T @ fewer), rtol=1e-11
    )
    np.testing.assert_allclose(ry[:, 0], np.linalg.lstsq(x, y[:, 0])[0], rtol=1e-12)


def test_sweep_without_columns_changes_nothing() -> None:
    rr, ry, yy = np.ones((2, 2, 1)), np.ones((2, 3)), np.ones(3)
    out = linalg.sweep(2, rr, ry, yy, None)
    np.testing.assert_array_equal(out[0], rr)
    np.testing.assert_array_equal(out[3], np.zeros(3))


@pytest.mark.parametrize("theta", [0.0, 1e-9, 0.7, 1e6])
def test_absorb_adds_random_effects_to_the_covariance(theta: float) -> None:
    layout = Layout(p=2, eliminated=(), dense=((2, 3), (1, 2)))
    rng = np.random.default_rng(5)
    values = np.array([1.0, -0.4, 0.5, 2.0]) * theta
    a, y = rng.normal(size=(30, layout.m)), rng.normal(size=(30, 1))
    block = np.array([[values[0], 0.0], [values[1], values[2]]])
    lam = np.zeros((8, 8))
    for level in range(3):
        lam[2 * level : 2 * level + 2, 2 * level : 2 * level + 2] = block
    lam[6, 6] = lam[7, 7] = values[3]
    z = a[:, :8] @ lam
    v = np.eye(30) + z @ z.T
    # through Woodbury: at theta = 1e6 the inverse of V itself has no digits left
    inner = np.eye(8) + z.T @ z
    inverse = np.eye(30) - z @ np.linalg.solve(inner, z.T)
    rr, ry, yy, logdet = linalg.absorb(
        values[:, None], layout.absorb_steps, (a.T @ a)[..., None], a.T @ y, np.sum(y * y, axis=0)
    )
    tolerance = {"rtol": 1e-8 if theta < 1e3 else 1e-4, "atol": 1e-9 if theta < 1e3 else 1e-2}
    np.testing.assert_allclose(rr[..., 0], a.T @ inverse @ a, **tolerance)
    np.testing.assert_allclose(ry, a.T @ inverse @ y, **tolerance)
    np.testing.assert_allclose(yy, np.diag(y.T @ inverse @ y), rtol=tolerance["rtol"])
    np.testing.assert_allclose(logdet, np.linalg.slogdet(inner)[1], rtol=1e-9, atol=1e-12)
    assert np.isfinite(np.linalg.slogdet(v)[1])


@pytest.mark.parametrize("library", [nullcontext, by_numpy])
@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_eigen(size: int, library) -> None:
    rng = np.random.default_rng(6)
    matrix = rng.normal(size=(size, size, 8))
    matrix = matrix + np.swapaxes(matrix, 0, 1)
    with library():
        values, vectors = linalg.eigen(matrix)
    for b in range(8):
        np.testing.assert_allclose(
            np.sort(values[:, b]), np.linalg.eigvalsh(matrix[..., b]), atol=1e-11
        )
        v = np.asarray(vectors[..., b])
        np.testing.assert_allclose(v.T @ v, np.eye(size), atol=1e-12)
        np.testing.assert_allclose(v @ np.diag(values[:, b]) @ v.T, matrix[..., b], atol=1e-11)


@pytest.mark.parametrize("library", [nullcontext, by_numpy])
def test_eigenvalues_of_a_lane_without_numbers(library) -> None:
    matrix = np.stack([np.eye(3), np.full((3, 3), np.nan)], axis=-1)
    with library():
        values, _ = linalg.eigen(matrix)
    np.testing.assert_array_equal(values, [[1.0, np.nan]] * 3)


@pytest.mark.parametrize("library", [nullcontext, by_numpy])
@pytest.mark.parametrize("size", [2, 3])
def test_eigen_of_special_matrices(size: int, library) -> None:
    tied = np.eye(size)
    graded = np.diag(10.0 ** (-8 * np.arange(size))) + 1e-12 * (1 - np.eye(size))
    zero = np.zeros((size, size))
    indefinite = np.ones((size, size)) - 2 * np.eye(size)
    matrix = np.stack([tied, graded, zero, indefinite, 1e200 * tied, 1e-200 * tied], axis=-1)
    with library():
        values, vectors = linalg.eigen(matrix)
    assert np.isfinite(np.asarray(vectors)).all()
    for b in range(matrix.shape[-1]):
        np.testing.assert_allclose(
            np.sort(values[:, b]),
            np.linalg.eigvalsh(matrix[..., b]),
            rtol=1e-10,
            atol=1e-14 * np.abs(matrix[..., b]).max(),
        )
