import numpy as np
import pytest
from scipy.stats import false_discovery_control

from lmmjax.inference.multiplicity import benjamini_hochberg


def test_agrees_with_scipy():
    p = np.random.default_rng(1).uniform(size=500) ** 2
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p), rtol=1e-12)


def test_missing_values_do_not_count():
    p = np.array([0.2, np.nan, 0.01, 0.01, np.nan, 1.0])
    adjusted = benjamini_hochberg(p)
    valid = ~np.isnan(p)
    assert np.isnan(adjusted[~valid]).all()
    np.testing.assert_allclose(adjusted[valid], false_discovery_control(p[valid]))


@pytest.mark.parametrize("p", [[], [np.nan, np.nan]])
def test_nothing_to_adjust(p):
    np.testing.assert_array_equal(benjamini_hochberg(p), np.array(p, float))


@pytest.mark.parametrize("p", [[0.5, 1.1], [-0.1], [[0.1, 0.2]]])
def test_bad_input(p):
    with pytest.raises(ValueError, match="p-values"):
        benjamini_hochberg(p)
