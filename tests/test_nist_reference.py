"""The generated NIST data and the exact answers are what NIST certifies."""

from fractions import Fraction
from importlib import util
from pathlib import Path

import nist
import numpy as np
import pytest


@pytest.mark.parametrize("name", nist.NAMES)
def test_decimal_data_reproduce_the_certified_values(name: str) -> None:
    values, groups = nist.decimals(name)
    sums = nist.sums_of_squares([Fraction(value) for value in values], groups)
    np.testing.assert_allclose([float(s) for s in sums], nist.CERTIFIED[name], rtol=2e-14)


@pytest.mark.parametrize("name", nist.NAMES)
def test_data_equal_the_files_of_nist(name: str) -> None:
    scipy = util.find_spec("scipy")
    assert scipy is not None and scipy.origin is not None
    path = Path(scipy.origin).parent / "stats/tests/data/nist_anova" / f"{name}.dat"
    if not path.exists():
        pytest.skip("this scipy comes without its test data")
    rows = [line.split() for line in path.read_text().splitlines()[60:]]
    rows = [row for row in rows if len(row) == 2]
    values, groups = nist.decimals(name)
    assert list(groups) == [group for group, _ in rows]
    assert list(values) == [value for _, value in rows]


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", ["SmLs01", "SiRstv", "AtmWtAg"])
def test_exact_optimum_maximises_the_dense_likelihood(name: str, reml: bool) -> None:
    y, groups = nist.load(name)
    answer = nist.exact(name, reml)
    y = y - answer.mean
    same = (groups[:, None] == groups[None, :]).astype(float)

    def objective(group_variance: float, residual_variance: float) -> float:
        v = group_variance * same + residual_variance * np.eye(len(y))
        inverse = np.linalg.inv(v)
        one = inverse.sum()
        beta = inverse.sum(axis=0) @ y / one
        quadratic = (y - beta) @ inverse @ (y - beta)
        value = np.linalg.slogdet(v)[1] + quadratic
        if reml:
            return value + np.log(one) + (len(y) - 1) * np.log(2 * np.pi)
        return value + len(y) * np.log(2 * np.pi)

    best = objective(answer.group_variance, answer.residual_variance)
    np.testing.assert_allclose(best, answer.objective, rtol=1e-9)
    step = 0.01 * answer.residual_variance
    assert objective(answer.group_variance + step, answer.residual_variance) > best
    if answer.group_variance > step:
        assert objective(answer.group_variance - step, answer.residual_variance) > best
    assert objective(answer.group_variance, answer.residual_variance + step) > best
    assert objective(answer.group_variance, answer.residual_variance - step) > best
