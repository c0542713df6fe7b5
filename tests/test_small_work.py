import numpy as np
import pandas as pd
import pytest
from cases import model

import lmmjax
from lmmjax.small_work import is_small


def of(fitted, count, **options):
    return is_small(fitted.layout, fitted.prepared.arrays, count, **options)


def test_a_few_responses_of_a_small_model():
    for name in ("one_term", "slope_and_crossed", "linear", "no_fixed"):
        assert of(model(name), 1) and of(model(name), 8), name
        assert not of(model(name), 9), name
    assert "up to 8 responses are fitted by NumPy" in model("crossed").explain()


@pytest.mark.parametrize("formula", ["~ (x|b)", "~ (1|b) + (1|c)"])
def test_many_levels_are_compiled(formula):
    rng = np.random.default_rng(0)
    n = 1200
    draw = lambda levels: rng.integers(0, levels, n).astype(str)  # noqa: E731
    data = pd.DataFrame({"x": rng.normal(size=n), "b": draw(300), "c": draw(150)})
    large = lmmjax.compile(formula, data)
    assert not of(large, 1)
    assert of(large, 1, evaluations=1e-3)
    assert "NumPy" not in large.explain()


def test_large_levels_are_walked_through_by_a_program():
    def arrays(n):
        data = pd.DataFrame({"b": np.tile(["u", "v"], n // 2), "x": np.arange(n) % 7})
        large = lmmjax.compile("~ x + (1|b)", data)
        assert of(large, 1)
        return large.layout, large.prepared_weighted[0], 1

    assert is_small(*arrays(1_000)) and not is_small(*arrays(10_000))


def test_sparse_statistics_are_a_matter_of_programs():
    crossed = model("crossed")
    arrays = crossed._prepare(None, sparse=True).arrays
    assert not is_small(crossed.layout, arrays, 1)


def test_responses_with_weights_of_their_own():
    arrays, _, _ = model("crossed").prepared_weighted
    assert is_small(model("crossed").layout, arrays, 3)
    assert not is_small(model("crossed").layout, arrays, 3, evaluations=100)
