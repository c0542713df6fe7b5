"""Predictions and simulated responses."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import reference

import lmmjax
from lmmjax.errors import (
    DroppedRowsWarning,
    FormulaError,
    LmmError,
    LmmWarning,
    UnseenLevelError,
)

SLOPE = "Reaction ~ Days + (Days | Subject)"


def test_at_the_observations(slope_fit, sleepstudy):
    pd.testing.assert_series_equal(slope_fit.predict(), slope_fit.fitted())
    pd.testing.assert_series_equal(slope_fit.predict(sleepstudy), slope_fit.fitted())
    population = slope_fit.predict(re_form="none")
    expected = slope_fit.fixef["(Intercept)"] + slope_fit.fixef["Days"] * sleepstudy["Days"]
    np.testing.assert_allclose(population, expected)
    pd.testing.assert_series_equal(slope_fit.predict(sleepstudy, "~0"), population)


def test_new_rows_combine_fixed_and_random_effects(slope_fit):
    new = pd.DataFrame({"Days": [0.0, 12.0], "Subject": ["309", "308"]}, index=["a", "b"])
    predicted = slope_fit.predict(new)
    b = slope_fit.ranef()["Subject"]
    expected = [
        slope_fit.fixef.iloc[0] + b.loc["309", "(Intercept)"],
        slope_fit.fixef.iloc[0] + b.loc["308", "(Intercept)"]
        + 12 * (slope_fit.fixef["Days"] + b.loc["308", "Days"]),
    ]  # fmt: skip
    np.testing.assert_allclose(predicted, expected)
    assert list(predicted.index) == ["a", "b"] and predicted.name == "Reaction"


def test_unseen_levels(slope_fit):
    new = {"Days": [3.0, 3.0], "Subject": ["308", "nobody"]}
    with pytest.raises(UnseenLevelError, match="'nobody'"):
        slope_fit.predict(new)
    population = slope_fit.predict({"Days": [3.0]}, re_form="none").iloc[0]
    assert slope_fit.predict(new, new_levels="population").iloc[1] == pytest.approx(population)
    missing = slope_fit.predict(new, new_levels="missing")
    assert missing.isna().tolist() == [False, True]
    with pytest.raises(LmmError, match="new_levels"):
        slope_fit.predict(new, new_levels="allow")


def test_missing_covariates_give_missing_predictions(slope_fit):
    new = {"Days": [np.nan, 1.0, 1.0], "Subject": ["308", None, "308"]}
    for levels in ("error", "population", "missing"):
        assert slope_fit.predict(new, new_levels=levels).isna().tolist() == [True, True, False]


def test_subsets_of_the_random_effects(reference_lmer):
    ref = reference.reference_fit("Penicillin", "crossed_reml")
    fit = reference_lmer(ref)
    only = fit.predict({"plate": ["a", "b"]}, "~ (1 | plate)")
    expected = fit.fixef.iloc[0] + fit.ranef()["plate"].loc[["a", "b"], "(Intercept)"]
    np.testing.assert_allclose(only, expected)
    np.testing.assert_allclose(fit.predict(re_form="~ (1 | plate) + (1 | sample)"), fit.fitted())
    at_rows = fit.predict(re_form="~ (1 | plate)")
    np.testing.assert_allclose(at_rows, fit.predict(ref.data, "~ (1 | plate)"))
    with pytest.raises(FormulaError, match=r"\(1 \| batch\).*not in the model"):
        fit.predict(re_form="~ (1 | batch)")
    with pytest.raises(FormulaError, match="random-effects terms only"):
        fit.predict(re_form="~ x + (1 | plate)")
    with pytest.raises(FormulaError, match="re_form"):
        fit.predict(re_form=0)


def test_offset_and_weights(reference_lmer):
    ref = reference.reference_fit("sleepstudy", "intercept_weighted_offset_reml")
    fit = reference_lmer(ref)
    np.testing.assert_allclose(fit.predict(ref.data), fit.fitted())
    np.testing.assert_allclose(
        fit.predict(ref.data.assign(shift=0.0)), fit.fitted() - ref.data["shift"]
    )


def test_level_without_observations_of_this_response(ragged):
    row = ragged.fits["gene3"]
    new = ragged.samples[ragged.samples["g"] == "g5"]
    with pytest.raises(UnseenLevelError, match=r"'g'.*'gene3': 'g5'"):
        row.predict(new)
    population = row.predict(new, new_levels="population")
    np.testing.assert_allclose(population, row.predict(new, "~ (1 | h)"))
    assert row.predict(new, new_levels="missing").isna().all()
    assert ragged.fits["gene0"].predict(new).notna().all()
    with pytest.raises(UnseenLevelError, match=r"new level.*'g99'"):
        row.predict(new.assign(g="g99"))


def test_coefficient_that_a_response_does_not_determine():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({
        "t": np.repeat(["a", "b", "c"], 12), "g": np.tile(list("uvwx"), 9),
        "full": rng.normal(size=36), "part": rng.normal(size=36),
    })  # fmt: skip
    data.loc[data["t"] == "c", "part"] = np.nan
    fits = lmmjax.compile("~ t + (1 | g)", data).fit(data[["full", "part"]])
    fit = fits["part"]
    assert fit.fixef.isna().tolist() == [False, False, True] and fit.df == 4
    predicted = fit.predict({"t": ["a", "b", "c"], "g": ["u", "u", "u"]})
    assert predicted.isna().tolist() == [False, False, True]
    with pytest.warns(DroppedRowsWarning):
        alone = lmmjax.lmer("part ~ t + (1 | g)", data)
    np.testing.assert_allclose(predicted[:2], alone.predict({"t": ["a", "b"], "g": ["u", "u"]}))
    assert fits["full"].predict({"t": ["c"], "g": ["u"]}).notna().all()


def test_hopeless_response_predicts_nothing(ragged):
    assert ragged.fits["gene1"].predict(ragged.samples, "none").isna().all()
    assert ragged.fits["gene2"].predict().empty
    assert ragged.fits["gene1"].simulate(2).isna().all(axis=None)


# ---- simulate ----------------------------------------------------------------------------


def test_simulated_responses_have_the_model_distribution(slope_fit, sleepstudy):
    draws = slope_fit.simulate(4000, seed=7)
    assert draws.shape == (180, 4000) and draws.index.equals(sleepstudy.index)
    one = draws.iloc[:10].to_numpy()  # one subject
    days = np.column_stack([np.ones(10), np.arange(10.0)])
    mean = days @ slope_fit.fixef.to_numpy()
    components = slope_fit.varcorr["vcov"]
    sigma_b = np.array([[components[0], components[2]], [components[2], components[1]]])
    covariance = days @ sigma_b @ days.T + slope_fit.sigma**2 * np.eye(10)
    standard_error = np.sqrt(np.diag(covariance) / 4000)
    assert np.all(np.abs(one.mean(axis=1) - mean) < 5 * standard_error)
    np.testing.assert_allclose(np.cov(one), covariance, atol=0.1 * covariance.max())
    other = draws.iloc[10:20].to_numpy()
    assert abs(np.corrcoef(one[0], other[0])[0, 1]) < 0.08


def test_simulations_can_be_fitted_again(slope_fit):
    draws = slope_fit.simulate(20, seed=1)
    pd.testing.assert_frame_equal(draws, slope_fit.simulate(20, seed=1))
    assert not draws.equals(slope_fit.simulate(20, seed=2))
    fits = slope_fit.model.fit(draws)
    assert fits.converged.all()
    assert fits.sigma.mean() == pytest.approx(slope_fit.sigma, rel=0.1)


def test_simulated_noise_follows_the_weights(sleepstudy):
    w = np.where(np.arange(180) % 2, 4.0, 1.0)
    fit = lmmjax.lmer("Reaction ~ Days", sleepstudy, weights=w)
    sd = fit.simulate(4000, seed=3).std(axis=1).to_numpy()
    np.testing.assert_allclose(sd, fit.sigma / np.sqrt(w), rtol=0.08)


def test_simulating_where_rows_are_not_used(ragged):
    row = ragged.weighted["gene7"]
    draws = row.simulate(3)
    used = ragged.Y["gene7"].notna() & (ragged.weights["gene7"] > 0)
    assert draws.notna().all(axis=1).equals(used)


@pytest.mark.parametrize("n", [-1, 2.5, True, "3"])
def test_simulate_refuses(slope_fit, n):
    with pytest.raises(LmmError, match="number of responses"):
        slope_fit.simulate(n)


def test_simulate_none(slope_fit):
    assert slope_fit.simulate(0).shape == (180, 0)


def test_simulated_random_effects_can_be_kept(slope_fit):
    kept = slope_fit.simulate(400, seed=2, use_u=True)
    pd.testing.assert_frame_equal(kept, slope_fit.simulate(400, seed=2, re_form=None))
    pd.testing.assert_frame_equal(
        kept, slope_fit.simulate(400, seed=2, re_form="~ (Days | Subject)")
    )
    error = (kept.mean(axis=1) - slope_fit.fitted()) / (slope_fit.sigma / 20)
    assert error.abs().max() < 5
    assert kept.std(axis=1).mean() == pytest.approx(slope_fit.sigma, rel=0.02)
    with pytest.raises(FormulaError, match="name the whole term"):
        slope_fit.simulate(1, re_form="~ (1 | Subject)")


def test_some_terms_kept_the_others_drawn(reference_lmer):
    fit = reference_lmer(reference.reference_fit("Penicillin", "crossed_reml"))
    draws = fit.simulate(2000, seed=4, re_form="~ (1 | sample)")
    mean = fit.predict(re_form="~ (1 | sample)")
    sd = fit.varcorr.set_index("group")["sdcor"]
    expected = np.hypot(sd["plate"], fit.sigma)
    assert draws.std(axis=1).mean() == pytest.approx(expected, rel=0.03)
    assert ((draws.mean(axis=1) - mean) / (expected / np.sqrt(2000))).abs().max() < 5


@pytest.mark.parametrize("seed", ["a", -1, 1.5, True])
def test_seeds_are_whole_numbers(slope_fit, seed):
    with pytest.raises(LmmError, match="give an integer, 0 or more"):
        slope_fit.simulate(1, seed=seed)
    with pytest.raises(LmmError, match="give an integer, 0 or more"):
        slope_fit.bootstrap(2, seed=seed)


# ---- parts of a term -----------------------------------------------------------------------

NEW = {"Days": [4.0, 20.0], "Subject": ["308", "309"]}


def test_some_effects_of_a_term(slope_fit):
    # values of lme4
    np.testing.assert_allclose(
        slope_fit.predict(NEW, "~ (1 | Subject)"), [295.5328, 420.3521], atol=2e-3
    )
    slopes = slope_fit.predict(NEW, "~(0+Days|Subject)")
    np.testing.assert_allclose(slopes, [330.0702, 288.3572], atol=2e-3)
    for both in ("~ (1 | Subject) + (0 + Days | Subject)", "~ (Days || Subject)"):
        mine = slope_fit.predict(NEW, both, se_fit=True)
        pd.testing.assert_frame_equal(mine, slope_fit.predict(NEW, se_fit=True), rtol=1e-12)
    at_rows = slope_fit.predict(re_form="~ (0 + Days | Subject)")
    data = slope_fit.model.design.spec.table
    np.testing.assert_allclose(at_rows, slope_fit.predict(data, "~ (0 + Days | Subject)"))
    for text in ("~ (Reaction | Subject)", "~ (I(Days) | Subject)", "~ (1 | Days)"):
        with pytest.raises(FormulaError, match="not in the model"):
            slope_fit.predict(NEW, text)


def test_a_part_of_a_term_reads_its_own_columns_only(ragged):
    row, new = ragged.fits["gene0"], ragged.samples.iloc[:3]
    parts = row.predict(new, "~ (1 | g)") - row.predict(new, "none")
    b = row.ranef()["g"].loc[new["g"], "(Intercept)"]
    np.testing.assert_allclose(parts, b, rtol=1e-9)


def test_spellings_of_all_and_none(slope_fit):
    everything, nothing = slope_fit.predict(NEW), slope_fit.predict(NEW, "none")
    pd.testing.assert_series_equal(slope_fit.predict(NEW, "all"), everything)
    for none in (np.nan, False, "~0", "~ 0", "NA"):
        pd.testing.assert_series_equal(slope_fit.predict(NEW, none), nothing)


def test_rows_that_are_all_incomplete(slope_fit):
    for new in ({"Days": [np.nan], "Subject": ["308"]}, {"Days": [1.0], "Subject": [None]}):
        assert slope_fit.predict(new).isna().tolist() == [True]
        table = slope_fit.predict(new, se_fit=True, interval="prediction")
        assert table.isna().all(axis=None) and len(table) == 1


def test_single_values_stand_for_all_rows(slope_fit):
    one = slope_fit.predict({"Days": 1.0, "Subject": "308"})
    several = slope_fit.predict({"Days": [1.0, 2.0], "Subject": "308"})
    assert len(one) == 1 and len(several) == 2 and one[0] == several[0]


def test_weights_of_new_observations(sleepstudy):
    w = np.linspace(0.5, 2, 180)
    fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", sleepstudy, weights=w)

    def residual(table: pd.DataFrame, new: pd.DataFrame | dict | None = None) -> np.ndarray:
        half = (table["upper"] - table["lower"]).to_numpy() / (2 * 1.959963984540054)
        return half**2 - fit.predict(new, se_fit=True)["se_fit"].to_numpy() ** 2

    with pytest.warns(LmmWarning, match="taken to have weight 1"):
        plain = fit.predict(NEW, interval="prediction")
    np.testing.assert_allclose(residual(plain, NEW), fit.sigma**2)
    for new, weights in ((NEW, [4.0, 1.0]), ({**NEW, "w": [4.0, 1.0]}, "w")):
        given = fit.predict(new, interval="prediction", weights=weights)
        np.testing.assert_allclose(residual(given, NEW), fit.sigma**2 / np.array([4.0, 1.0]))
    with pytest.warns(LmmWarning, match="the weights of the fit are taken"):
        own = fit.predict(interval="prediction")
    np.testing.assert_allclose(residual(own), fit.sigma**2 / w)
    with pytest.raises(LmmError, match="interval='prediction' only"):
        fit.predict(NEW, weights=[1.0, 1.0])
