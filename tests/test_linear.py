"""``lm`` against R's, and its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from linear_reference import assert_close, cases, fitted, load, reference

from lmmjax.errors import (
    AlignmentError,
    DesignError,
    DroppedRowsWarning,
    FormulaError,
    LmmError,
    LmmWarning,
    NonFiniteError,
    RankWarning,
    ResponseError,
    ShapeError,
    UnseenLevelError,
    WeightError,
)
from lmmjax.linear import LmFit, lm

ALL = cases()
#: Estimates that are rounding error, and an excluded row that R counts as a residual of zero.
UNPRINTABLE = {("Penicillin", "crossed"), ("mtcars", "aliased_interaction"), ("mtcars", "weighted")}


@pytest.fixture(scope="module")
def cars() -> pd.DataFrame:
    return load("mtcars")


@pytest.mark.parametrize(("dataset", "name"), ALL)
def test_estimates(dataset, name):
    ref, fit = reference(dataset, name), fitted(dataset, name)
    assert list(fit.fixef.index) == ref["names"]
    errors = np.array(ref["std_errors"])
    size = pd.Series(errors, index=ref["estimable"]).reindex(ref["names"]).to_numpy()
    np.testing.assert_array_equal(fit.coef.isna(), np.isnan(size))
    known = fit.coef.notna().to_numpy()
    theirs = np.array(ref["coef"], float)[known]
    assert_close((fit.coef[known] - theirs) / size[known], np.zeros(known.sum()), scale=1.0)
    table = fit.coefficients[known]
    assert_close(table["Std. Error"], ref["std_errors"])
    assert_close(fit.std_errors[known], ref["std_errors"])
    assert_close(table["t value"], ref["t"], scale=1.0)
    assert_close(table["Pr(>|t|)"], ref["p"])
    vcov = fit.vcov.loc[known, known] / np.outer(errors, errors)
    assert_close(vcov, np.array(ref["vcov"]) / np.outer(errors, errors), scale=1.0)
    assert_close(fit.confint() / size[:, None], np.array(ref["confint"], float) / size[:, None])
    assert list(fit.confint(0.9).columns) == ["5 %", "95 %"]
    assert_close(
        fit.confint(0.9) / size[:, None], np.array(ref["confint90"], float) / size[:, None]
    )


@pytest.mark.parametrize(("dataset", "name"), ALL)
def test_quality(dataset, name):
    ref, fit = reference(dataset, name), fitted(dataset, name)
    for key in ("sigma", "r_squared", "adj_r_squared", "loglik", "aic", "bic"):
        assert_close(getattr(fit, key), ref[key])
    assert (fit.df_resid, fit.n_obs, fit.df) == (
        ref["df_resid"], ref["n_obs"], fit.rank + 1,
    )  # fmt: skip
    if "f_statistic" in ref:
        assert fit.f_statistic is not None
        assert_close(fit.f_statistic, ref["f_statistic"])
    else:
        assert fit.f_statistic is None and fit.r_squared == 0.0


@pytest.mark.parametrize(("dataset", "name"), ALL)
def test_observations(dataset, name):
    ref, fit = reference(dataset, name), fitted(dataset, name)
    assert_close(fit.fitted(), ref["fitted"])
    for kind in ("pearson", "standardized", "studentized"):
        assert_close(fit.residuals(kind), ref[kind], scale=np.nanmax(np.array(ref[kind], float)))
    assert_close(fit.residuals(), ref["residuals"], scale=fit.sigma)
    assert_close(fit.hatvalues(), ref["hat"])
    assert_close(fit.cooks_distance(), ref["cooks"], scale=np.nanmax(np.array(ref["cooks"], float)))
    assert fit.fitted().index.equals(fit.design.observations)


@pytest.mark.parametrize(("dataset", "name"), cases("predict_rows"))
def test_predictions(dataset, name):
    ref, fit = reference(dataset, name), fitted(dataset, name)
    new = load(dataset).loc[[str(row) for row in ref["predict_rows"]]]
    options: dict = {"interval": "prediction"}
    if ref["weights"]:
        with pytest.warns(LmmWarning, match="taken to have weight 1"):
            prediction = fit.predict(new, interval="prediction", level=0.8)
        with pytest.warns(LmmWarning, match="weights of the fit are taken"):
            own = fit.predict(interval="prediction")
        options["weights"] = fit.weights
    else:
        prediction = fit.predict(new, interval="prediction", level=0.8)
        own = fit.predict(interval="prediction")
    assert isinstance(prediction, pd.DataFrame) and isinstance(own, pd.DataFrame)
    confidence = fit.predict(new, interval="confidence", se_fit=True)
    assert isinstance(confidence, pd.DataFrame)
    assert_close(confidence["se_fit"], ref["predict_se"])
    assert_close(fit.predict(new), confidence["fit"])
    for column, theirs in (("fit", "fit"), ("lower", "lwr"), ("upper", "upr")):
        size = np.max(np.abs(ref["predict_prediction"]["fit"]))
        assert_close(confidence[column], ref["predict_confidence"][theirs], scale=size)
        assert_close(prediction[column], ref["predict_prediction"][theirs], scale=size)
        assert_close(own[column], ref["own_prediction"][theirs], scale=size)
    same = fit.predict(**options)
    pd.testing.assert_frame_equal(own, pd.DataFrame(same))
    assert_close(fit.predict(), fit.fitted())


def printed(text: str) -> list[str]:
    text = text.replace("\t", " ")
    return [line.rstrip() for line in text[text.index("esiduals:") :].strip().splitlines()]


@pytest.mark.parametrize(("dataset", "name"), [case for case in ALL if case not in UNPRINTABLE])
def test_summary(dataset, name):
    ref, fit = reference(dataset, name), fitted(dataset, name)
    assert printed(fit.summary()) == printed("\n".join(ref["summary"]))
    assert str(fit) == fit.summary()
    weighted = fit.weights is not None
    assert ("Weighted Residuals:" in fit.summary()) == weighted
    assert fit.summary().startswith(f"Call:\nlm(formula = {ref['formula']}")


def test_published_sleepstudy():
    lines = fitted("sleepstudy", "days").summary().splitlines()
    assert lines[9] == "(Intercept)  251.405      6.610  38.033  < 2e-16 ***"
    assert lines[-1] == "F-statistic: 71.46 on 1 and 178 DF,  p-value: 9.894e-15"
    assert "Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1" in lines


def test_other_texts(cars):
    fit = lm("mpg ~ wt + I(hp / 100)", cars, weights=cars["w"] + 1)
    told = f"R^2 {fit.r_squared:.4g}, sigma {fit.sigma:.4g}"
    assert repr(fit) == f"LmFit: 'mpg ~ wt + I(hp / 100)', 32 observations, {told}"
    assert "weights = ...)" in fit.summary()
    assert "weights = w)" in fitted("mtcars", "weighted").summary()
    page = fitted("mtcars", "aliased")._repr_html_()
    assert page.count("<tr>") == 6 and "<td style='text-align:right'>NA</td>" in page
    assert "Pr(&gt;|t|)" in page and "R² " in page
    assert "No Coefficients" in lm("mpg ~ 0", cars).summary()


# ---- exactness -------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 1e6, 1e9])
def test_large_means(cars, shift):
    plain = lm("mpg ~ wt * hp", cars)
    moved = lm("mpg ~ wt + hp + wt_hp", cars.assign(
        mpg=cars["mpg"] + shift, wt_hp=cars["wt"] * cars["hp"], hp=cars["hp"] + shift,
    ))  # fmt: skip
    tolerance = 1e-10 if shift == 0 else 1e-5 if shift == 1e9 else 1e-8
    assert moved.sigma == pytest.approx(plain.sigma, rel=tolerance)
    assert_close(moved.fixef.iloc[1:], plain.fixef.iloc[1:], tolerance)
    assert moved.r_squared == pytest.approx(plain.r_squared, rel=tolerance)


@pytest.mark.parametrize("scale", [1e-12, 1e12, 1e150])
def test_units(cars, scale):
    plain = lm("mpg ~ wt", cars, weights="w")
    other = lm("mpg ~ wt", cars.assign(mpg=cars["mpg"] * scale), weights="w")
    assert_close(other.fixef / scale, plain.fixef, 1e-12)
    assert_close(other.coefficients["Pr(>|t|)"], plain.coefficients["Pr(>|t|)"], 1e-10)


def test_weights_zero_exclude(cars):
    with_zero = lm("mpg ~ wt", cars, weights="w")
    without = lm("mpg ~ wt", cars[cars["w"] > 0], weights=cars.loc[cars["w"] > 0, "w"])
    assert with_zero.n_obs == 31
    assert_close(with_zero.fixef, without.fixef, 1e-15)


def test_leverage_one(cars):
    data = cars.assign(first=(np.arange(32) == 0) * 1.0)
    fit = lm("mpg ~ wt + first", data)
    assert fit.hatvalues().iloc[0] == 1.0
    assert np.isnan(fit.residuals("studentized").iloc[0]) and np.isnan(fit.cooks_distance().iloc[0])
    assert fit.residuals("standardized").iloc[1:].notna().all()
    tiny = lm("mpg ~ wt", cars.iloc[[0, 2, 4]])
    assert tiny.residuals("studentized").isna().all()


# ---- what the user is told -------------------------------------------------------------------


def test_random_effects_are_for_lmer(cars):
    with pytest.raises(FormulaError, match=r"no random effects.*\(1 \| cyl\); use lmer"):
        lm("mpg ~ wt + (1 | cyl)", cars)


def test_formula_errors(cars):
    with pytest.raises(FormulaError, match="no response"):
        lm("~ wt", cars)
    with pytest.raises(FormulaError, match=r"no column 'weight'; .*"):
        lm("mpg ~ weight", cars)
    with pytest.raises(FormulaError, match="take the weights from"):
        lm("mpg ~ wt", cars, weights="mass")
    with pytest.raises(FormulaError, match="contrasts are given for 'cyl'"):
        lm("mpg ~ wt", cars, contrasts={"cyl": "sum"})


def test_bad_responses(cars):
    with pytest.raises(ResponseError, match=r"one: constant_response. All observed values"):
        lm("one ~ wt", cars.assign(one=1.0))
    with pytest.raises(ResponseError, match=r"twice: zero_residual.*reproduce the response"):
        lm("twice ~ wt", cars.assign(twice=3 + 2 * cars["wt"]))
    with pytest.raises(NonFiniteError, match="infinite"):
        lm("mpg ~ wt", cars.assign(mpg=cars["mpg"].where(cars["wt"] < 5, np.inf)))
    with pytest.raises(DesignError, match="leave no residual degrees of freedom"):
        lm("mpg ~ wt", cars.head(2))


def test_weight_errors(cars):
    with pytest.raises(WeightError, match=r"'Mazda RX4' is -1"):
        lm("mpg ~ wt", cars, weights=-np.ones(32))
    with pytest.raises(WeightError, match="all weights are zero"):
        lm("mpg ~ wt", cars, weights=np.zeros(32))


def test_missing_rows():
    data = load("gaps")
    with pytest.warns(DroppedRowsWarning, match="3 of 32 observations dropped"):
        fit = lm("mpg ~ wt + hp + factor(cyl)", data)
    assert "(3 observations deleted due to missingness)" in fit.summary()
    with pytest.raises(DesignError, match="missing values in"):
        lm("mpg ~ hp", data, na="raise")


def test_rank(cars):
    with pytest.warns(RankWarning, match=r"I\(wt \+ 2 \* hp\); they are dropped"):
        lm("mpg ~ wt + hp + I(wt + 2 * hp)", cars)
    with pytest.raises(DesignError, match="depend linearly"):
        lm("mpg ~ wt + hp + I(wt + 2 * hp)", cars, rank_deficient="error")


def test_predictions_that_a_dropped_coefficient_matters_for(cars):
    data = cars.assign(both=cars["wt"] + cars["hp"])
    with pytest.warns(RankWarning):
        fit = lm("mpg ~ wt + hp + both", data)
    known, other = {"wt": 2.0, "hp": 90.0, "both": 92.0}, {"wt": 2.0, "hp": 90.0, "both": 0.0}
    with pytest.warns(RankWarning, match="1 of 2 predictions are NaN"):
        out = fit.predict(pd.DataFrame([known, other]))
    expected = lm("mpg ~ wt + hp", cars).predict(pd.DataFrame([known]))
    assert_close(out.iloc[0], expected.iloc[0])
    assert np.isnan(out.iloc[1])


def test_prediction_errors(cars):
    fit = lm("mpg ~ wt + factor(cyl)", cars)
    with pytest.raises(UnseenLevelError, match="'5'"):
        fit.predict({"wt": [2.0], "cyl": [5]})
    with pytest.raises(FormulaError, match="no column 'cyl'"):
        fit.predict({"wt": [2.0]})
    with pytest.raises(LmmError, match="interval is None, 'confidence' or 'prediction'"):
        fit.predict(interval="both")
    with pytest.raises(LmmError, match=r"level=95: a confidence level is between 0 and 1"):
        fit.predict(interval="confidence", level=95)
    with pytest.raises(LmmError, match="interval='prediction' only"):
        fit.predict(weights=np.ones(32))
    with pytest.raises(LmmError, match="level="):
        fit.confint(1.0)
    with pytest.raises(LmmError, match="type='working': residuals are of type 'response'"):
        fit.residuals("working")
    missing = fit.predict({"wt": [2.0, np.nan], "cyl": [4, 6]}, interval="confidence")
    assert isinstance(missing, pd.DataFrame)
    assert missing.iloc[1].isna().all() and missing.iloc[0].notna().all()


def test_prediction_weights(cars):
    fit = lm("mpg ~ wt", cars, weights="w")
    new = {"wt": [2.0, 3.0], "precision": [1.0, 4.0]}
    out = fit.predict(new, interval="prediction", weights="precision")
    one = fit.predict(new, interval="prediction", weights=[1.0, 1.0])
    assert isinstance(out, pd.DataFrame) and isinstance(one, pd.DataFrame)
    width, wide = out["upper"] - out["lower"], one["upper"] - one["lower"]
    assert width.iloc[0] == wide.iloc[0] and width.iloc[1] < wide.iloc[1]


def test_it_is_frozen():
    fit = fitted("mtcars", "two")
    assert isinstance(fit, LmFit)
    with pytest.raises(AttributeError):
        fit.weights = None  # type: ignore[misc]


def test_names_that_mixed_models_have_too(cars):
    fit = lm("mpg ~ wt + hp", cars, weights="w")
    assert (fit.nobs, fit.deviance) == (fit.n_obs, fit.rss)
    assert_close(fit.residuals("deviance"), fit.residuals("pearson"), 1e-15)
    assert_close(fit.residuals("scaled") * fit.sigma, fit.residuals("pearson"), 1e-14)
    columns = fit.predict(interval="prediction", se_fit=True, weights=np.ones(31)).columns
    assert list(columns) == ["fit", "se_fit", "lower", "upper"]
    assert fit.confint(parameters="wt").equals(fit.confint().loc[["wt"]])
    assert fit.confint(method="t").equals(fit.confint())
    with pytest.raises(LmmError, match=r"no coefficient 'qsec'; there are \(Intercept\), wt, hp"):
        fit.confint(parameters=["qsec"])
    asked: dict[str, Any]
    for asked in ({"method": "profile"}, {"level": "profile"}):
        with pytest.raises(LmmError, match=r"method='profile': .* Student's t, which"):
            fit.confint(**asked)


def test_simulated_responses(cars):
    fit = lm("mpg ~ wt", cars, weights="w")
    drawn = fit.simulate(4000, seed=3)
    assert drawn.index.equals(fit.fitted().index) and list(drawn.columns[:2]) == ["sim_1", "sim_2"]
    assert fit.weights is not None
    error = fit.sigma / np.sqrt(fit.weights)
    assert np.abs((drawn.mean(axis=1) - fit.fitted()) / error).max() < 4 / np.sqrt(4000)
    np.testing.assert_allclose(drawn.std(axis=1) / error, 1.0, atol=4 / np.sqrt(2 * 4000))
    assert drawn.equals(fit.simulate(4000, seed=3))
    with pytest.raises(LmmError, match="n=0: the number of responses"):
        fit.simulate(0)


def test_equal_only_to_itself(cars):
    fit, other = lm("mpg ~ wt", cars), lm("mpg ~ wt", cars)
    assert fit == fit and fit != other and len({fit, other}) == 2


def test_offset_argument(cars):
    expected = lm("mpg ~ wt + offset(qsec)", cars)
    values = cars["qsec"]
    for offset in ("qsec", values, values.iloc[::-1], values.to_numpy(), list(values)):
        assert_close(lm("mpg ~ wt", cars, offset=offset).fixef, expected.fixef, 1e-14)
    twice = lm("mpg ~ wt + offset(qsec)", cars, offset="qsec")
    assert_close(twice.fixef, lm("mpg ~ wt", cars, offset=2 * values).fixef, 1e-12)
    named = lm("mpg ~ wt", cars, offset="qsec")
    assert_close(named.predict(cars), named.fitted(), 1e-12)
    with pytest.warns(DroppedRowsWarning, match="1 of 32.*offset"):
        gap = lm("mpg ~ wt", cars, offset=values.where(np.arange(32) > 0))
    assert "(1 observation deleted due to missingness)" in gap.summary()
    with pytest.raises(AlignmentError, match=r"not in the offset: .*30 in all"):
        lm("mpg ~ wt", cars, offset=values.head(2))
    with pytest.raises(ShapeError, match="the offset has 2 rows"):
        lm("mpg ~ wt", cars, offset=[1.0, 2.0])
    with pytest.raises(FormulaError, match="no column 'mass' to take the offset from"):
        lm("mpg ~ wt", cars, offset="mass")
    with pytest.raises(FormulaError, match=r"no column '\(offset\)'"):
        lm("mpg ~ wt", cars, offset=values).predict({"wt": [2.0]})


def test_a_dot_is_all_other_columns(cars):
    data = cars[["mpg", "wt", "hp"]].assign(**{"my x": cars["qsec"]})
    assert lm("mpg ~ .", data).formula == "mpg ~ wt + hp + `my x`"
    assert lm("log(mpg) ~ . - hp", data).formula == "log(mpg) ~ wt + `my x`"
    assert lm("mpg ~ .^2", data[["mpg", "wt", "hp"]]).formula == "mpg ~ wt + hp + wt:hp"
    with pytest.raises(FormulaError, match="no columns but the response's"):
        lm("mpg ~ .", data[["mpg"]])
