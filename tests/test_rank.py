"""Linear dependence among columns: first wins, whatever their size and origin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmjax.rank import independent_columns

RNG = np.random.default_rng(3)
X = RNG.normal(size=50)
ONE = np.ones(50)


@pytest.mark.parametrize(
    ("column", "kept"),
    [
        (2 * X, False),
        (X + 1e9, False),
        (X + 1e-8 * RNG.normal(size=50), False),
        (X + 1e-5 * RNG.normal(size=50), True),
        (X**2, True),
        (X**2 + 1e9, True),
        (X**2 * 1e12, True),
        (X**2 * 1e-300, True),
        (np.full(50, 1e9 + 0.1), False),
        (np.zeros(50), False),
    ],
)
def test_second_column(column, kept):
    result = independent_columns(np.column_stack([ONE, X, column]))
    assert result.kept.tolist() == [True, True, kept]


def test_offset_covariate_is_kept_with_an_intercept_in_disguise():
    groups = np.eye(3)[np.arange(50) % 3]
    result = independent_columns(np.column_stack([groups, X + 1e9, ONE]))
    assert result.kept.tolist() == [True, True, True, True, False]


def test_condition_number_ignores_origin_and_scale():
    z = RNG.normal(size=50)
    plain = independent_columns(np.column_stack([ONE, X, z])).condition_number
    moved = independent_columns(np.column_stack([ONE, 1e6 * X + 1e8, 1e-6 * z]))
    assert moved.condition_number == pytest.approx(plain, rel=1e-6)
    centred = np.column_stack([ONE, X - X.mean(), z - z.mean()])
    assert plain == pytest.approx(np.linalg.cond(centred / np.linalg.norm(centred, axis=0)))


def test_no_columns_and_more_columns_than_rows():
    assert independent_columns(np.empty((4, 0))).basis.shape == (4, 0)
    result = independent_columns(RNG.normal(size=(3, 6)))
    assert result.kept.tolist() == [True] * 3 + [False] * 3


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.integers(1, 4))
def test_rank_and_basis(seed, p, rank):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(20, rank)) @ rng.normal(size=(rank, p))
    result = independent_columns(matrix)
    assert result.kept.sum() == min(rank, p)
    np.testing.assert_allclose(result.basis.T @ result.basis, np.eye(min(rank, p)), atol=1e-12)
    projected = result.basis @ (result.basis.T @ matrix)
    np.testing.assert_allclose(projected, matrix, atol=1e-6 * np.abs(matrix).max())
