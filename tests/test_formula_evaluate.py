"""Values of the functions of a formula; R's own values where R has the function."""

from __future__ import annotations

import numpy as np
import pytest

from lmmjax.errors import DesignError, FormulaError
from lmmjax.formula_evaluate import Evaluator
from lmmjax.formula_syntax import read

X = np.array([1, 2, 4, 5.5, 7, 8, 9.5, 12, 13, 15])


def evaluate(text: str, x: np.ndarray = X) -> np.ndarray:
    return Evaluator(lambda name: x).values(read(f"~ {text}")[1])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I(x^2 - 3*x + 1)", X**2 - 3 * X + 1),
        ("I(-x^2)", -(X**2)),
        ("I(2^-x)", 2.0**-X),
        ("I((x + 1)/2)", (X + 1) / 2),
        ("log(x)", np.log(X)),
        ("log(x, 2)", np.log2(X)),
        ("log(x, base = 10)", np.log10(X)),
        ("log1p(x - 1)", np.log(X)),
        ("exp(abs(-x))", np.exp(X)),
        ("sqrt(x)", np.sqrt(X)),
        ("I((x - 4)*(x > 4))", np.maximum(X - 4, 0)),
        ("I(1*(x <= 4) + 2*(x >= 8))", 1.0 * (X <= 4) + 2 * (X >= 8)),
        ("I((x == 4) - (x != 4) - (x + 1 < 3))", 1.0 * (X == 4) - (X != 4) - (X < 2)),
        ("center(x)", X - X.mean()),
        ("scale(x)", (X - X.mean()) / X.std(ddof=1)),
        ("scale(x, scale = FALSE)", X - X.mean()),
        ("I(scale(x)^2)", ((X - X.mean()) / X.std(ddof=1)) ** 2),
        ("poly(x, 2, raw = TRUE)", np.column_stack([X, X**2])),
    ],
)
def test_values(text, expected):
    np.testing.assert_allclose(evaluate(text), expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("text", "rows"),  # printed by R 4.2 with 12 digits
    [
        ("poly(x, 2)", [[-0.474236016767, 0.4818238044404], [-0.403454521727, 0.2576765884370],
                        [-0.261891531648, -0.0853766525692]]),
        ("bs(x, df = 4)", [[0, 0, 0, 0],
                           [0.363682386928, 0.0297065571791, 0.000784929356358, 0],
                           [0.614014472425, 0.2086704504287, 0.021193092621664, 0]]),
        ("ns(x, df = 3)", [[0, 0, 0],
                           [-0.0617386720478, 0.173471142763, -0.109865057084],
                           [-0.1182943623883, 0.460130537606, -0.291416007150]]),
    ],
)  # fmt: skip
def test_bases_are_those_of_r(text, rows):
    np.testing.assert_allclose(evaluate(text)[:3], rows, atol=1e-11)


def test_natural_spline_is_straight_outside_as_in_r():
    evaluator = Evaluator(lambda name: X)
    node = read("~ ns(x, df = 3)")[1]
    evaluator.values(node)
    outside = Evaluator(lambda name: np.array([0.0, 20.0]), evaluator.memory, learning=False)
    expected = [[0.0645270742876, -0.175982929875, 0.111455855588],
                [-1.2149059334298, 0.586107091172, 1.628798842258]]  # fmt: skip
    np.testing.assert_allclose(outside.values(node), expected, atol=1e-11)


@pytest.mark.parametrize(
    "text",
    ["scale(x)", "center(log(x))", "poly(x, 3)", "bs(x, df = 5)", "bs(x, knots = c(4, 8))",
     "cs(x, df = 3)", "cr(x, df = 4)", "cc(x, df = 3)", "ns(x, knots = c(4, 8))",
     "poly(x, 2, raw = TRUE)"],
)  # fmt: skip
def test_transforms_remember(text):
    learned = Evaluator(lambda name: X)
    node = read(f"~ {text}")[1]
    values = learned.values(node)
    again = Evaluator(lambda name: X[[7, 2]], learned.memory, learning=False).values(node)
    np.testing.assert_allclose(again, values[[7, 2]], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("poly(x, 10)", "more than 10 distinct values"),
        ("bs(x, df = 40)", "more than 40 distinct values"),
        ("bs(x, df = 2)", r"bs\(x, df = 2\) cannot be computed: df has to be at least 3"),
        ("bs(x, df = 2, degree = 2, intercept = TRUE)", "df has to be at least 3 .* intercept"),
        ("ns(x, knots = c(99))", "inside the range"),
    ],
)
def test_transforms_that_cannot_be(text, message):
    with pytest.raises(DesignError, match=message):
        evaluate(text)


def test_constant_column_has_no_scale():
    with pytest.raises(DesignError, match="constant"):
        evaluate("scale(x)", np.ones(5))


def test_basis_inside_arithmetic():
    with pytest.raises(FormulaError, match="several columns"):
        evaluate("I(poly(x, 2) * x)")


def test_comparison_with_a_missing_value_is_missing():
    values = evaluate("I(1*(x > 2))", np.array([np.nan, np.inf, 1.0]))
    np.testing.assert_array_equal(values, [np.nan, 1.0, 0.0])


def test_unlearned_transform():
    with pytest.raises(FormulaError, match="not part of the model"):
        Evaluator(lambda name: X, learning=False).values(read("~ scale(x)")[1])
