"""Formulas: bars, `||`, `/`, offsets, terms, and where and why a text is refused."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmmjax.design import build_design
from lmmjax.errors import FormulaError
from lmmjax.formula import parse_formula
from lmmjax.formula_nodes import deparse
from lmmjax.formula_syntax import MAX_LENGTH, read


def bars(text: str) -> list[tuple[str, str]]:
    return [(bar.lhs, bar.group_label) for bar in parse_formula(text).bars]


def test_parts_of_a_formula():
    parsed = parse_formula("log(y) ~ Age*Sex + (Age | Subject) + offset(log(w)) + offset(v)")
    assert parsed.response == "log(y)"
    assert parsed.fixed == "1 + Age + Sex + Age:Sex"
    assert parsed.offsets == ("log(w)", "v")
    assert [bar.text for bar in parsed.bars] == ["(Age | Subject)"]
    assert [name.name for name in parsed.columns] == ["Age", "Sex", "w", "v", "Subject"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~ (1|g)", [("1", "g")]),
        ("~ (x|g)", [("x", "g")]),
        ("~ (1 + x|g)", [("1 + x", "g")]),
        ("~ (0+x|g)", [("0 + x", "g")]),
        ("~ (x||g)", [("1", "g"), ("0 + x", "g")]),
        ("~ (0 + x||g)", [("0 + x", "g")]),
        ("~ (f*x||g)", [("1", "g"), ("0 + f", "g"), ("0 + x", "g"), ("0 + f:x", "g")]),
        ("~ (1|a/b)", [("1", "b:a"), ("1", "a")]),
        ("~ (1|a/b/c)", [("1", "c:(b:a)"), ("1", "b:a"), ("1", "a")]),
        ("~ (x||a/b)", [("1", "b:a"), ("1", "a"), ("0 + x", "b:a"), ("0 + x", "a")]),
        ("~ (1|a:b)", [("1", "a:b")]),
        ("~ (1|a) + (1|b)", [("1", "a"), ("1", "b")]),
        ("~ ((1|a) + (1|b))", [("1", "a"), ("1", "b")]),
        ("~ (1|factor(g)) + (1|C(h))", [("1", "g"), ("1", "h")]),
        ("~ (1|`my group`)", [("1", "my group")]),
        ("~ x", []),
    ],
)
def test_bars(text, expected):
    assert bars(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),  # attr(terms(formula), "term.labels") of R 4.2, with the intercept
    [
        ("~ a + b:a", "1 + a + a:b"),
        ("~ b:a + a*c", "1 + a + c + b:a + a:c"),
        ("~ (a+b+c)^2 - a:b", "1 + a + b + c + a:c + b:c"),
        ("~ a/(b+c)", "1 + a + a:b + a:c"),
        ("~ b %in% a", "1 + b:a"),
        ("~ 0 + I( x/2+3*x ) + log(x,2) + poly(x,2,raw=TRUE)",
         "0 + I(x/2 + 3 * x) + log(x, 2) + poly(x, 2, raw = TRUE)"),
        ("~ -1 + a", "0 + a"),
        ("~ a - 1 + 1", "1 + a"),
        ("~ a + b - (b + c)", "1 + a"),
        ("~ 1", "1"),
        ("~ 0", "0"),
        ("~ (1 | g)", "1"),
        ("~ `my var` + a.b", "1 + `my var` + a.b"),
        ("~ I(x^2) + I(x**2)", "1 + I(x^2)"),
        ("~ I((x>=2)*x) + I(1*(x==1))", "1 + I((x >= 2) * x) + I(1 * (x == 1))"),
    ],
)  # fmt: skip
def test_fixed_terms_are_those_of_r(text, expected):
    assert parse_formula(text).fixed == expected


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("y x", 3, "unexpected 'x'"),
        ("y", 2, "needs a '~'"),
        ("y ~ x +", 8, "expected a column"),
        ("~ x + (1|g", 11, "to close the '(' at character 7"),
        ("~ x ~ z", 5, "a second '~'"),
        ("~ x + 1|g", 8, "in parentheses"),
        ("~ x*(1|g)", 7, "random-effects term"),
        ("~ x - (1|g)", 7, "not removed"),
        ("~ (0|g)", 3, "nothing stands left"),
        ("~ (1|a+b)", 7, "not a grouping factor"),
        ("~ (1|log(a))", 6, "not a grouping factor"),
        ("~ (1|1)", 6, "not a grouping factor"),
        ("~ (1|a:a)", 7, "crossed with itself"),
        ("~ .", 3, "not supported"),
        ("~ 2", 3, "only 0 and 1"),
        ("~ x:offset(z)", 5, "a term of its own"),
        ("~ offset(x, z)", 3, "write an offset"),
        ("~ log(x) + foo(x)", 12, "foo() is not allowed"),
        ("~ np.log(x)", 3, "did you mean log()?"),
        ('~ x + "a"', 7, "quoted text"),
        ("~ poly(x, 1.5)", 11, "a whole number"),
        ("~ poly(x, degree = 2, degree = 3)", 32, "does not take 'degree'"),
        ("~ C(x, foo)", 8, "Treatment, Sum, Helmert or Poly"),
        ("~ scale(x, center = z)", 21, "TRUE or FALSE"),
        ("~ I(a:b)", 6, "not arithmetic"),
        ("~ log()", 3, "needs a column"),
        ("~ (a+b)^x", 9, "whole number from 1 to 20"),
        ("~ poly(x, 1e999)", 11, "1e999 is too large"),
        ("~ bs(x, df = 1e999)", 14, "numbers have to be finite"),
        ("~ bs(x, knots = c(1e999))", 19, "numbers have to be finite"),
        ("~ x > 0", 5, "inside I() only"),
        ("~ (x > 0 | g)", 6, "inside I() only"),
        ("~ I(1 < x < 2)", 11, "cannot be chained"),
        ("~ I(x == 'a')", 10, "quoted text"),
        ("~ C(x, contr.treatment(2))", 24, "base = 2 for the second level"),
        ("~ C(x, contr.treatment(base = 0))", 31, "the number of a level, from 1"),
        ("~ C(x, contr.treatment(base = 1.5))", 31, "the number of a level, from 1"),
        ("~ 'abc", 3, "not closed"),
    ],
)
def test_refusal_says_where_and_why(text, position, message):
    with pytest.raises(FormulaError) as caught:
        parse_formula(text)
    assert f"at character {position}: " in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["~ (1|g) + (1|g)", "~ (x|g) + (x|g)", "~ (1|a:b) + (1|b:a)", "~ (x|g) + (1|g)",
     "~ (1|a/b) + (1|a)"],
)  # fmt: skip
def test_duplicate_random_terms(text):
    with pytest.raises(FormulaError, match=r"duplicate random-effects term|in two terms"):
        parse_formula(text)


def test_several_terms_of_one_group_are_no_duplicates():
    assert bars("~ (1|g) + (0+x|g)") == [("1", "g"), ("0 + x", "g")]


@pytest.mark.parametrize(
    "attack",
    [
        "__import__('os').system('touch pwned')",
        "os.system('touch pwned')",
        "{__import__('os').system('touch pwned')}",
        "I(__import__('os').system('touch pwned'))",
        "`x`.__class__",
        "x.__class__.__mro__[1]",
        "I(x.__class__())",
        "eval('1')",
        "exec('1')",
        "open('pwned', 'w')",
        "C(x, Treatment(open('pwned', 'w')))",
        "C(x, contr.custom(open('pwned', 'w')))",
        "poly(x, open('pwned', 'w'))",
        "np.fromfile('pwned')",
        "hashed(x)",
        "lag(x)",
        "(lambda: 1)()",
        "[i for i in (1, 2)]",
        "I(x if x else x)",
        "I(x := 1)",
        "x; y",
        "f'{x}'",
        "log(x)(1)",
        "bs(x, knots = c(open('pwned', 'w')))",
        "scale(x, center = open('pwned', 'w'))",
    ],
)
@pytest.mark.parametrize("place", ["~ {}", "y ~ x + {}", "~ ({} | g)", "~ (1 | {})", "{} ~ x"])
def test_attacks_are_refused_and_nothing_runs(attack, place, tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormulaError):
        parse_formula(place.replace("{}", attack))
    assert os.listdir(tmp_path) == []


def test_length_depth_and_growth_are_capped():
    with pytest.raises(FormulaError, match="characters"):
        parse_formula("~ " + "x + " * MAX_LENGTH + "x")
    for deep in ["(" * 200 + "x" + ")" * 200, "-" * 200 + "x", "x" + "^2" * 200,
                 "log(" * 60 + "x" + ")" * 60, ":".join("x" * 200),
                 "I(" + "x+" * 100 + "x)"]:  # fmt: skip
        with pytest.raises(FormulaError, match=r"deep|in a row"):
            parse_formula("~ " + deep)
    names = "+".join(f"x{i}" for i in range(60))
    with pytest.raises(FormulaError, match="expands to more"):
        parse_formula(f"~ ({names})^9")


def test_long_sums_are_fine():
    names = [f"x{i}" for i in range(1500)]
    assert len(parse_formula("~ " + "+".join(names)).fixed_terms) == 1501


@pytest.mark.parametrize("text", ["", "   ", 3, None])
def test_not_a_formula(text):
    with pytest.raises(FormulaError):
        parse_formula(text)


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="xyg01 ~+-*/:^|()`'\",.=%{}[]_\\\nIC", max_size=40))
def test_any_text_parses_or_is_a_formula_error(text):
    try:
        parse_formula(text)
    except FormulaError:
        pass


@given(st.recursive(
    st.sampled_from(["x", "y", "1.5", "`a b`", "log(z)", "poly(x, 2, raw = TRUE)"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from([" + ", " - ", " * ", "/", ":", " %in% "]), inner)
        .map(lambda t: f"({t[0]}){t[1]}({t[2]})"),
        inner.map(lambda t: f"({t})^2"),
        inner.map(lambda t: f"I({t})"),
    ),
    max_leaves=6,
))  # fmt: skip
def test_deparse_is_stable(text):
    tree = read(f"~ {text}")[1]
    assert deparse(read(f"~ {deparse(tree)}")[1]) == deparse(tree) == text


@pytest.mark.parametrize("wrong", [None, 3, {"y": [1.0]}])
def test_what_is_no_text(wrong):
    with pytest.raises(FormulaError, match=f"is text.*argument is a {type(wrong).__name__}"):
        parse_formula(wrong)
    with pytest.raises(FormulaError, match="the formula comes first"):
        build_design(wrong, {"x": [1.0, 2.0, 3.0]})
