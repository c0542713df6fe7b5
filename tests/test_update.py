"""Changed formulas as R's ``update.formula`` writes them, and fits made again."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from linear_reference import assert_close, load, read

import lmmjax
from lmmjax.errors import DroppedRowsWarning, FormulaError, LmmError
from lmmjax.linear import LmFit, lm
from lmmjax.linear.update import update, update_formula

SLOPE = "Reaction ~ Days + (Days | Subject)"


@pytest.mark.parametrize("pair", read("update"), ids=lambda pair: f"{pair['old']}, {pair['new']}")
def test_as_r(pair):
    assert update_formula(pair["old"], pair["new"]) == pair["result"]


@pytest.mark.parametrize(
    ("old", "new", "result"),
    [
        (SLOPE, "~ . - Days", "Reaction ~ 1 + (Days | Subject)"),
        (SLOPE, "~ . - (Days | Subject)", "Reaction ~ Days"),
        (SLOPE, "~ . - (1 + Days | Subject) + (1 | Subject)", "Reaction ~ Days + (1 | Subject)"),
        (SLOPE, "~ . + (1|Batch)", "Reaction ~ Days + (Days | Subject) + (1 | Batch)"),
        (SLOPE, "~ . + (Days | Subject)", SLOPE),
        (SLOPE, "log(.) ~ .", "log(Reaction) ~ Days + (Days | Subject)"),
        (SLOPE, "~ . - 1", "Reaction ~ Days + (Days | Subject) - 1"),
        ("y ~ x + (x || g)", "~ . - (1 | g)", "y ~ x + (0 + x | g)"),
        ("y ~ x + (x || g)", "~ . + z", "y ~ x + z + (x || g)"),
        ("y ~ x + (1 | a/b)", "~ . - (1 | a:b)", "y ~ x + (1 | a)"),
        ("y ~ (1 | g)", "~ 0 + .", "y ~ 0 + (1 | g)"),
        ("y ~ x + offset(o)", "~ . - offset(o)", "y ~ x"),
        ("~ x + (1 | g)", "~ . + z", "~ x + z + (1 | g)"),
        ("~ x + (1 | g)", "y ~ .", "y ~ x + (1 | g)"),
        ("a + b ~ x", "I(. / 2) ~ .", "I((a + b)/2) ~ x"),
        ("`my y` ~ `my x`", "sqrt(.) ~ . + z", "sqrt(`my y`) ~ `my x` + z"),
    ],
)  # fmt: skip
def test_random_effects_and_more(old, new, result):
    assert update_formula(old, new) == result


def test_refused_formulas():
    with pytest.raises(FormulaError, match=r"no random-effects term \(1 \| Subject\) to remove; "
                       r"the formula has \(Days \| Subject\)"):  # fmt: skip
        update_formula(SLOPE, "~ . - (1 | Subject)")
    with pytest.raises(FormulaError, match=r"has '\.' for a response, and there was none"):
        update_formula("~ x", "log(.) ~ .")
    with pytest.raises(FormulaError, match="a formula needs a '~'"):
        update_formula("y ~ x", ". - x")
    with pytest.raises(FormulaError, match=r"duplicate random-effects term \(1 \| Subject\)"):
        update_formula(SLOPE, "~ . + (1 | Subject)")


# ---- linear models ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cars() -> pd.DataFrame:
    return load("mtcars")


def test_linear(cars):
    fit = lm("mpg ~ wt + factor(cyl)", cars, weights="w", contrasts={"cyl": "sum"})
    smaller = update(fit, "log(.) ~ . - factor(cyl) + hp")
    expected = lm("log(mpg) ~ wt + hp", cars, weights="w")
    assert isinstance(smaller, LmFit) and smaller.formula == expected.formula
    assert_close(smaller.fixef, expected.fixef, 1e-15)
    assert list(update(fit).fixef) == list(fit.fixef)
    plain = update(fit, weights=None, data=cars.head(20))
    assert (plain.n_obs, plain.weights) == (20, None)
    assert list(plain.fixef.index) == ["(Intercept)", "wt", "factor(cyl)1", "factor(cyl)2"]


def test_linear_regains_rows():
    with pytest.warns(DroppedRowsWarning, match="3 of 32"):
        fit = lm("mpg ~ wt + hp", load("gaps"))
    with pytest.warns(DroppedRowsWarning, match="1 of 32"):
        assert update(fit, "~ . - hp").n_obs == 31


def test_refused(cars):
    fit = lm("mpg ~ wt", cars, weights=cars["w"])
    with pytest.raises(LmmError, match="with new data give weights= too"):
        update(fit, data=cars.head(20))
    with pytest.raises(LmmError, match="update does not take reml; it takes weights, na"):
        update(fit, reml=False)
    with pytest.raises(LmmError, match="update needs a fit by lm or lmer, not str"):
        update("mpg ~ wt", "~ .")  # type: ignore[call-overload]
    with pytest.raises(FormulaError, match="use lmer"):
        update(fit, "~ . + (1 | cyl)")
    with pytest.raises(FormulaError, match="no column 'nothing'"):
        update(fit, "~ . + nothing")


# ---- mixed models ----------------------------------------------------------------------------


def same(one: lmmjax.LmmFit, other: lmmjax.LmmFit) -> None:
    assert one.formula == other.formula and one.response == other.response
    assert one.objective == pytest.approx(other.objective, rel=1e-10)
    assert_close(one.fixef, other.fixef, 1e-6)


def test_mixed():
    data = load("sleepstudy")
    fit = lmmjax.lmer("Reaction ~ Days + offset(shift) + (1 | Subject)", data, weights="w")
    same(update(fit), fit)
    smaller = update(fit, "~ . - Days", reml=False)
    formula = "Reaction ~ 1 + (1 | Subject) + offset(shift)"
    same(smaller, lmmjax.lmer(formula, data, False, weights="w"))
    logged = update(fit, "log(.) ~ . - offset(shift)")
    same(logged, lmmjax.lmer("log(Reaction) ~ Days + (1 | Subject)", data, weights="w"))
    # a response that is computed is kept as computed
    same(update(logged, "~ . - Days"), update(fit, "log(.) ~ . - offset(shift) - Days"))
    light = update(fit, weights=None)
    same(light, lmmjax.lmer(fit.formula, data))
    half = update(fit, "~ . - offset(shift)", data=data.head(90), weights="w")
    assert half.n_obs == 90


def test_mixed_contrasts():
    data = load("cake")
    fit = lmmjax.lmer("angle ~ recipe + temp + (1 | replicate)", data, contrasts={"recipe": "sum"})
    assert list(update(fit, "~ . - temp").fixef.index) == ["(Intercept)", "recipe1", "recipe2"]
    assert list(update(fit, "~ . - recipe").fixef.index) == ["(Intercept)", "temp"]
    again = update(fit, contrasts={"recipe": "treatment"})
    assert list(again.fixef.index) == ["(Intercept)", "recipeB", "recipeC", "temp"]


def test_mixed_needs_data():
    data = load("sleepstudy")
    fit = lmmjax.lmer("log(Reaction) ~ Days + (1 | Subject)", data)
    with pytest.raises(FormulaError, match=r"keeps the columns .*'Days', 'Subject'.*'shift'; give "
                       "the table as data="):  # fmt: skip
        update(fit, "~ . + shift")
    with pytest.raises(FormulaError, match="also needs 'Reaction'; give the table as data="):
        update(fit, "Reaction ~ .")
    with pytest.raises(FormulaError, match="has not kept the column 'w'; give data= too"):
        update(fit, weights="w")
    same(update(fit, "~ . + shift", data=data),
         lmmjax.lmer("log(Reaction) ~ Days + shift + (1 | Subject)", data))  # fmt: skip
    weighted = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data, weights="w")
    with pytest.raises(LmmError, match="with new data give weights= too"):
        update(weighted, data=data)


def test_rows_that_stay_out():
    data = load("sleepstudy")
    data["extra"] = np.where(np.arange(180) % 30 == 3, np.nan, np.arange(180) % 7)
    with pytest.warns(DroppedRowsWarning, match="6 of 180"):
        fit = lmmjax.lmer("Reaction ~ Days + extra + (1 | Subject)", data)
    with pytest.warns(DroppedRowsWarning, match="174 observations of the fit.*give data="):
        assert update(fit, "~ . - extra").n_obs == 174
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert update(fit, "~ . - extra", data=data).n_obs == 180


def test_a_response_of_a_batch():
    data = load("sleepstudy")
    batch = lmmjax.compile("~ Days + (1 | Subject)", data).fit(data[["Reaction"]])
    gene = batch["Reaction"]
    single = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data)
    for change in (". ~ . - Days", "~ . - Days", "log(.) ~ .", None):
        same(update(gene, change), update(single, change))
    samples = data.drop(columns="Reaction")
    same(update(gene, "~ . + shift", data=samples), update(single, "~ . + shift", data=data))
    with pytest.raises(FormulaError, match="no column 'Reaction'"):  # not of the same observations
        update(gene, data=samples.head(90))
    named = lmmjax.compile("y ~ Days + (1 | Subject)", data).fit(
        data[["Reaction"]].set_axis(["HLA-A"], axis=1)
    )
    assert update(named["HLA-A"], "log(.) ~ . - Days").formula == "log(`HLA-A`) ~ 1 + (1 | Subject)"


def test_start():
    data = load("sleepstudy")
    fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data)
    same(update(fit, start=[0.5]), fit)
    same(update(fit, "~ . - Days", start={"theta": [0.5]}), update(fit, "~ . - Days"))
    with pytest.raises(LmmError, match=r"start has shape \(2,\)"):
        update(fit, start=[1.0, 2.0])
