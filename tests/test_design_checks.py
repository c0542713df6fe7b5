"""Bad designs: each is refused, or warned of, by name and before any long work."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

from lmmjax.design import build_design
from lmmjax.design_checks import no_residual_freedom
from lmmjax.errors import (
    CodingWarning,
    DesignError,
    DroppedRowsWarning,
    DTypeError,
    EmptyDataError,
    FormulaError,
    LmmError,
    NonFiniteError,
    RankWarning,
    ResponseError,
    ShapeError,
)
from lmmjax.formula import parse_formula

RNG = np.random.default_rng(2)
N = 60


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    x = RNG.normal(size=N)
    g = np.repeat([f"g{i}" for i in range(10)], 6)
    return pd.DataFrame({
        "y": RNG.normal(size=N), "x": x, "g": g, "h": [f"H{9 - int(v[1:])}" for v in g],
        "b": np.tile(list("pqr"), 20), "sex": np.tile(["F", "M"], 30),
        "x2": 2 * x, "near": x + 1e-8 * RNG.normal(size=N), "one": "a", "const": 3.0,
        "rows": [f"u{i}" for i in range(N)], "zero": 0.0, "text": "t",
        "pair": np.repeat(np.arange(30), 2),
        "inf": np.where(np.arange(N) == 7, np.inf, x), "nan": np.where(np.arange(N) < 3, np.nan, x),
        "gna": np.where(np.arange(N) == 4, None, g), "date": pd.Timestamp("2020-01-01"),
        "neg": -np.abs(x), "allnan": np.nan,
    }, index=[f"s{i}" for i in range(N)])  # fmt: skip


@pytest.mark.parametrize(
    ("formula", "error", "message"),
    [
        ("~ inf + (1|g)", DesignError, r"column 'inf' is infinite .* 's7'"),
        ("~ (1|one)", DesignError, "'one' has one level"),
        ("~ one + (1|g)", DesignError, "factor 'one' has fewer than two levels"),
        ("~ (one|g)", DesignError, "factor 'one' has fewer than two levels"),
        ("~ (1|rows)", DesignError, r"'rows' has as many levels \(60\)"),
        ("~ (1 + x|pair)", DesignError, "60 random effects"),
        ("~ (1|g) + (1|h)", DesignError, "'g' and 'h' are identical"),
        ("~ (1|g) + (1|h:g)", DesignError, "'g' and 'h:g' are identical"),
        ("~ (1|g) + (1|g)", FormulaError, "duplicate random-effects term"),
        ("~ g + (1|g)", DesignError, r"\(1 \| g\) lie within the fixed effects"),
        ("~ h + (1|g)", DesignError, r"\(1 \| g\) lie within the fixed effects"),
        ("~ x*g + (0 + x|g)", DesignError, "lie within the fixed effects"),
        ("~ (1 + zero|g)", DesignError, "column 'zero' .* is zero"),
        ("~ (1 + const|g)", DesignError, "'const' depends linearly"),
        ("~ (x + x2|g)", DesignError, "'x2' depends linearly"),
        ("~ X + (1|g)", FormulaError, "no column 'X'; did you mean 'x'"),
        ("~ sexx + (1|g)", FormulaError, "at character 3: .*'sexx'; did you mean 'sex'"),
        ("~ (1|qqqq)", FormulaError, "no column 'qqqq'; the sample table has 'y'"),
        ("~ os + (1|g)", FormulaError, "no column 'os'"),
        ("~ pi + (1|g)", FormulaError, "no column 'pi'"),
        ("~ log + (1|g)", FormulaError, "no column 'log'"),
        ("~ date + (1|g)", DTypeError, "'date' holds datetime64"),
        ("~ log(sex)", DTypeError, "'sex' is not numeric"),
        ("~ offset(sex)", DTypeError, "'sex' is not numeric"),
        ("~ log(neg) + (1|g)", DesignError, "log.neg. is not a finite number for 60"),
        ("~ g:b + C(pair):sex", DesignError, "no residual degrees of freedom"),
        ("~ rows:pair:C(pair)", DesignError, "columns for 60 observations"),
        ('~ C(b, Treatment("z"))', DesignError, "reference level 'z' of 'b'"),
        ('~ C(b, Treatment(2))', DesignError, "reference level '2' of 'b'"),
        ('~ C(b, contr.treatment(base = 4))', DesignError, "base = 4, but 'b' has 3 levels: 'p',"),
        ("~ factor(b, levels = c(\"p\", \"q\"))", DesignError, "unknown level"),
        ("~ allnan + (1|g)", EmptyDataError, "no observation is complete"),
    ],
)  # fmt: skip
def test_refused(table, formula, error, message):
    with pytest.raises(error, match=message) as caught:
        build_design(formula, table)
    assert isinstance(caught.value, LmmError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("formula", "error", "message"),
    [
        ("sex ~ x", DTypeError, "response 'sex' is not numeric"),
        ("log(sex) ~ x", DTypeError, "response 'sex' is not numeric"),
        ("date ~ x", DTypeError, "response 'date' is not numeric"),
        ("inf ~ x", NonFiniteError, "response inf is infinite"),
        ("allnan ~ x", ResponseError, "missing in every observation"),
        ("yy ~ x", FormulaError, "no column 'yy'; did you mean 'y'"),
        ("~ x", FormulaError, "no response"),
    ],
)
def test_response_refused(table, formula, error, message):
    with pytest.raises(error, match=message):
        build_design(formula, table, response_values=True)


def test_tables_refused(table):
    with pytest.raises(EmptyDataError):
        build_design("~ x", table.iloc[:0])
    with pytest.raises(ShapeError, match="'x' has 3, 'g' has 2"):
        build_design("~ x + (1|g)", {"x": [1, 2, 3], "g": [1, 2]})
    with pytest.raises(DesignError, match=r"not unique .*'s0'"):
        build_design("~ x", pd.concat([table, table]))
    with pytest.raises(DesignError, match="give a pandas DataFrame"):
        build_design("~ x", [1, 2])  # type: ignore[arg-type]
    with pytest.raises(DesignError, match="2 columns named 'x'"):
        build_design("~ x", table.rename(columns={"x2": "x"}))


def test_missing_values(table):
    with pytest.raises(DesignError, match=r"'nan' \(3\), 'gna' \(1\).*'s0', 's1', 's2'"):
        build_design("~ nan + (1|gna)", table, na="raise")
    with pytest.warns(
        DroppedRowsWarning, match=r"4 of 60 .*'gna' \(1\); they are 's0', 's1', 's2', 's4'$"
    ):
        assert "None" not in build_design("~ nan + (1|gna)", table).terms[0].levels


@pytest.mark.parametrize("column", ["x2", "near", "const"])
def test_dependent_columns(table, column):
    with pytest.warns(RankWarning, match=column) as caught:
        design = build_design(f"~ x + {column} + (1|g)", table)
    assert len(caught) == 1
    assert design.fixed_kept.tolist() == [True, True, False]
    assert design.X.shape == (N, 2)
    with pytest.raises(DesignError, match=column):
        build_design(f"~ x + {column} + (1|g)", table, rank_deficient="error")


def test_duplicated_rows_are_fine(table):
    twice = pd.concat([table, table], ignore_index=True)
    assert build_design("~ x + (1|g)", twice).n == 2 * N


@pytest.mark.parametrize(
    "options", [{"na": "keep"}, {"rank_deficient": "ignore"}, {"contrasts": {"sex": "odd"}}]
)
def test_unknown_choices(table, options):
    with pytest.raises(DesignError):
        build_design("~ x + sex", table, **options)


def test_contrasts_that_do_not_fit(table):
    with pytest.raises(FormulaError, match="contrasts are given for 'q'"):
        build_design("~ x", table, contrasts={"q": "sum"})
    with pytest.raises(DesignError, match="need 2 rows"):
        build_design("~ sex", table, contrasts={"sex": np.eye(3)})


def test_checks_can_be_left_out(table):
    assert build_design("~ (1|rows)", table, checks=False).terms[0].n_levels == N


@pytest.mark.parametrize(
    ("formula", "column"),
    [
        ("~ k + (1|k)", "k"),
        ("~ batch_id + (1|g)", "batch_id"),
        ("~ Plate + (1|g)", "Plate"),
        ("~ counter + (1|g)", "counter"),
        ("~ batch_id:x + x + (1|g)", "batch_id"),
    ],
)
def test_label_as_number(table, formula, column):
    data = table.assign(k=np.repeat(np.arange(10), 6) * 3, batch_id=np.tile([1, 2, 4], 20),
                        Plate=np.tile([1.0, 2, 4], 20), counter=RNG.permutation(N))  # fmt: skip
    with pytest.warns(CodingWarning, match=rf"C\({column}\)") as caught:
        build_design(formula, data)
    assert len(caught) == 1


@pytest.mark.parametrize(
    "formula",
    ["~ Days + (Days|g)", "~ dose + (1|g)", "~ C(batch) + (1|g)", "~ site + (1|g)", "~ x + (1|k)"],
)
def test_numbers_that_are_numbers(table, formula):
    data = table.assign(Days=np.tile(np.arange(6), 10), dose=np.tile([1, 2, 4], 20),
                        batch=np.tile([1, 2, 4], 20), site=np.tile([0, 1], 30),
                        k=np.repeat(np.arange(10), 6))  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_design(formula, data)


def test_a_number_read_as_text_is_named(table):
    ages = [f"{20 + i},5" for i in range(N)]
    data = table.assign(age=ages, nearly=[*ages[:50], *ages[:10]], code=table["rows"])
    with pytest.warns(CodingWarning, match=r"'nearly' is text \('20,5'\) with 50 .* decimal point"):
        build_design("~ nearly + (1|b)", data)
    parsed = parse_formula("~ x + age + C(code) + sex + (1|g)")
    assert str(no_residual_freedom(parsed, data, N)) == (
        "60 observations for 60 fixed effects leave no residual degrees of freedom: the column "
        "'age' is text ('20,5') with 60 levels; write numbers with a decimal point; C(code) is a "
        "factor with 60 levels; is it meant to be one?"
    )


def families(count: int, labels: list) -> pd.DataFrame:
    """Two or more individuals per family, numbered anew in each, four visits."""
    rows = [
        (f"f{i:02d}", label)
        for i in range(count)
        for label in labels[: 2 + i % (len(labels) - 1)]
        for _ in range(4)
    ]
    return pd.DataFrame(rows, columns=["family", "individual"])


@pytest.mark.parametrize("labels", [[1, 2, 3], ["1", "2", "3"], ["i1", "i2", "i3"], [0, 1, 2]])
def test_reused_labels(labels):
    data = families(8, labels)
    with pytest.warns(CodingWarning, match=r"\(1 \| family:individual\)"):
        build_design("~ (1|family) + (1|individual)", data)
    balanced = data.query("individual != @labels[2]")
    if isinstance(labels[0], int):
        with pytest.warns(CodingWarning, match=r"\(1 \| family:individual\)"):
            build_design("~ (1|family) + (1|individual)", balanced)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_design("~ (1|family/individual)", data)
        build_design("~ (1|family) + (1|family:individual)", data)


def test_crossed_factors_are_no_reused_labels():
    plates = pd.DataFrame([(p, s) for p in range(1, 25) for s in "ABCDEF"], columns=["p", "s"])
    pairs = [(f"tissue{t}", f"batch{b}") for t in (1, 2, 3) for b in (1, 2, 3, 4)]
    tissues = pd.DataFrame(pairs * 5, columns=["tissue", "batch"])
    unique = families(8, [1, 2, 3])
    unique["individual"] = unique["family"] + unique["individual"].astype(str)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_design("~ (1|p) + (1|s)", plates)
        build_design("~ (1|tissue) + (1|batch)", tissues)
        build_design("~ (1|family) + (1|individual)", unique)


def siblings() -> pd.DataFrame:
    """6 identifiers, each of a brother and a sister, measured at three times."""
    rows = [(i, s, t) for i in range(1, 7) for s in "FM" for t in (0.0, 3.0, 6.0)]
    data = pd.DataFrame(rows, columns=["IndID", "Sex", "Time"])
    data["Arm"] = np.where(data["Sex"] == "F", "a", "b")
    data["FamID"] = (data["IndID"] + 1) // 2
    return data.assign(y=np.random.default_rng(0).normal(size=len(data)))


def test_an_identifier_of_both_sexes_is_said() -> None:
    with pytest.warns(CodingWarning, match=r"'Sex' differs within 6 of the 6 .*Sex:IndID"):
        build_design("y ~ Sex * Time + (1 + Time | IndID)", siblings())


@pytest.mark.parametrize(
    "formula",
    [
        "y ~ Sex * Time + (1 + Time | Sex:IndID)",
        "y ~ Sex * Time + (1 | FamID)",
        "y ~ Arm * Time + (1 | IndID)",  # a treatment may vary within an individual
    ],
)
def test_other_factors_within_an_identifier_are_not(formula: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build_design(formula, siblings())
