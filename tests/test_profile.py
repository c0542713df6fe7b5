"""Profile, Wald and bootstrap intervals against lme4, and profiles against their definition."""

from __future__ import annotations

import json
from pathlib import Path

import cases
import numpy as np
import pandas as pd
import pytest
import reference
from scipy.optimize import minimize

import lmmjax
from lmmjax.errors import DroppedRowsWarning, LmmError

INTERVALS = json.loads((Path(__file__).parent / "data/profiles/intervals.json").read_text())
FITS = INTERVALS["fits"]


@pytest.fixture(scope="module", params=FITS, ids=lambda r: f"{r['dataset']}-{r['formula']}")
def pair(request: pytest.FixtureRequest):
    """lme4's intervals and our REML fit of the same model (profiles refit by ML)."""
    expected = request.param
    data = reference.load_data(expected["dataset"])
    return expected, lmmjax.lmer(expected["formula"], data)


def test_profile_intervals_are_lme4s(pair) -> None:
    expected, fit = pair
    profile = fit.profile()
    for level, key in ((0.95, "profile95"), (0.5, "profile50")):
        ours, theirs = profile.confint(level), expected[key]
        assert set(ours.index) == set(theirs["names"])
        ours = ours.loc[theirs["names"]].to_numpy()
        bounds = np.array([theirs["lower"], theirs["upper"]], dtype=float).T
        # lme4 interpolates between its steps, and leaves a bound at zero undefined
        bounds[np.isnan(bounds)] = 0.0
        scale = np.abs(bounds).max(axis=1, keepdims=True)
        np.testing.assert_allclose(ours / scale, bounds / scale, atol=1e-6)


def test_wald_intervals_are_lme4s(pair) -> None:
    expected, fit = pair
    fit = fit.refit(reml=False)
    theirs = expected["wald95"]
    ours = fit.confint("wald").loc[theirs["names"]]
    np.testing.assert_allclose(ours.iloc[:, 0], np.array(theirs["lower"], float), rtol=1e-6)
    np.testing.assert_allclose(ours.iloc[:, 1], np.array(theirs["upper"], float), rtol=1e-6)


def test_zeta_is_the_signed_root_of_the_rise() -> None:
    """One value of one parameter, by a dense likelihood and another optimiser."""
    data = reference.load_data("Dyestuff")
    fit = lmmjax.lmer("Yield ~ 1 + (1 | Batch)", data, reml=False)
    curves = fit.profile(["sd_(Intercept)|Batch"]).curves
    row = curves.iloc[len(curves) - 2]
    y = data["Yield"].to_numpy(float)
    z = pd.get_dummies(data["Batch"]).to_numpy(float)
    x = np.ones((len(y), 1))

    def minus_two_loglik(log_sigma: float) -> float:
        sigma = np.exp(log_sigma)
        v = sigma**2 * np.eye(len(y)) + row["value"] ** 2 * z @ z.T
        inverse = np.linalg.inv(v)
        beta = np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)
        rest = y - x @ beta
        return len(y) * np.log(2 * np.pi) + np.linalg.slogdet(v)[1] + rest @ inverse @ rest

    best = minimize(lambda s: minus_two_loglik(s[0]), [np.log(fit.sigma)], method="BFGS").fun
    assert row["zeta"] == pytest.approx(np.sqrt(best - fit.objective), abs=1e-6)
    assert curves["zeta"].is_monotonic_increasing


def test_profiles_of_incomplete_and_weighted_responses() -> None:
    """fits[g] with missing values is profiled as the model of what it has."""
    model, y = cases.model("crossed"), cases.responses(3).copy()
    y[[1, 7, 20], 1] = np.nan
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    some = model.fit(y, weights=weights)[1]
    data = cases.samples().assign(y=y[:, 1])
    with pytest.warns(DroppedRowsWarning):
        alone = lmmjax.lmer("y ~ x + (1|g) + (1|h)", data, weights=weights)
    names = ["sigma", "x", "sd_(Intercept)|g"]
    np.testing.assert_allclose(
        some.confint(parameters=names), alone.confint(parameters=names), rtol=1e-6, atol=1e-9
    )


def test_bootstrap_recovers_the_spread_of_the_estimates() -> None:
    data = lmmjax.datasets.load_sleepstudy()
    fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)", data)
    replicates = fit.bootstrap(2000, seed=3)
    assert (replicates.fits.status == "converged").all()
    estimates = replicates.estimates
    assert estimates.shape == (2000, 6)
    # balanced: the coefficients' sampling distribution is normal with the fit's own vcov
    np.testing.assert_allclose(estimates["Days"].std(), fit.std_errors["Days"], rtol=0.06)
    np.testing.assert_allclose(estimates["Days"].mean(), fit.fixef["Days"], atol=0.15)
    np.testing.assert_allclose(estimates["sigma"].mean(), fit.sigma, rtol=0.02)
    again = fit.bootstrap(2000, seed=3).estimates
    pd.testing.assert_frame_equal(again, estimates)
    for kind in ("percentile", "basic", "normal"):
        bounds = replicates.confint(kind=kind)
        assert (bounds.iloc[:, 0] < bounds.iloc[:, 1]).all()
        np.testing.assert_allclose(bounds.loc["Days"], [7.44, 13.50], atol=0.4)


def test_bootstrap_quantiles_are_those_of_the_boot_package() -> None:
    """boot::boot.ci(type = "perc") of 1:99 squared at 90%: ranks 5 and 95 of 100."""
    from lmmjax.inference.bootstrap import _quantile

    values = np.arange(1.0, 100.0) ** 2
    assert _quantile(values, 0.05) == 25.0
    assert _quantile(values, 0.95) == 95.0**2
    assert 25.0 < _quantile(values, 0.055) < 36.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "exact"}, "method is 'profile', 'wald' or 'boot'"),
        ({"level": 95}, "confidence level between 0 and 1"),
        ({"parameters": ["sd_Days|Subjekt"]}, r"no parameter 'sd_Days\|Subjekt'; there are"),
        ({"method": "boot", "n": 0}, "number of replicates"),
    ],
)
def test_bad_requests(arguments: dict, message: str) -> None:
    fit = cases.model("crossed").fit(cases.responses(1))[0]
    with pytest.raises(LmmError, match=message):
        fit.confint(**arguments)


# ---- names of methods and parameters -------------------------------------------------------


def test_methods_in_any_case_and_length(slope_fit) -> None:
    wald = slope_fit.confint("wald")
    pd.testing.assert_frame_equal(slope_fit.confint("Wald"), wald)
    boot = slope_fit.confint("boot", n=20)
    pd.testing.assert_frame_equal(slope_fit.confint("Bootstrap", n=20), boot)
    for method in ("walt", 3, None):
        with pytest.raises(LmmError, match="method is 'profile', 'wald' or 'boot'"):
            slope_fit.confint(method)


def test_parameters_by_one_name_or_lme4s(slope_fit) -> None:
    assert slope_fit.confint("wald", parameters="Days").index.tolist() == ["Days"]
    short = slope_fit.confint("wald", parameters=[".sig01", ".sig03", ".sigma", "sigma"])
    expected = ["sd_(Intercept)|Subject", "sd_Days|Subject", "sigma"]
    assert short.index.tolist() == expected
    assert set(slope_fit.profile("Days").curves["parameter"]) == {"Days"}
    for given in (1, [1]):
        with pytest.raises(LmmError, match="give names; there are sd_"):
            slope_fit.confint("wald", parameters=given)
        with pytest.raises(LmmError, match="give names; there are sd_"):
            slope_fit.profile(given)
    with pytest.raises(LmmError, match=r"no parameter '\.sig04'"):
        slope_fit.confint("wald", parameters=".sig04")


def test_bootstrap_with_the_random_effects_kept(slope_fit) -> None:
    kept = slope_fit.bootstrap(200, seed=3, use_u=True).estimates
    drawn = slope_fit.bootstrap(200, seed=3).estimates
    # the intercept then varies with the residuals only
    assert kept["(Intercept)"].std() < 0.7 * drawn["(Intercept)"].std()


def test_one_replicate_gives_no_interval(slope_fit) -> None:
    with pytest.raises(LmmError, match=r"from 1 replicate; at level 0\.95.*from 39 on"):
        slope_fit.bootstrap(1).confint()
