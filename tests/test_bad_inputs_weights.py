"""Bad weights, and weights in every unit: the rows about weights in the table of bad inputs."""

import cases
import numpy as np
import pytest
from cases import fit_quietly

from lmmjax.errors import WeightError

BAD = 4  # column of the bad response


def test_inf_y_with_weight_zero() -> None:
    """An excluded cell may hold anything."""
    y = cases.responses().copy()
    weights = np.ones_like(y)
    weights[3, BAD] = 0.0
    expected = cases.model("crossed").fit(y, weights=weights)
    y[3, BAD] = np.inf
    fits = cases.model("crossed").fit(y, weights=weights)
    np.testing.assert_array_equal(fits.objective, expected.objective)
    assert (fits.status == "converged").all()


def test_no_weight_at_all() -> None:
    y = cases.responses()
    weights = np.ones_like(y)
    weights[:, 3] = 0.0
    fits = cases.fit_quietly(cases.model("crossed"), y, weights=weights)
    assert fits.status.iloc[3] == "missing" and fits.n_obs.iloc[3] == 0
    assert not fits.singular.iloc[3]
    assert fits.converged.drop(fits.responses[3]).all()


def test_zero_weight() -> None:
    model, y = cases.model("crossed"), cases.responses()
    weights = np.ones_like(y)
    weights[[2, 9], BAD] = 0.0
    fits = model.fit(y, weights=weights)
    assert fits.n_obs[BAD] == 38 and fits.n_obs[0] == 40
    some = y.copy()
    some[[2, 9], BAD] = np.nan
    np.testing.assert_array_equal(fits.objective.iloc[BAD], model.fit(some).objective.iloc[BAD])
    one_vector = np.ones(40)
    one_vector[[2, 9]] = 0.0
    common = model.fit(y, weights=one_vector)
    assert (common.n_obs == 38).all()
    np.testing.assert_allclose(common.objective.iloc[BAD], fits.objective.iloc[BAD], rtol=1e-10)
    weights[:, BAD] = 0.0
    assert fit_quietly(model, y, weights=weights).status.iloc[BAD] == "missing"


@pytest.mark.parametrize("value", [-1.0, np.nan, np.inf])
def test_bad_weights(value: float) -> None:
    model, y = cases.model("crossed"), cases.responses()
    matrix = np.ones_like(y)
    matrix[9, BAD] = value
    with pytest.raises(WeightError, match=r"s9.*4|4.*s9"):
        model.fit(y, weights=matrix)
    vector = np.ones(40)
    vector[9] = value
    with pytest.raises(WeightError, match="s9"):
        model.fit(y, weights=vector)


@pytest.mark.parametrize("size", [1e-100, 1e-12, 1e12, 1e100])
def test_weights_of_every_size(size: float) -> None:
    """Weights in other units (inverse variances, say): sigma and theta follow, nothing else."""
    model, y = cases.model("crossed"), cases.responses()
    expected = model.fit(y, weights=np.ones((40, 12)))
    fits = fit_quietly(model, y, weights=np.full((40, 12), size))
    assert (fits.status == "converged").all()
    np.testing.assert_allclose(fits.objective, expected.objective, rtol=1e-9)
    np.testing.assert_allclose(fits.sigma / np.sqrt(size), expected.sigma, rtol=1e-6)
    np.testing.assert_allclose(fits.fixef["x"], expected.fixef["x"], rtol=1e-6)
    np.testing.assert_array_equal(fits.singular, expected.singular)
