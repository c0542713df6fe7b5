"""Model matrices, names, levels and rows: what a formula and a table become."""

from __future__ import annotations

import itertools
import time
import warnings

import numpy as np
import pandas as pd
import pytest

from lmmjax.design import build_design
from lmmjax.design_columns import as_factor
from lmmjax.errors import DesignError, DroppedRowsWarning, RankWarning

RNG = np.random.default_rng(1)


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rows = list(itertools.product(["1", "2", "3"], "uv", "pq", range(3)))
    data = pd.DataFrame(rows, columns=["a", "b", "c", "r"], index=[f"s{i}" for i in range(36)])
    data["x"] = RNG.normal(size=36)
    data["l"] = data["x"] > 0
    data["my var"] = data["x"] ** 3
    data["g"] = np.tile([10, 9, 8, 11], 9)
    data["y"] = RNG.normal(size=36)
    return data


@pytest.mark.parametrize(
    ("formula", "names"),  # colnames(model.matrix(...)) of R 4.2
    [
        ("~ a", ["(Intercept)", "a2", "a3"]),
        ("~ a:x", ["(Intercept)", "a1:x", "a2:x", "a3:x"]),
        ("~ 0 + x:a + b", ["bu", "bv", "x:a1", "x:a2", "x:a3"]),
        ("~ 0 + a + b + `my var` + l", ["a1", "a2", "a3", "bv", "`my var`", "lTRUE"]),
        ("~ a/b", ["(Intercept)", "a2", "a3", "a1:bv", "a2:bv", "a3:bv"]),
        ("~ a*b", ["(Intercept)", "a2", "a3", "bv", "a2:bv", "a3:bv"]),
        ("~ C(a, contr.sum) + C(b, poly)",
         ["(Intercept)", "C(a, contr.sum)1", "C(a, contr.sum)2", "C(b, poly).L"]),
        ("~ C(a, contr.helmert)", ["(Intercept)", "C(a, contr.helmert)1", "C(a, contr.helmert)2"]),
        ("~ C(r)*x", ["(Intercept)", "C(r)1", "C(r)2", "x", "C(r)1:x", "C(r)2:x"]),
        ("~ poly(x, 2) + I(x^3)", ["(Intercept)", "poly(x, 2)1", "poly(x, 2)2", "I(x^3)"]),
        ("~ factor(r, levels = c(2, 0, 1))",
         ["(Intercept)", "factor(r, levels = c(2, 0, 1))0", "factor(r, levels = c(2, 0, 1))1"]),
        ('~ C(a, Treatment("2"))',
         ["(Intercept)", 'C(a, Treatment("2"))1', 'C(a, Treatment("2"))3']),
        ("~ C(r, contr.treatment(base = 2))",
         ["(Intercept)", *(f"C(r, contr.treatment(base = 2)){level}" for level in (0, 2))]),
        ('~ C(r, contr.treatment("2"))',
         ["(Intercept)", *(f'C(r, contr.treatment("2")){level}' for level in (0, 1))]),
        ("~ I(x > 0) + I(1 * (x < -1))",
         ["(Intercept)", "I(x > 0)TRUE", "I(1 * (x < -1))"]),
        ("~ I((x > 0)):r", ["(Intercept)", "I((x > 0))FALSE:r", "I((x > 0))TRUE:r"]),
        ("~ 0", []),
    ],
)  # fmt: skip
def test_coefficient_names_are_those_of_r(table, formula, names):
    design = build_design(formula, table)
    assert list(design.fixed_names) == names
    assert design.X.shape == (36, len(names))


def test_interaction_without_margins_is_coded_in_full_and_reduced_as_in_r(table):
    with pytest.warns(RankWarning, match="a3:bv"):
        design = build_design("~ a:b", table)
    assert list(design.fixed_names[1:]) == ["a1:bu", "a2:bu", "a3:bu", "a1:bv", "a2:bv", "a3:bv"]
    assert design.fixed_kept.tolist() == [True] * 6 + [False]


def test_comparison_is_a_factor_for_new_data_too(table):
    with pytest.warns(RankWarning):  # l is the same comparison
        design = build_design("~ I(x > 0) + l", table)
    np.testing.assert_array_equal(design.X[:, 1], table["l"])
    encoder, terms = design.spec.encoder, design.parsed.fixed_terms
    rows = table[table["l"]]
    np.testing.assert_array_equal(encoder.apply(terms, rows).values[:, 1], np.ones(len(rows)))
    with pytest.raises(DesignError, match="I\\(x > 9\\)' has fewer than two levels"):
        build_design("~ I(x > 9)", table)


def test_values_of_the_columns(table):
    design = build_design("~ a*x", table)
    column = dict(zip(design.fixed_names, design.X.T, strict=True))
    np.testing.assert_array_equal(column["a2"], table["a"] == "2")
    np.testing.assert_allclose(column["a3:x"], (table["a"] == "3") * table["x"])


def test_terms_index_the_names(table):
    design = build_design("~ x + a*b + (1 | g)", table)
    found = {label: [design.fixed_names[i] for i in index] for label, index in design.fixed_terms}
    assert found == {"(Intercept)": ["(Intercept)"], "x": ["x"], "a": ["a2", "a3"], "b": ["bv"],
                     "a:b": ["a2:bv", "a3:bv"]}  # fmt: skip


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("sum", [[1, 0], [0, 1], [-1, -1]]),
        ("helmert", [[-1, -1], [1, -1], [0, 2]]),
        ("treatment", [[0, 0], [1, 0], [0, 1]]),
        ("poly", np.array([[-1, 1], [0, -2], [1, 1]]) / np.sqrt([2, 6])),
        (np.array([[1.0, 0], [2, 1], [3, 5]]), [[1, 0], [2, 1], [3, 5]]),
        (pd.DataFrame({"p": [3, 1, 2], "q": [5, 0, 1]}, index=["3", "1", "2"]),
         [[1, 0], [2, 1], [3, 5]]),
    ],
)  # fmt: skip
def test_contrasts(table, choice, expected):
    design = build_design("~ a", table, contrasts={"a": choice})
    np.testing.assert_allclose(design.X[[0, 12, 24], 1:], expected, atol=1e-12)


def test_ordered_categorical_gets_treatment_contrasts_unless_asked(table):
    data = table.assign(o=pd.Categorical(table["r"], categories=[2, 0, 1, 7], ordered=True))
    assert build_design("~ o", data).fixed_names == ("(Intercept)", "o0", "o1")
    assert build_design("~ C(o, Poly)", data).fixed_names[1:] == ("C(o, Poly).L", "C(o, Poly).Q")


@pytest.mark.parametrize(
    ("values", "levels", "codes"),
    [
        ([10, 9, 10], ("9", "10"), [1, 0, 1]),
        ([1.0, 1.5, -2.0], ("-2", "1", "1.5"), [1, 2, 0]),
        (["b", "B", "a"], ("B", "a", "b"), [2, 0, 1]),
        ([True, False, True], ("FALSE", "TRUE"), [1, 0, 1]),
        (pd.Categorical(["u", "v", "u"], categories=["v", "w", "u"]), ("v", "u"), [1, 0, 1]),
        (pd.array([2, None, 1], dtype="Int64"), ("1", "2"), [1, -1, 0]),
        (pd.array(["x", None, "x"], dtype="string"), ("x",), [0, -1, 0]),
        (pd.array([True, None, False], dtype="boolean"), ("FALSE", "TRUE"), [1, -1, 0]),
        (pd.Series(["001", "1", None], dtype=object), ("001", "1"), [0, 1, -1]),
        (pd.Series([1, "1", "b"], dtype=object), ("1", "b"), [0, 0, 1]),
        (pd.to_datetime(["2020-01-02", "2020-01-01", "2020-01-02"]), None, [1, 0, 1]),
    ],
)
def test_levels(values, levels, codes):
    factor = as_factor(pd.Series(values))
    assert levels is None or factor.levels == levels
    assert factor.codes.tolist() == codes
    assert factor.codes.dtype == np.int32


@pytest.mark.parametrize("dtype", ["int8", "uint16", "Int64", "float32", "Float64", "object"])
def test_numeric_dtypes_are_numbers(table, dtype):
    data = table.assign(k=pd.Series(np.arange(36) % 5, index=table.index).astype(dtype))
    np.testing.assert_array_equal(build_design("~ k", data).X[:, 1], np.arange(36) % 5)


def test_random_terms(table):
    design = build_design("~ x + (x | c) + (1 | b:g) + (0 + x | g)", table)
    assert [term.label for term in design.terms] == ["1 | b:g", "0 + x | g", "x | c"]
    assert design.terms[0].levels[:3] == ("u:8", "u:9", "u:10")
    assert design.terms[1].levels == ("8", "9", "10", "11")
    assert design.terms[2].columns == ("(Intercept)", "x")
    np.testing.assert_array_equal(design.terms[2].z, np.column_stack([np.ones(36), table["x"]]))
    labels = [design.terms[0].levels[code] for code in design.terms[0].codes]
    assert labels == [f"{b}:{g}" for b, g in zip(table["b"], table["g"], strict=True)]


def test_nested_term_as_lme4_names_it(table):
    design = build_design("~ (1 | a/b)", table)
    assert [(term.group, term.n_levels) for term in design.terms] == [("b:a", 6), ("a", 3)]
    assert design.terms[0].levels == ("u:1", "u:2", "u:3", "v:1", "v:2", "v:3")


def test_factor_left_of_the_bar(table):
    assert build_design("~ (b | g)", table).terms[0].columns == ("(Intercept)", "bv")
    assert build_design("~ (0 + b | g)", table).terms[0].columns == ("bu", "bv")


def test_terms_of_one_group_share_their_codes(table):
    first, second = build_design("~ (x || g)", table).terms
    np.testing.assert_array_equal(first.codes, second.codes)
    assert first.levels == second.levels
    assert (first.columns, second.columns) == (("(Intercept)",), ("x",))


def test_missing_rows_are_dropped_jointly_and_said(table):
    data = table.copy()
    data.loc["s0", "x"] = np.nan
    data.loc["s5", "a"] = None
    data["g"] = data["g"].astype("Int64")
    data.loc["s7", "g"] = pd.NA
    data.loc[data["g"] == 11, "x"] = np.nan
    data["unused"] = np.nan
    with pytest.warns(DroppedRowsWarning, match=r"11 of 36 observations dropped.*'x' \(9\)"):
        design = build_design("y ~ x + a + (1 | c) + (1 | g)", data)
    assert design.n_dropped == 11
    assert {"s0", "s5", "s7"} & set(design.observations) == set()
    assert design.kept.sum() == design.n == len(design.observations) == 25
    assert design.terms[0].levels == ("8", "9", "10")  # level 11 went with its rows


def test_response(table):
    data = table.assign(z=table["y"].where(table.index != "s3"))
    with pytest.warns(DroppedRowsWarning, match="1 of 36"):
        design = build_design("I(2*z + 1) ~ x", data, response_values=True)
    assert design.response is not None
    np.testing.assert_allclose(design.response, 2 * data["z"].dropna() + 1)
    assert design.response_name == "I(2 * z + 1)"
    ignored = build_design("nowhere ~ x", table)
    assert ignored.response is None and ignored.response_name == "nowhere"


def test_offset(table):
    design = build_design("~ a + offset(x) + offset(2*x)", table)
    assert design.offset is not None
    np.testing.assert_allclose(design.offset, 3 * table["x"])
    assert build_design("~ a", table).offset is None


def test_offset_covariate_survives(table):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        design = build_design("~ x9 + (x9 | g)", table.assign(x9=table["x"] + 1e9))
        build_design("~ x12 + (1 | g)", table.assign(x12=table["x"] * 1e12))
    assert design.fixed_kept.all()
    assert design.condition_number == pytest.approx(1.0)


def test_rows_may_be_given_as_a_mapping():
    assert build_design("~ x", {"x": [1.0, 2, 4]}).n == 3


def test_columns_named_like_functions_and_keywords(table):
    data = table.rename(columns={"x": "log", "a": "C", "b": "if"})
    design = build_design("~ log(exp(log)) + C(C) + `if` + (1 | g)", data)
    np.testing.assert_allclose(design.X[:, 1], table["x"])


def test_row_order_does_not_matter(table):
    shuffled = table.sample(frac=1, random_state=3)
    one = build_design("~ poly(x, 2) + a*b + (x | g)", table)
    other = build_design("~ poly(x, 2) + a*b + (x | g)", shuffled)
    at = table.index.get_indexer(shuffled.index)
    np.testing.assert_allclose(other.X, one.X[at], atol=1e-12)
    np.testing.assert_array_equal(other.terms[0].codes, one.terms[0].codes[at])


def test_fast_enough():
    n = 10_000
    data = pd.DataFrame({
        "Age": RNG.normal(size=n),
        "Individual": [f"i{k}" for k in RNG.integers(0, n // 4, n)],
        "Batch": RNG.choice([f"b{i}" for i in range(12)], n),
    })  # fmt: skip
    start = time.perf_counter()
    build_design("~ Age + Batch + (1 | Individual)", data)
    assert time.perf_counter() - start < 2.0
