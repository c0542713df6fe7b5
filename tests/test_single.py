"""``lmer`` against polished lme4, and its errors."""

from __future__ import annotations

import copy
import inspect
import re

import numpy as np
import pandas as pd
import pytest
import reference

import lmmjax
from lmmjax.errors import (
    AlignmentError,
    DroppedRowsWarning,
    DTypeError,
    FitWarning,
    FormulaError,
    LmmError,
    NonFiniteError,
    RankWarning,
    ResponseError,
    ShapeError,
    WeightError,
)
from lmmjax.status import Status

REFERENCES = reference.reference_fits()
SLOPE = "Reaction ~ Days + (Days | Subject)"


def test_there_are_reference_fits():
    assert len(REFERENCES) >= 60


@pytest.mark.parametrize("ref", REFERENCES, ids=lambda ref: ref.id)
def test_estimates(ref, reference_lmer):
    fit = reference_lmer(ref)
    assert fit.status is Status.CONVERGED and fit.converged
    assert fit.objective == pytest.approx(ref.objective, rel=1e-8)
    assert fit.loglik == pytest.approx(ref.values["loglik"], rel=1e-8)
    assert fit.aic == pytest.approx(ref.values["aic"], rel=1e-8)
    assert fit.bic == pytest.approx(ref.values["bic"], rel=1e-8)
    assert (fit.df, fit.n_obs) == (ref.values["df"], ref.values["n_obs"])
    assert fit.singular is ref.singular
    assert fit.sigma == pytest.approx(ref.sigma, rel=1e-5)
    np.testing.assert_allclose(fit.theta, ref.theta, atol=1e-5, rtol=0)
    # in R the polynomial contrast comes from the column's type, here from the formula
    names = [name.replace("C(temperature, Poly)", "temperature") for name in fit.fixef.index]
    assert names == list(ref.fixef.index)
    size = ref.std_errors.to_numpy()
    np.testing.assert_array_less(np.abs(fit.fixef.to_numpy() - ref.fixef) / size, 1e-5)
    np.testing.assert_allclose(fit.std_errors, ref.std_errors, rtol=1e-5)
    np.testing.assert_allclose(
        fit.vcov / np.outer(size, size), np.array(ref.values["vcov"]) / np.outer(size, size),
        atol=1e-5,
    )  # fmt: skip


@pytest.mark.parametrize("ref", REFERENCES, ids=lambda ref: ref.id)
def test_varcorr(ref, reference_lmer):
    mine, theirs = reference_lmer(ref).varcorr, ref.varcorr
    assert list(mine.columns) == ["group", "name1", "name2", "vcov", "sdcor"]
    # lme4 numbers several terms of one factor: Subject, Subject.1
    plain = theirs["group"].map(lambda group: re.sub(r"\.\d+$", "", group))
    assert mine["group"].tolist() == plain.tolist()
    for name in ("name1", "name2"):
        assert mine[name].fillna("").tolist() == theirs[name].fillna("").tolist()
    np.testing.assert_allclose(mine["vcov"], theirs["vcov"], atol=3e-5 * ref.sigma**2, rtol=3e-5)
    variances = theirs["name2"].isna().to_numpy()
    np.testing.assert_allclose(
        mine["sdcor"][variances], theirs["sdcor"][variances].astype(float),
        atol=2e-5 * ref.sigma, rtol=2e-5,
    )  # fmt: skip
    correlations = theirs["sdcor"][~variances].astype(float)
    np.testing.assert_allclose(mine["sdcor"][~variances], correlations, atol=1e-4)


def test_published_sleepstudy(slope_fit):
    assert round(slope_fit.objective, 4) == 1743.6283
    assert slope_fit.fixef.round(3).to_dict() == {"(Intercept)": 251.405, "Days": 10.467}
    assert slope_fit.std_errors.round(3).to_list() == [6.825, 1.546]
    assert (slope_fit.response, slope_fit.reml) == ("Reaction", True)
    assert slope_fit.formula == SLOPE
    assert "180 observations; converged" in repr(slope_fit)
    assert slope_fit.variance_partition().sum() == pytest.approx(1.0)


def test_views_are_not_writable_handles(slope_fit):
    slope_fit.theta[:] = 0.0
    assert slope_fit.theta[0] > 0


def test_row_of_a_batch_is_the_lmer_fit(sleepstudy, slope_fit):
    other = sleepstudy["Reaction"].sample(frac=1, random_state=1).to_numpy()
    Y = pd.DataFrame({"a": other, "Reaction": sleepstudy["Reaction"], "b": np.nan})
    with pytest.warns(FitWarning, match="1 of 3"):
        fits = lmmjax.compile("~ Days + (Days | Subject)", sleepstudy).fit(Y)
    row = fits["Reaction"]
    assert row.objective == pytest.approx(slope_fit.objective, rel=1e-12)
    np.testing.assert_allclose(row.theta, slope_fit.theta, rtol=1e-9)
    for name in ("fixef", "std_errors", "vcov", "varcorr"):
        mine, theirs = getattr(row, name), getattr(slope_fit, name)
        assert type(mine) is type(theirs)
        if isinstance(mine, pd.Series):
            pd.testing.assert_series_equal(mine, theirs)
        else:
            pd.testing.assert_frame_equal(mine, theirs)
    pd.testing.assert_series_equal(row.fitted(), slope_fit.fitted())
    pd.testing.assert_series_equal(row.residuals(), slope_fit.residuals())
    assert row.response == "Reaction" and row.df == slope_fit.df
    hopeless = fits["b"]
    assert hopeless.status is Status.MISSING and not hopeless.converged
    assert np.isnan(hopeless.sigma) and hopeless.fixef.isna().all() and hopeless.n_obs == 0
    assert hopeless.df == 6


def test_gene_with_missing_values_is_the_lmer_fit_of_its_rows(ragged):
    data = ragged.samples.assign(y=ragged.Y["gene3"])
    with pytest.warns(DroppedRowsWarning):
        alone = lmmjax.lmer("y ~ x + f + offset(o) + (x | g) + (1 | h)", data)
    row = ragged.fits["gene3"]
    assert row.n_obs == alone.n_obs == ragged.Y["gene3"].notna().sum()
    assert row.objective == pytest.approx(alone.objective, rel=1e-10)
    assert row.bic == pytest.approx(alone.bic, rel=1e-10)
    np.testing.assert_allclose(row.theta, alone.theta, atol=1e-6)
    pd.testing.assert_series_equal(row.fixef, alone.fixef, rtol=1e-6)
    for mine, theirs in ((row.ranef(True), alone.ranef(True)),):
        assert "g5" not in mine["g"].index
        for group in ("g", "h"):
            pd.testing.assert_frame_equal(mine[group], theirs[group], rtol=1e-5, atol=1e-6)
    pd.testing.assert_series_equal(row.fitted(), alone.fitted(), rtol=1e-6, check_names=False)
    lines = row.summary().splitlines()
    theirs = alone.summary().splitlines()
    assert lines[2] == "Response: gene3"
    assert lines[3:] == theirs[2:]


# ---- arguments ---------------------------------------------------------------------------


def test_weights_by_column_array_and_series(sleepstudy):
    data = sleepstudy.assign(w=np.linspace(0.5, 2, len(sleepstudy)))
    by_column = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data, weights="w")
    shuffled = data["w"].sample(frac=1, random_state=2)
    for weights in (data["w"].to_numpy(), shuffled, list(data["w"])):
        fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data, weights=weights)
        assert fit.objective == by_column.objective


def test_zero_weights_leave_rows_out(sleepstudy):
    weights = np.ones(len(sleepstudy))
    weights[:12] = 0.0  # all of one subject, and more
    fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", sleepstudy, weights=weights)
    alone = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", sleepstudy.iloc[12:])
    assert fit.n_obs == 168 and len(fit.ranef()["Subject"]) == 17
    assert fit.objective == pytest.approx(alone.objective, rel=1e-12)
    assert fit.fitted().index.equals(sleepstudy.index[12:])


def test_missing_responses_are_dropped(sleepstudy):
    data = sleepstudy.copy()
    data.loc[[3, 99], "Reaction"] = np.nan
    with pytest.warns(DroppedRowsWarning, match="2 of 180"):
        fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data)
    alone = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data.drop(index=[3, 99]))
    assert fit.n_obs == 178 and fit.objective == alone.objective
    with pytest.raises(lmmjax.errors.DesignError, match="'Reaction' \\(2\\)"):
        lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data, na="raise")


def test_dropped_coefficients_are_nan(sleepstudy):
    data = sleepstudy.assign(twice=2.0 * sleepstudy["Days"])
    formula = "Reaction ~ Days + twice + (1 | Subject)"
    with pytest.warns(RankWarning, match="twice"):
        fit = lmmjax.lmer(formula, data)
    assert np.isnan(fit.fixef["twice"]) and np.isnan(fit.std_errors["twice"])
    assert fit.vcov["twice"].isna().all() and fit.df == 4
    with pytest.raises(lmmjax.errors.DesignError):
        lmmjax.lmer(formula, data, rank_deficient="error")


def test_contrasts_and_transformed_response(sleepstudy):
    data = sleepstudy.assign(late=np.where(sleepstudy["Days"] > 4, "yes", "no"))
    fit = lmmjax.lmer(
        "log(Reaction) ~ late + (1 | Subject)", data, reml=False, contrasts={"late": "sum"}
    )
    assert fit.response == "log(Reaction)"
    assert list(fit.fixef.index) == ["(Intercept)", "late1"]


def test_no_random_term_is_least_squares(sleepstudy):
    fit = lmmjax.lmer("Reaction ~ Days", sleepstudy, reml=False)
    x = np.column_stack([np.ones(180), sleepstudy["Days"]])
    beta, rss, *_ = np.linalg.lstsq(x, sleepstudy["Reaction"].to_numpy(), rcond=None)
    n = len(sleepstudy)
    np.testing.assert_allclose(fit.fixef, beta)
    assert fit.sigma == pytest.approx(np.sqrt(rss[0] / n))
    assert fit.loglik == pytest.approx(-n / 2 * (1 + np.log(2 * np.pi * rss[0] / n)))
    assert fit.ranef() == {} and fit.theta.shape == (0,) and not fit.singular
    np.testing.assert_allclose(fit.fitted(), x @ beta)


def test_weight_argument_errors(sleepstudy):
    formula = "Reaction ~ Days + (1 | Subject)"
    with pytest.raises(WeightError, match=r"weight of observation 4 is -1"):
        lmmjax.lmer(formula, sleepstudy, weights=np.where(np.arange(180) == 4, -1.0, 1.0))
    with pytest.raises(WeightError, match="nan"):
        lmmjax.lmer(formula, sleepstudy, weights=np.where(np.arange(180) == 4, np.nan, 1.0))
    with pytest.raises(ShapeError):
        lmmjax.lmer(formula, sleepstudy, weights=np.ones(7))
    with pytest.raises(FormulaError, match="no column 'w'"):
        lmmjax.lmer(formula, sleepstudy, weights="w")


# ---- bad_inputs: what a single fit does --------------------------------------------------


@pytest.mark.parametrize("value", [3.0, 0.0])
def test_constant_y(sleepstudy, value):
    with pytest.raises(ResponseError, match="y: constant_response"):
        lmmjax.lmer("y ~ Days + (1 | Subject)", sleepstudy.assign(y=value))


def test_inf_y(sleepstudy):
    data = sleepstudy.assign(y=sleepstudy["Reaction"].mask(sleepstudy.index == 7, np.inf))
    with pytest.raises(NonFiniteError, match="y is infinite"):
        lmmjax.lmer("y ~ Days + (1 | Subject)", data)


def test_all_nan_y(sleepstudy):
    with pytest.raises(ResponseError, match="missing in every"):
        lmmjax.lmer("y ~ Days + (1 | Subject)", sleepstudy.assign(y=np.nan))


def test_char_y(sleepstudy):
    with pytest.raises(DTypeError, match="'Subject' is not numeric"):
        lmmjax.lmer("Subject ~ Days + (1 | Subject)", sleepstudy.astype({"Subject": str}))


def test_no_response(sleepstudy):
    with pytest.raises(FormulaError, match="no response"):
        lmmjax.lmer("~ Days + (1 | Subject)", sleepstudy)


def test_perfect_fixed_fit(sleepstudy):
    data = sleepstudy.assign(y=3.0 + 2.0 * sleepstudy["Days"])
    with pytest.raises(ResponseError, match="zero_residual"):
        lmmjax.lmer("y ~ Days + (1 | Subject)", data)


def test_boundary_is_not_an_error(sleepstudy):
    data = reference.load_data("Dyestuff2")
    name = next(c for c in data.columns if c.lower() == "yield")
    fit = lmmjax.lmer(f"{name} ~ 1 + (1 | Batch)", data)
    assert fit.singular and fit.converged and fit.theta[0] == 0.0
    assert (fit.ranef()["Batch"] == 0).all(axis=None)


def test_a_start_leads_to_the_same_optimum() -> None:
    data = lmmjax.datasets.load_sleepstudy()
    formula = "Reaction ~ Days + (Days | Subject)"
    automatic = lmmjax.lmer(formula, data)
    given = lmmjax.lmer(formula, data, start=[1.0, 0.0, 1.0])
    assert given.objective == pytest.approx(automatic.objective, rel=1e-12)
    at_optimum = lmmjax.lmer(formula, data, start=automatic.theta)
    assert at_optimum.fits.n_iter.iloc[0] <= 1
    np.testing.assert_allclose(at_optimum.theta, automatic.theta, rtol=1e-6)


@pytest.mark.parametrize(
    ("start", "message"),
    [([1.0], "start has shape .1,.; theta has 3 entries: Subject"), ([1, np.nan, 1], "not finite")],
)
def test_bad_starts(start: list, message: str) -> None:
    with pytest.raises(lmmjax.errors.LmmError, match=message):
        lmmjax.lmer("Reaction ~ Days + (Days | Subject)", lmmjax.datasets.load_sleepstudy(),
                    start=start)  # fmt: skip


# ---- arguments that are not what they seem -------------------------------------------------

FORMULA = "Reaction ~ Days + (1 | Subject)"


def test_refit_aligns_a_series_by_label(slope_fit, sleepstudy):
    shuffled = sleepstudy["Reaction"].sample(frac=1, random_state=0)
    assert slope_fit.refit(shuffled).objective == pytest.approx(slope_fit.objective, rel=1e-12)
    with pytest.raises(AlignmentError, match="500, 501"):
        slope_fit.refit(shuffled.set_axis(range(500, 680)))
    drawn = slope_fit.simulate(1)["sim_1"]
    assert slope_fit.refit(drawn).response == "sim_1"
    assert slope_fit.refit(drawn.to_numpy()).response == "Reaction"


def test_refit_of_a_batch_takes_all_samples_or_those_used(ragged):
    fit = ragged.fits["gene0"]
    assert fit.refit(ragged.Y["gene0"]).objective == pytest.approx(fit.objective, rel=1e-12)


def test_refit_where_the_model_drops_rows(sleepstudy):
    samples = sleepstudy.drop(columns="Reaction")
    samples.loc[5, "Days"] = np.nan
    with pytest.warns(DroppedRowsWarning):
        model = lmmjax.compile("~ Days + (1 | Subject)", samples)
    fit = model.fit(sleepstudy[["Reaction"]])["Reaction"]
    for y in (sleepstudy["Reaction"], sleepstudy["Reaction"].drop(index=5)):
        assert fit.refit(y).objective == pytest.approx(fit.objective, rel=1e-12)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ("a", DTypeError, "y is the values of a response.*not 'a'"),
        (["a"] * 180, DTypeError, "not real numbers"),
        ([1.0, 2.0], ShapeError, "y has 2 values, the design 180"),
        (np.ones((180, 3)), ShapeError, "fit.model.fit takes several"),
    ],
)
def test_refit_refuses(slope_fit, y, error, message):
    with pytest.raises(error, match=message):
        slope_fit.refit(y)


@pytest.mark.parametrize("reml", ["ML", "false", None])
def test_reml_is_true_or_false(sleepstudy, slope_fit, reml):
    with pytest.raises(LmmError, match=r"reml is True.*or False"):
        lmmjax.lmer(FORMULA, sleepstudy, reml=reml)
    if reml is not None:
        with pytest.raises(LmmError, match=r"reml is True.*or False"):
            slope_fit.refit(reml=reml)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"REML": False}, "no argument 'REML'; use reml"),
        ({"start": "a"}, "start is theta, an array of numbers"),
        ({"start": {"fixef": [1.0]}}, "start holds 'fixef'"),
        ({"contrasts": "sum"}, "contrasts='sum': give a mapping"),
        ({"contrasts": {"Days": "sum"}}, r"'Days', which is numeric.*write C\(Days\)"),
        ({"weights": np.zeros(180)}, "all weights are zero"),
        ({"offset": "nowhere"}, "no column 'nowhere' to take the offset from"),
        ({"offset": [1.0, 2.0]}, "the offset has 2 rows"),
    ],
)
def test_arguments_are_refused(sleepstudy, arguments, message):
    with pytest.raises(LmmError, match=message):
        lmmjax.lmer(FORMULA, sleepstudy, **arguments)


def test_arguments_python_would_refuse(sleepstudy):
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        lmmjax.lmer(FORMULA, sleepstudy, colour=1)
    for first, second in ((sleepstudy, FORMULA), (None, sleepstudy)):
        with pytest.raises(FormulaError, match="the formula comes first"):
            lmmjax.lmer(first, second)


def test_start_as_lme4_gives_it(sleepstudy):
    fit = lmmjax.lmer(FORMULA, sleepstudy, start={"theta": [1.0]})
    assert fit.objective == pytest.approx(1786.4650, abs=1e-3)


def test_offset_as_an_argument(sleepstudy):
    data = sleepstudy.assign(o=np.sin(np.arange(180.0)))
    in_formula = lmmjax.lmer(FORMULA + " + offset(o)", data)
    shuffled = data["o"].sample(frac=1, random_state=1)
    for offset in ("o", data["o"].to_numpy(), shuffled):
        fit = lmmjax.lmer(FORMULA, data, offset=offset)
        assert fit.objective == in_formula.objective
        pd.testing.assert_series_equal(fit.fitted(), in_formula.fitted())
    new = {"Days": 1.0, "Subject": "308"}
    with pytest.raises(FormulaError, match="offset"):
        fit.predict(new)
    expected = in_formula.predict({**new, "o": 2.0})
    np.testing.assert_allclose(fit.predict({**new, "(offset)": 2.0}), expected)


# ---- names and identity --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "here"),
    [("VarCorr", "fit.varcorr"), ("logLik", "fit.loglik"), ("tvalues", "fit.fixef / fit.std_err"),
     ("conf_int", "fit.confint"), ("bootMer", "fit.bootstrap"), ("isSingular", "fit.singular")],
)  # fmt: skip
def test_names_of_other_packages_are_pointed_on(slope_fit, name, here):
    with pytest.raises(AttributeError, match=f"no attribute '{name}'; use {here}"):
        getattr(slope_fit, name)


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [("ranef", {"condVar": True}, "ranef has no argument 'condVar'; use cond_var"),
     ("simulate", {"nsim": 2}, "simulate has no argument 'nsim'; use n"),
     ("bootstrap", {"nsim": 2}, "bootstrap has no argument 'nsim'; use n"),
     ("predict", {"allow_new_levels": True}, "use new_levels='population'"),
     ("predict", {"data": None}, "use newdata"),
     ("confint", {"parm": "sigma"}, "confint has no argument 'parm'; use parameters"),
     ("profile", {"alphamax": 0.01}, "use reach, which is 1 - alphamax"),
     ("refit", {"REML": False}, "refit has no argument 'REML'; use reml")],
)  # fmt: skip
def test_arguments_of_lme4_are_pointed_on(slope_fit, method, arguments, message):
    with pytest.raises(LmmError, match=message):
        getattr(slope_fit, method)(**arguments)


def test_unknown_arguments_of_methods(slope_fit):
    with pytest.raises(TypeError, match=r"ranef\(\) got an unexpected keyword argument 'colour'"):
        slope_fit.ranef(colour=1)
    assert "Conditional modes" in slope_fit.ranef.__doc__
    assert list(inspect.signature(slope_fit.simulate).parameters)[:2] == ["n", "seed"]


def test_every_name_pointed_to_exists(slope_fit):
    from lmmjax.lmm_fit_names import ELSEWHERE

    for here in ELSEWHERE.values():
        names = re.findall(r"fit\.(\w+)", here)
        assert all(name in dir(slope_fit) for name in names), here
        assert all(hasattr(lmmjax, name) for name in re.findall(r"lmmjax\.(\w+)", here))


def test_other_missing_names_and_protocols(slope_fit):
    with pytest.raises(AttributeError, match=r"an LmmFit has no attribute 'colour'$"):
        _ = slope_fit.colour
    assert not hasattr(slope_fit, "__array__") and not hasattr(slope_fit, "_aic")
    assert copy.copy(slope_fit).sigma == copy.deepcopy(slope_fit).sigma == slope_fit.sigma


def test_fits_compare_by_identity(slope_fit):
    again = lmmjax.LmmFit(slope_fit.fits, slope_fit.index)
    assert slope_fit == slope_fit and slope_fit != again
    assert len({slope_fit, again}) == 2


def test_deviance_residual_df_and_weights(slope_fit, sleepstudy, reference_lmer):
    assert slope_fit.df_resid == 174 and slope_fit.weights is None
    with pytest.raises(LmmError, match=r"this one is by REML.*fit\.objective"):
        _ = slope_fit.deviance
    fit = reference_lmer(reference.reference_fit("sleepstudy", "slope_ml"))
    assert fit.deviance == fit.objective == pytest.approx(1751.9393, abs=1e-4)
    w = np.linspace(0.5, 2, 180)
    weighted = lmmjax.lmer(FORMULA, sleepstudy.assign(w=w), weights="w")
    np.testing.assert_array_equal(weighted.weights, w)
    assert weighted.summary().splitlines()[2] == "Weights: w"
    unnamed = lmmjax.lmer(FORMULA, sleepstudy, weights=w)
    assert unnamed.summary().splitlines()[2] == "Weights: given by observation"
    assert "Weights" not in slope_fit.summary()
