"""theta, Lambda and Psi, and the chain rules between them."""

import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmmjax import covariance
from lmmjax.structure import Layout, choose_eliminated, triangle

LAYOUTS = {
    "scalars": Layout(p=1, eliminated=(1,), dense=((1, 3),)),
    "slope": Layout(p=1, eliminated=(2,), dense=()),
    "mixed": Layout(p=1, eliminated=(1, 2), dense=((3, 2), (1, 4))),
}


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def thetas(layout: Layout, batch: int = 4) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(layout.n_theta, batch))


def psi_entries(layout: Layout, theta: jax.Array) -> jax.Array:
    """Lower triangles of Psi, term after term: (k, batch)."""
    rows = []
    for q, part in zip(layout.term_sizes, layout.theta_slices, strict=True):
        matrix = covariance.psi(theta[part], q)
        rows += [matrix[i, j] for i, j in triangle(q)]
    return jnp.stack(rows)


@pytest.mark.parametrize("q", [1, 2, 3])
def test_factor_is_column_major(q: int) -> None:
    theta = np.arange(1.0, q * (q + 1) / 2 + 1)
    expected = dense.factor_of(theta, q)
    np.testing.assert_array_equal(covariance.factor(theta[:, None], q)[..., 0], expected)
    np.testing.assert_allclose(
        covariance.psi(theta[:, None], q)[..., 0], expected @ expected.T, rtol=1e-15
    )


def test_eliminated_terms_form_a_block_diagonal() -> None:
    layout = LAYOUTS["mixed"]
    theta = thetas(layout)
    psi = np.asarray(covariance.eliminated_psi(layout, theta))
    assert psi.shape == (3, 3, 4)
    assert (psi[0, 1:] == 0).all() and (psi[1:, 0] == 0).all()
    np.testing.assert_allclose(psi[0, 0], theta[0] ** 2, rtol=1e-15)
    factor = dense.factor_of(theta[1:4, 0], 2)
    np.testing.assert_allclose(psi[1:, 1:, 0], factor @ factor.T, rtol=1e-14)


@pytest.mark.parametrize("name", LAYOUTS)
def test_frame_keeps_psi_and_leads_with_the_largest_variance(name: str) -> None:
    layout = LAYOUTS[name]
    theta = thetas(layout)
    frame = covariance.to_frame(layout, theta)
    back = covariance.from_frame(layout, frame)
    np.testing.assert_allclose(
        psi_entries(layout, back), psi_entries(layout, jnp.asarray(theta)), atol=1e-13
    )
    for q, part in zip(layout.term_sizes, layout.theta_slices, strict=True):
        variances = np.diagonal(covariance.psi(frame.theta[part], q))
        assert (variances[:, 0] >= variances.max(axis=1) - 1e-13).all()


@pytest.mark.parametrize("name", LAYOUTS)
def test_coordinates_and_back(name: str) -> None:
    layout = LAYOUTS[name]
    theta = np.abs(thetas(layout))
    theta[0] = 0.0
    size = np.full((layout.n_theta, 1), 4.0)
    frame = covariance.to_frame(layout, theta)
    x = covariance.to_coordinates(layout, frame, size)
    back = covariance.from_coordinates(layout, x, frame, size)
    np.testing.assert_allclose(
        psi_entries(layout, back), psi_entries(layout, jnp.asarray(theta)), atol=1e-12
    )
    scalar = layout.is_scalar
    np.testing.assert_allclose(back[scalar], theta[scalar], rtol=1e-13)


@pytest.mark.parametrize("where", ["interior", "zero"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_chain_to_theta_is_the_chain_rule(name: str, where: str) -> None:
    layout = LAYOUTS[name]
    k = layout.n_theta
    theta = thetas(layout) if where == "interior" else np.zeros((k, 4))
    rng = np.random.default_rng(2)
    slope, bend = rng.normal(size=k), rng.normal(size=(k, k))
    bend = bend + bend.T

    def outer(t):
        entries = psi_entries(layout, t[:, None])[:, 0]
        return slope @ entries + 0.5 * entries @ bend @ entries

    entries = np.asarray(psi_entries(layout, jnp.asarray(theta)))
    gradient = slope[:, None] + bend @ entries
    hessian = np.repeat(bend[..., None], 4, axis=2)
    got = covariance.chain_to_theta(layout, theta, gradient, hessian)
    for b in range(4):
        np.testing.assert_allclose(got[0][:, b], jax.grad(outer)(theta[:, b]), atol=1e-12)
        np.testing.assert_allclose(got[1][..., b], jax.hessian(outer)(theta[:, b]), atol=1e-11)


@pytest.mark.parametrize("name", LAYOUTS)
def test_chain_to_coordinates_is_the_chain_rule(name: str) -> None:
    layout = LAYOUTS[name]
    k = layout.n_theta
    theta = np.abs(thetas(layout)) + 0.1
    size = np.linspace(2.0, 5.0, k)[:, None]
    rng = np.random.default_rng(3)
    slope, bend = rng.normal(size=k), rng.normal(size=(k, k))
    bend = bend + bend.T

    frame = covariance.to_frame(layout, theta)

    def outer(x, b):
        one = [None if order is None else order[:, b : b + 1] for order in frame.order]
        here = covariance.Frame(x[:, None], tuple(one))
        t = covariance.from_coordinates(layout, x[:, None], here, size)
        entries = psi_entries(layout, t)[:, 0]
        return slope @ entries + 0.5 * entries @ bend @ entries

    entries = np.asarray(psi_entries(layout, jnp.asarray(theta)))
    got = covariance.chain_to_coordinates(
        layout, frame, size, slope[:, None] + bend @ entries, np.repeat(bend[..., None], 4, axis=2)
    )
    x = covariance.to_coordinates(layout, frame, size)
    for b in range(4):
        slope_here = jax.grad(outer)(x[:, b], b)
        np.testing.assert_allclose(got[0][:, b], slope_here, rtol=1e-10, atol=1e-11)
        np.testing.assert_allclose(
            got[1][..., b], jax.hessian(outer)(x[:, b], b), rtol=1e-9, atol=1e-10
        )


def test_layout_of_theta() -> None:
    layout = LAYOUTS["mixed"]
    assert layout.n_theta == 1 + 3 + 6 + 1
    assert layout.n_dense == 3 * 2 + 4
    assert layout.m == layout.n_dense + 1
    assert layout.is_diagonal.tolist() == [
        True, True, False, True, True, False, False, True, False, True, True,
    ]  # fmt: skip
    assert layout.is_scalar.tolist() == [True] + [False] * 9 + [True]
    assert layout.eliminated_pairs == ((0, 0), (1, 1), (2, 1), (2, 2))


@pytest.mark.parametrize(
    ("groups", "levels", "expected"),
    [
        ([], [], []),
        (["a"], [3], [0]),
        (["a", "b"], [3, 9], [1]),
        (["a", "b", "a"], [9, 3, 9], [0, 2]),
        (["a", "b"], [4, 4], [0]),
    ],
)
def test_the_largest_group_is_eliminated(groups, levels, expected) -> None:
    assert choose_eliminated(groups, levels, [False] * len(groups)) == expected


def test_related_levels_are_not_eliminated() -> None:
    assert choose_eliminated(["a", "b"], [9, 3], [True, False]) == [1]
    assert choose_eliminated(["a"], [9], [True]) == []
