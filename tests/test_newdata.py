"""New data are coded as the model's own."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from lmmjax.design import Design, build_design
from lmmjax.errors import DesignError, FormulaError, LmmError, UnseenLevelError
from lmmjax.newdata import new_design

FORMULA = (
    "y ~ scale(x) + poly(v, 2) + ns(x, df = 3) + C(t, Sum)*sex + offset(log(w)) "
    "+ (scale(x) | g) + (1 | g:b)"
)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    n = 90
    return pd.DataFrame({
        "y": rng.normal(size=n), "x": rng.normal(size=n), "v": rng.normal(size=n),
        "w": rng.uniform(1, 2, n), "t": np.tile([1, 2, 3], 30), "b": np.tile(list("pqrst"), 18),
        "sex": rng.choice(["F", "M"], n), "g": np.repeat([f"g{i}" for i in range(6)], 15),
    })  # fmt: skip


@pytest.fixture(scope="module")
def design(table) -> Design:
    with pytest.warns(match="depend linearly"):  # ns() spans x
        return build_design(FORMULA, table, response_values=True)


def test_the_models_own_rows(design, table):
    rows = [44, 3, 71]
    new = new_design(design, table.iloc[rows], need_response=True)
    np.testing.assert_allclose(new.X, design.X[rows], atol=1e-12)
    assert new.offset is not None and design.offset is not None and new.response is not None
    np.testing.assert_allclose(new.offset, design.offset[rows])
    np.testing.assert_allclose(new.response, table["y"].to_numpy()[rows])
    assert list(new.observations) == rows
    for mine, theirs in zip(new.terms, design.terms, strict=True):
        np.testing.assert_allclose(mine.z, theirs.z[rows], atol=1e-12)
        np.testing.assert_array_equal(mine.codes, theirs.codes[rows])


def test_one_row_with_one_level_of_each_factor(design, table):
    new = new_design(design, table.iloc[[8]])
    np.testing.assert_allclose(new.X, design.X[[8]], atol=1e-12)


def test_unseen_levels(design, table):
    rows = table.iloc[:3].copy()
    rows.loc[1, "g"] = "elsewhere"
    with pytest.raises(UnseenLevelError, match=r"'g': 'elsewhere'|'g:b': 'elsewhere:q'"):
        new_design(design, rows)
    new = new_design(design, rows, new_levels="population")
    assert [term.codes[1] for term in new.terms] == [-1, -1]
    assert all(term.codes[0] >= 0 for term in new.terms)
    rows.loc[2, "sex"] = "X"
    with pytest.raises(UnseenLevelError, match=r"column 'sex' holds 1 unknown level.*'X'"):
        new_design(design, rows, new_levels="population")


def test_population_needs_no_groups(design, table):
    new = new_design(design, table.drop(columns=["g", "b"]), random=False)
    assert new.terms == ()
    np.testing.assert_allclose(new.X, design.X, atol=1e-12)


def test_missing_values_stay_missing(design, table):
    rows = table.iloc[:3].copy()
    rows.loc[0, "x"] = np.nan
    rows.loc[1, "g"] = None
    new = new_design(design, rows)
    assert np.isnan(new.X).any(axis=1).tolist() == [True, True, False]
    assert [int(term.codes[1]) for term in new.terms] == [-1, -1]


def test_refused(design, table):
    with pytest.raises(FormulaError, match="no column 'x'"):
        new_design(design, table.drop(columns="x"))
    with pytest.raises(DesignError, match="not a finite number"):
        new_design(design, table.assign(w=0.0))
    with pytest.raises(LmmError, match="new_levels"):
        new_design(design, table, new_levels="allow")
    with pytest.raises(FormulaError, match="no response"):
        new_design(build_design("~ x", table), table, need_response=True)


def test_integer_levels_match_float_and_text(table):
    design = build_design("~ (1 | t) + C(t)", table, checks=False)
    for values in ([3.0, 1.0], ["3", "1"], pd.array([3, 1], dtype="Int64")):
        new = new_design(design, {"t": values})
        assert new.terms[0].codes.tolist() == [2, 0]
        assert new.X.tolist() == [[1, 0, 1], [1, 0, 0]]
