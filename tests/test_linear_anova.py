"""Tables of terms and comparisons of linear models, against R's ``anova`` and ``car::Anova``."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np
import pytest
from linear_reference import assert_table, cases, fitted, load, read, reference

import lmmjax
from lmmjax.errors import (
    CodingWarning,
    DesignError,
    DroppedRowsWarning,
    LmmError,
    NestingError,
    ShapeError,
)
from lmmjax.linear import lm
from lmmjax.linear.anova import anova_table, compare

COLUMNS = ["Df", "Sum Sq", "Mean Sq", "F value", "Pr(>F)"]


@pytest.mark.parametrize(("dataset", "name"), cases())
def test_sequential(dataset, name):
    ours = anova_table(fitted(dataset, name))
    assert list(ours.columns) == COLUMNS
    assert_table(ours, reference(dataset, name)["anova"])


@pytest.mark.parametrize(("dataset", "name"), cases("anova_2"))
def test_type_two(dataset, name):
    assert_table(anova_table(fitted(dataset, name), "II"), reference(dataset, name)["anova_2"])


@pytest.mark.parametrize(("dataset", "name"), cases("anova_3"))
def test_type_three(dataset, name):
    fit = fitted(dataset, name)
    factors = fit.design.spec.encoder.factors
    crossed = {v for t in fit.design.parsed.fixed_terms if len(t.labels) > 1 for v in t.labels}
    treatment = any(label in crossed for label in factors) and not name.endswith("_sum")
    told = pytest.warns(CodingWarning, match="do not sum to zero")
    with told if treatment else contextlib.nullcontext():
        ours = anova_table(fit, "III")
    assert_table(ours, reference(dataset, name)["anova_3"])


def test_type_three_is_what_sum_contrasts_say():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = anova_table(fitted("uneven", "interaction_sum"), 3)
    with pytest.warns(CodingWarning, match=r"contrasts=\{'wool': 'sum', 'tension': 'sum'\}"):
        other = anova_table(fitted("uneven", "interaction"), "iii")
    last = "wool:tension"
    assert table.loc[last, "Sum Sq"] == pytest.approx(other.loc[last, "Sum Sq"], rel=1e-12)
    assert table.loc["wool", "Sum Sq"] != pytest.approx(other.loc["wool", "Sum Sq"], rel=0.01)


@pytest.mark.parametrize(
    ("dataset", "number"), [("mtcars", 0), ("mtcars", 1), ("cake", 0), ("uneven", 0)]
)
def test_comparison(dataset, number):
    ref = read(dataset)["comparisons"][number]
    fits = [fitted(dataset, name) for name in ref["fits"]]
    theirs = {**ref["table"], "rows": [fit.formula for fit in fits]}
    assert_table(compare(*fits), theirs)
    assert_table(compare(*reversed(fits)), theirs)


def test_comparison_agrees_with_the_table():
    data = load("sleepstudy")
    small = lm("Reaction ~ 1 + offset(shift)", data, weights="w")
    large = lm("Reaction ~ Days + offset(shift)", data, weights="w")
    f = compare(small, large)["F"].iloc[1]
    assert f == pytest.approx(anova_table(large).loc["Days", "F value"], rel=1e-12)
    assert large.f_statistic is not None and f == pytest.approx(large.f_statistic.value, rel=1e-12)
    # offsets that the larger model can make up
    other = lm("Reaction ~ Days", data, weights="w")
    moved = lm("Reaction ~ 1 + offset(Days)", data, weights="w")
    assert compare(moved, other)["Sum of Sq"].iloc[1] == pytest.approx(moved.rss - other.rss)


def test_comparisons_refused():
    data = load("mtcars")
    weight, power = lm("mpg ~ wt", data), lm("mpg ~ hp", data)
    with pytest.raises(NestingError, match=r"same number of coefficients, 2"):
        compare(weight, power)
    with pytest.raises(NestingError, match="no combination"):
        compare(weight, lm("mpg ~ hp + qsec", data))
    with pytest.raises(ShapeError, match="of different values"):
        compare(weight, lm("log(mpg) ~ wt + hp", data))
    with pytest.raises(ShapeError, match="different weights"):
        compare(weight, lm("mpg ~ wt + hp", data, weights=np.arange(1.0, 33.0)))
    with pytest.warns(DroppedRowsWarning):
        gaps = lm("mpg ~ wt + hp", load("gaps"))
    with pytest.raises(ShapeError, match=r"different observations \(32 and 29\)"):
        compare(weight, gaps)
    with pytest.raises(LmmError, match="at least two fits"):
        compare(weight)
    with pytest.raises(LmmError, match="needs a fit by lm, not str"):
        compare(weight, "mpg ~ wt")  # type: ignore[arg-type]


def test_tables_refused():
    with pytest.raises(DesignError, match=r"I\(wt \+ 2 \* hp\) depend.*use type 'II'"):
        anova_table(fitted("mtcars", "aliased"), "III")
    with pytest.raises(LmmError, match="type is 'I', 'II' or 'III', not 'IV'"):
        anova_table(fitted("mtcars", "two"), "IV")
    mixed = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", load("sleepstudy"))
    with pytest.raises(LmmError, match="needs a fit by lm, not LmmFit"):
        anova_table(mixed)  # type: ignore[arg-type]
