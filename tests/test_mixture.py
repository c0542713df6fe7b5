import numpy as np
import pytest
from scipy.optimize import nnls
from scipy.stats import chi2

from lmmjax.inference.mixture import (
    ChiBarSquare,
    bound_weights,
    chi2_sf,
    cone_weights,
    has_closed_form,
    orthant_weights,
    psd2_weights,
)


def information(seed, d):
    a = np.random.default_rng(seed).normal(size=(d, d))
    return a @ a.T + 0.2 * np.eye(d)


def estimates(info, count, seed=0):
    covariance = np.linalg.inv(info)
    rng = np.random.default_rng(seed)
    return rng.multivariate_normal(np.zeros(len(info)), covariance, size=count)


def test_chi2_sf():
    x = np.array([0.0, 1e-8, 0.3, 5.0, 80.0, 600.0])
    for df in (1, 2, 3, 17):
        np.testing.assert_allclose(chi2_sf(x, df), chi2.sf(x, df), rtol=1e-10)
    mixed = np.array([1, 2, 3, 1, 2, 3])
    np.testing.assert_allclose(chi2_sf(x, mixed), chi2.sf(x, mixed), rtol=1e-10)


def test_no_degrees_of_freedom_are_a_point_mass_at_zero():
    np.testing.assert_array_equal(chi2_sf([0.0, 1e-9, np.nan], 0), [1.0, 0.0, np.nan])


def test_half_and_half():
    null = ChiBarSquare(np.array([[0.5, 0.5]]), np.array([0]))
    x = np.array([0.0, 2.7055434540954, np.nan])
    np.testing.assert_allclose(null.sf(x), [1.0, 0.05, np.nan], rtol=1e-10)
    assert null.text(2) == ["0.5 chisq(0) + 0.5 chisq(1)"] * 2


def test_mixtures_per_response():
    weights = np.array([[0.25, 0.5, 0.25], [0.0, 0.5, 0.5]])
    null = ChiBarSquare(weights, np.array([0, 2]))
    expected = [
        0.5 * chi2.sf(3.0, 1) + 0.25 * chi2.sf(3.0, 2),
        0.5 * chi2.sf(4.0, 3) + 0.5 * chi2.sf(4.0, 4),
    ]
    np.testing.assert_allclose(null.sf([3.0, 4.0]), expected, rtol=1e-12)
    assert null.text(2) == [
        "0.25 chisq(0) + 0.5 chisq(1) + 0.25 chisq(2)",
        "0.5 chisq(3) + 0.5 chisq(4)",
    ]


def test_no_responses():
    null = ChiBarSquare(np.array([[0.5, 0.5]]), np.zeros(0, int))
    assert null.text(0) == [] and null.sf([]).shape == (0,)


def test_plain_chi_square_and_bound_in_words():
    assert ChiBarSquare(np.ones((1, 1)), np.array([2])).text(1) == ["chisq(2)"]
    bound = ChiBarSquare(bound_weights(6), np.array([3]), exact=False)
    assert bound.text(1) == ["at most 0.5 chisq(8) + 0.5 chisq(9)"]


def test_independent_variances_are_binomial():
    np.testing.assert_allclose(orthant_weights(np.eye(2)[None])[0], np.array([1, 2, 1]) / 4)
    np.testing.assert_allclose(orthant_weights(np.eye(3)[None])[0], np.array([1, 3, 3, 1]) / 8)


def test_two_correlated_variances():
    # correlation 1/2 between the estimates: the orthant has angle 120 degrees
    covariance = np.array([[1.0, 0.5], [0.5, 1.0]])
    weights = orthant_weights(np.linalg.inv(covariance)[None])
    np.testing.assert_allclose(weights[0], [1 / 6, 1 / 2, 1 / 3])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_three_variances_against_simulation(seed):
    info = information(seed, 3)
    root = np.linalg.cholesky(info).T
    positive = [np.sum(nnls(root, root @ e)[0] > 0) for e in estimates(info, 20_000)]
    seen = np.bincount(positive, minlength=4) / 20_000
    np.testing.assert_allclose(orthant_weights(info[None])[0], seen, atol=0.015)


def test_circular_cone():
    # in the Frobenius norm the cone of 2 x 2 covariances has a half-angle of 45 degrees
    inside = (1 - np.sqrt(0.5)) / 2
    np.testing.assert_allclose(
        psd2_weights(np.diag([1.0, 2.0, 1.0])[None])[0],
        [inside, 0.5 - inside, 0.5 - inside, inside],
        rtol=1e-12,
    )


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_two_by_two_block_against_simulation(seed):
    info = information(seed, 3)
    a, c, b = estimates(info, 200_000).T
    inside = np.mean((a > 0) & (a * b > c**2))
    y, z, x = -(info @ np.array([a, c, b]))  # in the polar cone: the projection is zero
    polar = np.mean((y > 0) & (y * x > z**2 / 4))
    weights = psd2_weights(info[None])[0]
    np.testing.assert_allclose(weights[[0, 3]], [polar, inside], atol=0.005)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[::2].sum() == pytest.approx(0.5)


def test_bound_is_above_every_cone():
    x = np.linspace(0.01, 20, 50)
    bound = ChiBarSquare(bound_weights(3), np.array([0])).sf(x)
    for seed in range(20):
        info = information(seed, 3)[None]
        for weights in (orthant_weights(info), psd2_weights(info)):
            assert np.all(ChiBarSquare(weights, np.array([0])).sf(x) <= bound + 1e-12)


def test_which_cones_are_exact():
    assert has_closed_form(()) and has_closed_form((1,)) and has_closed_form((2,))
    assert not has_closed_form((1, 2)) and not has_closed_form((1, 1, 1, 1))
    np.testing.assert_array_equal(cone_weights(None, ()), [[1.0]])
    np.testing.assert_array_equal(cone_weights(None, (1,)), [[0.5, 0.5]])
    assert cone_weights(None, (3,)) is None
    np.testing.assert_array_equal(cone_weights(np.eye(2)[None], (1, 1)), [[0.25, 0.5, 0.25]])
    with pytest.raises(ValueError, match="information"):
        cone_weights(None, (1, 1))
    with pytest.raises(ValueError, match="2 or 3"):
        orthant_weights(np.eye(4)[None])
