"""Likelihood-ratio tests, end to end."""

import warnings
from functools import cache

import numpy as np
import pandas as pd
import pytest
from reference import reference_fit
from scipy.stats import chi2, false_discovery_control, kstest

import lmmjax
from lmmjax.errors import (
    AlignmentError,
    DroppedRowsWarning,
    FitWarning,
    LmmError,
    NestingError,
    RefitWarning,
    ShapeError,
)
from lmmjax.inference import comparison
from lmmjax.status import Status

COLUMNS = ["loglik0", "loglik1", "df0", "df1", "chisq", "df", "p_chisq", "p_value", "fdr",
           "null", "status"]  # fmt: skip
TWO = "~ Age + (1|Individual) + (1|Batch)"
ONE = "~ Age + (1|Individual)"
AGELESS = "~ (1|Individual)"


@cache
def study():
    return lmmjax.datasets.simulate_expression(n_responses=40, seed=11)


@cache
def fitted(formula, reml=False):
    data = study()
    return lmmjax.compile(formula, data.samples).fit(data.expression, reml=reml)


@pytest.fixture(scope="module")
def sleepstudy_fit(reference_lmer):
    return lambda name: reference_lmer(reference_fit("sleepstudy", name))


def test_sleepstudy_tutorial(sleepstudy_fit):
    # Chisq 42.139, Df 2, Pr(>Chisq) 7.072e-10: the sleepstudy example of Bates et al. (2015)
    table = lmmjax.anova(sleepstudy_fit("slope_ml"), sleepstudy_fit("intercept_ml"))
    assert table.index.tolist() == [
        "Reaction ~ Days + (1 | Subject)", "Reaction ~ Days + (Days | Subject)",
    ]  # fmt: skip
    assert table["npar"].tolist() == [4, 6]
    last = table.iloc[1]
    assert last["Df"] == 2
    assert last["Chisq"] == pytest.approx(42.139, abs=5e-4)
    assert last["Pr(>Chisq)"] == pytest.approx(7.072e-10, rel=1e-4)
    mixture = 0.5 * chi2.sf(last["Chisq"], 1) + 0.5 * chi2.sf(last["Chisq"], 2)
    assert last["p_value"] == pytest.approx(mixture, rel=1e-10)
    assert last["null"] == "0.5 chisq(1) + 0.5 chisq(2)"
    assert table["AIC"].round(1).tolist() == [1802.1, 1763.9]
    references = [reference_fit("sleepstudy", f"{name}_ml") for name in ("intercept", "slope")]
    np.testing.assert_allclose(table["BIC"], [r.values["bic"] for r in references], rtol=1e-8)
    assert table["logLik"].round(2).tolist() == [-897.04, -875.97]
    assert table["deviance"].round(1).tolist() == [1794.1, 1751.9]


def test_three_models_of_reml_fits_are_refitted(sleepstudy_fit):
    fits = [sleepstudy_fit(f"{name}_reml") for name in ("slope", "intercept", "independent")]
    with pytest.warns(RefitWarning, match="refitted by ML") as seen:
        table = lmmjax.anova(*fits)
    assert seen[0].filename == __file__
    objectives = [reference_fit("sleepstudy", f"{name}_ml").objective
                  for name in ("intercept", "independent", "slope")]  # fmt: skip
    np.testing.assert_allclose(table["deviance"], objectives, rtol=1e-8)
    np.testing.assert_allclose(table["Chisq"][1:], -np.diff(objectives), atol=1e-5)
    assert table["Df"].tolist()[1:] == [1, 1]
    assert table["null"].tolist() == ["", "0.5 chisq(0) + 0.5 chisq(1)", "chisq(1)"]


def test_lrtest_leaves_fits_as_they_are(sleepstudy_fit):
    names = ("intercept_reml", "slope_reml")
    small, large = (sleepstudy_fit(name) for name in names)
    table = lmmjax.lrtest(large, small)
    objectives = [reference_fit("sleepstudy", name).objective for name in names]
    np.testing.assert_allclose(table["LogLik"], np.array(objectives) / -2, rtol=1e-8)
    assert table["#Df"].tolist() == [4, 6]
    assert table["Chisq"].iloc[1] == pytest.approx(objectives[0] - objectives[1], abs=1e-5)
    kept = lmmjax.anova(small, large, refit=False)
    assert kept["Chisq"].iloc[1] == table["Chisq"].iloc[1]


@pytest.mark.parametrize(
    ("dataset", "small", "large"),
    [
        ("Orthodont", "slope", "slope_sex"),
        ("cake", "additive", "interaction"),
        ("Oats", "nested", "nested_interaction"),
    ],
)
def test_reml_fits_of_different_fixed_effects(reference_lmer, dataset, small, large):
    references = [reference_fit(dataset, f"{name}_reml") for name in (small, large)]
    fits = [reference_lmer(r) for r in references]
    with pytest.raises(NestingError, match=r"reml=False.*reml_ok=True"):
        lmmjax.lrtest(*fits)
    with pytest.warns(FitWarning, match="units of the covariates.*reml=False"):
        table = lmmjax.lrtest(*fits, reml_ok=True)
    # lmtest takes the criteria as they are, and the absolute value of their difference
    chisq = abs(references[0].objective - references[1].objective)
    degrees = references[1].values["df"] - references[0].values["df"]
    assert table["Chisq"].iloc[1] == pytest.approx(chisq, abs=1e-5)
    assert table["Df"].iloc[1] == degrees
    assert table["Pr(>Chisq)"].iloc[1] == pytest.approx(chi2.sf(chisq, degrees), rel=1e-4)
    assert np.isnan(table["p_value"].iloc[1]) and table["null"].iloc[1] == "none"


def test_lrtest_of_three_models_and_of_linear_ones():
    # lmtest 0.9-40 on lme4's and lm's fits of sleepstudy
    data = lmmjax.datasets.load_sleepstudy()
    formulas = ("(1 | Subject)", "Days + (1 | Subject)", "Days + I(Days**2) + (Days | Subject)")
    fits = [lmmjax.lmer(f"Reaction ~ {f}", data) for f in formulas]
    with pytest.warns(FitWarning, match="no test is valid"):
        table = lmmjax.lrtest(*reversed(fits), reml_ok=True)
    assert table["#Df"].tolist() == [3, 4, 7]
    np.testing.assert_allclose(table["LogLik"], [-952.16326, -893.23254, -871.40780], atol=5e-6)
    np.testing.assert_allclose(table["Chisq"][1:], [117.86143, 43.64949], atol=5e-6)
    assert table["Df"].tolist()[1:] == [1, 3]

    table = lmmjax.lrtest(*(lmmjax.lm(f"Reaction ~ {f}", data) for f in ("Days", "1")))
    np.testing.assert_allclose(table["LogLik"], [-980.52448, -950.14653], atol=5e-6)
    assert table["Chisq"].iloc[1] == pytest.approx(60.7559, abs=5e-5)
    assert table["Pr(>Chisq)"].iloc[1] == pytest.approx(6.4609e-15, rel=1e-4)
    assert table["#Df"].tolist() == [2, 3] and table["Df"].iloc[1] == 1
    with pytest.raises(LmmError, match="not int"):
        lmmjax.lrtest(fits[0], 3)  # type: ignore[arg-type]


def test_linear_against_mixed(sleepstudy, sleepstudy_fit):
    # R: anova(M2, lm(Reaction ~ Days)), npar 3 and 4, Chisq 106.21, Df 1
    linear = lmmjax.lm("Reaction ~ Days", sleepstudy)
    with pytest.warns(RefitWarning, match="because the fits beside them are by ML"):
        table = lmmjax.anova(sleepstudy_fit("intercept_reml"), linear)
    assert table["npar"].tolist() == [3, 4] and table["Df"].iloc[1] == 1
    assert table["Chisq"].iloc[1] == pytest.approx(106.2144, abs=5e-5)
    assert table["null"].iloc[1] == "0.5 chisq(0) + 0.5 chisq(1)"
    row = table.loc["Reaction ~ Days"]
    assert row["logLik"] == pytest.approx(linear.loglik, rel=1e-10)
    assert [row["AIC"], row["BIC"]] == pytest.approx([linear.aic, linear.bic], rel=1e-10)
    three = lmmjax.anova(linear, *(sleepstudy_fit(f"{n}_ml") for n in ("slope", "intercept")))
    assert three["npar"].tolist() == [3, 4, 6]
    assert three["Chisq"].iloc[2] == pytest.approx(42.139, abs=5e-4)
    test = lmmjax.lrtest(sleepstudy_fit("intercept_ml"), linear)
    assert test["Chisq"].iloc[1] == pytest.approx(table["Chisq"].iloc[1], abs=1e-6)
    for function in (lmmjax.lrtest, lambda *f: lmmjax.anova(*f, refit=False)):
        with pytest.raises(NestingError, match=r"1 \| Subject.*as lm fits are.*reml=False"):
            function(linear, sleepstudy_fit("intercept_reml"))


def test_response_with_missing_values_against_a_fit_of_its_rows(sleepstudy):
    data = sleepstudy.assign(B=sleepstudy["Reaction"].where(np.arange(180) % 70 != 3))
    batch = lmmjax.compile("~ Days + (Days | Subject)", data).fit(data[["Reaction", "B"]])
    with pytest.warns(DroppedRowsWarning, match="3 of 180"):
        small = lmmjax.lmer("B ~ Days + (1 | Subject)", data)
        large = lmmjax.lmer("B ~ Days + (Days | Subject)", data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = lmmjax.lrtest(small, batch["B"])
    assert table["Chisq"].iloc[1] == pytest.approx(2 * (large.loglik - small.loglik), abs=1e-6)
    with pytest.raises(AlignmentError, match="different responses"):
        lmmjax.lrtest(small, batch["Reaction"])
    complete = lmmjax.lmer("B ~ Days + (1 | Subject)", data.fillna({"B": 1.0}))
    with pytest.raises(ShapeError, match="different values"):
        lmmjax.lrtest(complete, batch["B"])


@pytest.mark.parametrize(
    ("dataset", "small", "large", "null"),
    [
        ("Orthodont", "slope", "slope_sex", "chisq(2)"),
        ("Orthodont", "intercept_sex", "slope_sex", "0.5 chisq(1) + 0.5 chisq(2)"),
        ("Pastes", "sample", "nested", "0.5 chisq(0) + 0.5 chisq(1)"),
        ("Machines", "nested", "vector_cell", "chisq(4)"),
        ("cake", "additive", "interaction", "chisq(10)"),
    ],
)
def test_against_lme4(reference_lmer, dataset, small, large, null):
    references = [reference_fit(dataset, f"{name}_ml") for name in (small, large)]
    last = lmmjax.anova(*(reference_lmer(r) for r in references)).iloc[1]
    expected = references[0].objective - references[1].objective
    assert last["Chisq"] == pytest.approx(expected, abs=1e-5)
    degrees = references[1].values["df"] - references[0].values["df"]
    assert last["Df"] == degrees
    assert last["Pr(>Chisq)"] == pytest.approx(chi2.sf(expected, degrees), abs=1e-5)
    assert last["null"] == null


def test_batch_of_fixed_effects():
    table = lmmjax.anova(fitted(ONE), fitted(AGELESS))
    data = study()
    assert table.columns.tolist() == COLUMNS
    assert table.index.equals(data.expression.index)
    small, large = fitted(AGELESS), fitted(ONE)
    pd.testing.assert_series_equal(table["loglik0"], small.loglik, check_names=False)
    pd.testing.assert_series_equal(table["loglik1"], large.loglik, check_names=False)
    assert set(table["df0"]) == {3} and set(table["df1"]) == {4} and set(table["df"]) == {1}
    chisq = 2 * (large.loglik - small.loglik)
    np.testing.assert_allclose(table["chisq"], chisq, atol=1e-8)
    np.testing.assert_allclose(table["p_value"], chi2.sf(table["chisq"], 1), rtol=1e-10)
    assert table["p_value"].equals(table["p_chisq"])
    np.testing.assert_allclose(table["fdr"], false_discovery_control(table["p_value"]))
    assert set(table["null"]) == {"chisq(1)"} and set(table["status"]) == {"ok"}
    pd.testing.assert_frame_equal(table, lmmjax.anova(small, large))


@pytest.mark.parametrize("reml", [False, True])
def test_batch_of_random_effects(reml):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # equal fixed effects: REML fits are compared as they are
        table = lmmjax.anova(fitted(ONE, reml), fitted(TWO, reml))
    assert set(table["null"]) == {"0.5 chisq(0) + 0.5 chisq(1)"}
    on_boundary = fitted(TWO, reml).varcorr.query("group == 'Batch'")["vcov"].to_numpy() == 0
    assert on_boundary.any()
    np.testing.assert_array_equal(table["chisq"][on_boundary], 0.0)
    np.testing.assert_array_equal(table["p_value"][on_boundary], 1.0)
    rest = table[~on_boundary]
    np.testing.assert_allclose(rest["p_value"], 0.5 * rest["p_chisq"], rtol=1e-12)


def test_fixed_and_random_effects_together():
    table = lmmjax.anova(fitted(TWO), fitted(AGELESS))
    assert set(table["null"]) == {"0.5 chisq(1) + 0.5 chisq(2)"}
    mixture = 0.5 * chi2.sf(table["chisq"], 1) + 0.5 * chi2.sf(table["chisq"], 2)
    np.testing.assert_allclose(table["p_value"], mixture, rtol=1e-10)


def test_two_variances_at_once():
    table = lmmjax.anova(fitted("~ Age"), fitted(TWO))
    assert table["null"].str.match(r"0\.2\d+ chisq\(0\) \+ 0\.5 chisq\(1\) \+ 0\.2\d+ chisq").all()
    assert (table["p_value"] <= table["p_chisq"]).all()


def test_reml_fits_of_fixed_effects():
    with pytest.warns(RefitWarning, match="Age") as seen:
        table = lmmjax.anova(fitted(AGELESS, True), fitted(ONE, True))
    assert seen[0].filename == __file__
    expected = lmmjax.anova(fitted(AGELESS), fitted(ONE))
    np.testing.assert_allclose(table["chisq"], expected["chisq"], atol=1e-6)
    assert table.index.equals(expected.index)
    with pytest.raises(NestingError, match="reml=False"):
        lmmjax.anova(fitted(AGELESS, True), fitted(ONE, True), refit=False)
    with pytest.raises(ValueError, match="REML"):
        gene = study().expression.index[0]
        lmmjax.lrtest(fitted(AGELESS, True)[gene], fitted(ONE, True)[gene])


def test_one_reml_fit_and_one_ml_fit():
    with pytest.warns(RefitWarning, match="because the fits beside them are by ML") as seen:
        table = lmmjax.anova(fitted(ONE, True), fitted(TWO))
    assert "Batch" not in str(seen[0].message)
    expected = lmmjax.anova(fitted(ONE), fitted(TWO))
    np.testing.assert_allclose(table["chisq"], expected["chisq"], atol=1e-6)
    with pytest.raises(NestingError, match="one model was fitted by REML"):
        lmmjax.anova(fitted(ONE, True), fitted(TWO), refit=False)


def test_reml_does_not_depend_on_the_coding():
    data = study()
    months = data.samples.assign(Age=data.samples["Age"] * 12 - 600)
    other = lmmjax.compile(TWO, months).fit(data.expression)
    table, expected = (lmmjax.anova(fitted(ONE, True), fits) for fits in (other, fitted(TWO, True)))
    np.testing.assert_allclose(table["chisq"], expected["chisq"], atol=1e-7)
    np.testing.assert_allclose(2 * (table["loglik1"] - table["loglik0"]), table["chisq"], atol=1e-7)


def test_missing_values_and_failed_fits():
    data = study()
    Y = data.expression.iloc[:6].copy()
    Y.iloc[0] = np.nan
    Y.iloc[1] = 3.0
    Y.iloc[2, :20] = np.nan
    fits = []
    for formula in (ONE, TWO):
        with pytest.warns(FitWarning, match="2 of 6"):
            fits.append(lmmjax.compile(formula, data.samples).fit(Y, reml=False))
    table = lmmjax.anova(*fits)
    assert table["status"].tolist() == ["failed_fit"] * 2 + ["ok"] * 4
    assert table[["p_chisq", "p_value", "fdr"]].iloc[:2].isna().all(axis=None)
    np.testing.assert_allclose(
        table["fdr"].iloc[2:], false_discovery_control(table["p_value"].iloc[2:])
    )
    full = lmmjax.anova(fitted(ONE), fitted(TWO))
    np.testing.assert_allclose(table["chisq"].iloc[3:], full["chisq"].iloc[3:6], atol=1e-6)
    assert fits[0].n_obs.iloc[2] == 80

    with pytest.warns(RefitWarning):  # missing values survive a refit
        refitted = lmmjax.anova(
            *(f if f is fits[1] else one_by_reml(data.samples, Y) for f in fits)
        )
    np.testing.assert_allclose(refitted["chisq"], table["chisq"], atol=1e-6)


def one_by_reml(samples, Y):
    with pytest.warns(FitWarning):
        return lmmjax.compile(ONE, samples).fit(Y)


def test_a_column_that_a_response_cannot_estimate():
    data = study()
    samples = data.samples.assign(late=(np.arange(100) >= 90) * 1.0)
    Y = data.expression.iloc[:3].copy()
    Y.iloc[0, 90:] = np.nan
    formulas = (AGELESS, f"~ late + {AGELESS[2:]}")
    table = lmmjax.anova(*(lmmjax.compile(f, samples).fit(Y, reml=False) for f in formulas))
    assert table["status"].tolist() == ["not_estimable", "ok", "ok"]
    assert table["df"].tolist() == [0, 1, 1] and np.isnan(table["p_value"].iloc[0])


def changed(fits, objective=None, status=None):
    out = comparison.one_response(fits, 0)
    if objective is not None:
        out._objective = out._objective + objective
    if status is not None:
        out.status_codes = np.array([status.code], dtype=np.int8)
    return out


def test_negative_statistics():
    small, large = fitted(ONE), fitted(TWO)
    gap = float(small.objective.iloc[0] - large.objective.iloc[0])
    tiny = lmmjax.anova(changed(small), changed(large, gap + 1e-6))
    assert tiny["chisq"].iloc[0] == 0.0 and tiny["p_value"].iloc[0] == 1.0
    assert tiny["status"].iloc[0] == "ok"
    with pytest.warns(FitWarning, match="fits 1 responses worse"):
        bad = lmmjax.anova(changed(small), changed(large, gap + 0.1))
    assert bad["chisq"].iloc[0] == pytest.approx(-0.1, abs=1e-6)
    assert bad["status"].iloc[0] == "failed_fit" and np.isnan(bad["p_value"].iloc[0])


def test_not_converged_unless_asked_for():
    small, large = changed(fitted(ONE)), changed(fitted(TWO), status=Status.NOT_CONVERGED)
    table = lmmjax.anova(small, large)
    assert table["status"].iloc[0] == "failed_fit" and np.isnan(table["p_value"].iloc[0])
    asked = lmmjax.anova(small, large, allow_not_converged=True)
    assert asked["status"].iloc[0] == "ok" and np.isfinite(asked["p_value"].iloc[0])


def test_fit_of_one_response_out_of_many():
    gene = study().expression.index[4]
    table = lmmjax.anova(fitted(ONE)[gene], fitted(TWO)[gene])
    batch = lmmjax.anova(fitted(ONE), fitted(TWO)).loc[gene]
    assert table["Chisq"].iloc[1] == batch["chisq"]
    assert table["p_value"].iloc[1] == batch["p_value"]
    with pytest.warns(RefitWarning):
        again = lmmjax.anova(fitted(ONE, True)[gene], fitted(TWO, True)[gene])
    assert again["Chisq"].iloc[1] == pytest.approx(batch["chisq"], abs=1e-6)


def test_refit_with_dropped_rows_and_weights():
    data = lmmjax.datasets.load_sleepstudy().reset_index(drop=True)
    data["Days"] = data["Days"].astype(float)
    data.loc[[3, 77], "Days"] = np.nan
    data["w"] = np.random.default_rng(8).uniform(0.5, 2.0, len(data))
    fits = {}
    for reml in (True, False):
        with pytest.warns(DroppedRowsWarning):
            fits[reml] = [lmmjax.lmer(f"Reaction ~ {x} + (1 | Subject)", data, reml, weights="w")
                          for x in ("Days", "poly(Days, 2)")]  # fmt: skip
    with pytest.warns(RefitWarning):
        table = lmmjax.anova(*fits[True])
    expected = lmmjax.anova(*fits[False])
    np.testing.assert_allclose(table["deviance"], expected["deviance"], rtol=1e-8)


def test_fits_that_cannot_be_compared():
    data = study()
    Y, samples = data.expression, data.samples
    model = lmmjax.compile(ONE, samples)
    with pytest.raises(AlignmentError, match="different responses"):
        lmmjax.anova(fitted(TWO), comparison.one_response(fitted(ONE), 0))
    with pytest.raises(AlignmentError, match="number 1 is"):
        lmmjax.anova(fitted(TWO), model.fit(Y.iloc[::-1], reml=False))
    with pytest.raises(ShapeError, match="different values"):
        lmmjax.anova(fitted(TWO), model.fit(Y + 1, reml=False))
    with pytest.raises(ShapeError, match="different weights"):
        lmmjax.anova(fitted(TWO), model.fit(Y, reml=False, weights=np.linspace(1, 2, 100)))
    holes = samples.assign(Age=samples["Age"].where(np.arange(100) > 3))
    with pytest.warns(DroppedRowsWarning):
        shorter = lmmjax.compile(ONE, holes).fit(Y, reml=False)
    with pytest.raises(ShapeError, match="100 and 96"):
        lmmjax.anova(fitted(TWO), shorter)


def test_models_that_are_not_nested():
    with pytest.raises(NestingError, match="both have 4 parameters"):
        lmmjax.anova(fitted(ONE), fitted("~ Age + (1|Batch)"))
    with pytest.raises(NestingError, match="Age"):
        lmmjax.anova(fitted("~ Age"), fitted("~ (1|Individual) + (1|Batch)"))


def test_refused_before_anything_is_refitted(sleepstudy, sleepstudy_fit):
    fit = sleepstudy_fit("intercept_reml")
    levels = [str(name) for name in fit.ranef()["Subject"].index]
    kinship = pd.DataFrame(0.5 + 0.5 * np.eye(18), levels, levels)
    same = "Reaction ~ Days + (1 | Subject)"
    known = lmmjax.lmer(same, sleepstudy, sigma=25.0)
    related = lmmjax.lmer(same, sleepstudy, relmat={"Subject": kinship})
    slope = sleepstudy_fit("slope_reml")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(NestingError, match="both have 4 parameters, so neither"):
            lmmjax.anova(fit, fit)
        with pytest.raises(NestingError, match="has sigma=25 and the other estimates sigma"):
            lmmjax.anova(known, slope)
        for other in (fit, slope):
            with pytest.raises(NestingError, match=r"levels of 'Subject' \(relmat\) is not the"):
                lmmjax.anova(other, related)


def test_what_is_not_a_fit():
    with pytest.raises(LmmError, match=r"at least two fits.*drop1\(fit, test='Chisq'\)"):
        lmmjax.anova(fitted(ONE))
    with pytest.raises(LmmError, match="lrtest compares at least two fits"):
        lmmjax.lrtest(fitted(ONE)["gene01"])  # type: ignore[arg-type]
    with pytest.raises(LmmError, match=r"write anova\(\*fits\) for fits in a list"):
        lmmjax.anova([fitted(ONE), fitted(TWO)])  # type: ignore[arg-type]
    with pytest.raises(LmmError, match="not in a list"):
        lmmjax.lrtest([1, 2], [3])  # type: ignore[arg-type]
    with pytest.raises(LmmError, match="type=3 is of the sums of squares of one lm fit"):
        lmmjax.anova(fitted(ONE), fitted(TWO), type=3)
    with pytest.raises(LmmError, match="two FitBatch"):
        lmmjax.anova(fitted(ONE), fitted(TWO), fitted(AGELESS))
    with pytest.raises(LmmError, match="not str"):
        lmmjax.anova("a", "b")  # type: ignore[arg-type]


def test_p_values_are_uniform_where_the_null_holds():
    # many levels, so that asymptotics apply; a mixture's p-values are uniform below 1/2
    rng = np.random.default_rng(9)
    n, groups, count = 300, 60, 800
    samples = pd.DataFrame({
        "g": np.repeat([f"g{k}" for k in range(groups)], n // groups),
        "h": rng.permutation(np.repeat([f"h{k}" for k in range(groups)], n // groups)),
        "x": rng.normal(size=n),
    })  # fmt: skip
    y = rng.normal(size=(n, count)) + np.repeat(rng.normal(size=(groups, count)), 5, axis=0)
    formulas = ("~ (1 | g)", "~ x + (1 | g)", "~ x + (1 | g) + (1 | h)")
    fits = [lmmjax.compile(f, samples).fit(y, reml=False) for f in formulas]
    fixed = lmmjax.anova(fits[0], fits[1])["p_value"]
    assert kstest(fixed, "uniform").pvalue > 0.01
    random = lmmjax.anova(fits[1], fits[2])["p_value"]
    assert abs(np.mean(random == 1.0) - 0.5) < 0.08
    assert abs(np.mean(random < 0.1) - 0.1) < 0.04
    both = lmmjax.anova(fits[0], fits[2])["p_value"]
    assert kstest(both, "uniform").pvalue > 0.001
