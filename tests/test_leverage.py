"""Hat values, Cook's distances and deletions: against lme4, dense formulas and refits."""

from __future__ import annotations

import cases
import dense
import numpy as np
import pandas as pd
import pytest
from diagnostic_reference import NAMES, WITH_DELETIONS, assert_close, diagnosed

import lmmjax
from lmmjax.diagnostics import cooks_distance, getme, hatvalues, influence
from lmmjax.errors import DesignError, FormulaError, ResponseError

USABLE = [f"gene{k}" for k in (0, 3, 5, 7, 8, 9, 10, 11)]  # gene4 is 1e8 + 1e-3 y


def dense_parts(fit):
    """X, V / sigma^2 and y of the observations a fit uses, offset taken off."""
    design, seen = fit.model.design, fit._seen
    z, lam = dense.random_effects(design, fit.theta)
    z = z[seen]
    weights = np.ones(seen.sum())
    if fit.fits.weights is not None:
        weights = fit.fits.weights[seen, fit.index]
    v = np.diag(1 / weights) + z @ lam @ lam.T @ z.T
    return design.X[seen], v, fit.fits.values[seen, fit.index], weights


def dense_hat(fit):
    x, v, _, weights = dense_parts(fit)
    inverse = np.linalg.inv(v)
    p = inverse - inverse @ x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
    return np.eye(len(v)) - np.diag(1 / weights) @ p


def gls(x, v, y):
    inverse = np.linalg.inv(v)
    return np.linalg.solve(x.T @ inverse @ x, x.T @ inverse @ y)


def dense_dfbeta(fit, groups):
    x, v, y, _ = dense_parts(fit)
    full, out = gls(x, v, y), []
    for rows in groups:
        kept = np.setdiff1d(np.arange(len(y)), rows)
        out.append(gls(x[kept], v[np.ix_(kept, kept)], y[kept]) - full)
    return np.array(out)


# ---- lme4 --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_hatvalues_and_cooks_distance_as_lme4(name):
    d = diagnosed(name)
    assert_close(hatvalues(d.fit), d.values["hatvalues"], 1e-9)
    assert_close(cooks_distance(d.fit), d.values["cooks_distance"], 1e-7)


@pytest.mark.parametrize("name", WITH_DELETIONS)
def test_theta_held_against_least_squares_in_r(name):
    d = diagnosed(name)
    theirs = d.values["deletions"]
    assert_close(influence(d.fit).dfbeta, theirs["held_observation"], 1e-8)
    levels = influence(d.fit, theirs["group"]).dfbeta.loc[theirs["levels"]]
    assert_close(levels, theirs["held_level"], 1e-8)


@pytest.mark.parametrize("name", WITH_DELETIONS)
def test_refits_against_polished_lme4(name):
    d = diagnosed(name)
    theirs = d.values["deletions"]
    mine = influence(d.fit, theirs["group"], refit=True)
    assert_close(mine.dfbeta.loc[theirs["levels"]], theirs["refit_level"], 1e-7)
    refits = mine.refits.loc[theirs["levels"]]
    assert (refits["status"] == "converged").all()
    assert_close(refits["sigma"], theirs["refit_sigma"], 1e-7)
    assert_close(refits[list(d.fit.model.theta_names)], theirs["refit_theta"], 1e-6)
    # lme4's influence() stops each refit early
    assert_close(mine.dfbeta.loc[theirs["lme4_levels"]], theirs["lme4_level"], 1e-4)


# ---- definitions -------------------------------------------------------------------------


@pytest.mark.parametrize("structure", sorted(cases.FORMULAS))
def test_hat_matrix_by_the_dense_formula(structure):
    fits = cases.model(structure).fit(cases.responses()[:, :3])
    for response in fits.responses:
        fit = fits[response]
        hat = dense_hat(fit)
        np.testing.assert_allclose(hatvalues(fit), np.diag(hat), atol=1e-10)
        np.testing.assert_allclose(hat @ fit.fits.values[:, fit.index], fit.fitted(), atol=1e-8)


@pytest.mark.parametrize("which", ["fits", "weighted"])
@pytest.mark.parametrize("gene", USABLE)
def test_missing_values_weights_and_offset(ragged, which, gene):
    fit = getattr(ragged, which)[gene]
    h = hatvalues(fit)
    assert h.index.equals(fit.fitted().index)
    np.testing.assert_allclose(h, np.diag(dense_hat(fit)), atol=1e-9)
    single = influence(fit)
    assert single.dfbeta.index.equals(h.index)
    expected = dense_dfbeta(fit, np.arange(fit.n_obs))
    assert_close(single.dfbeta, expected, 1e-8)
    for term in fit.model.design.terms:
        present, codes = np.unique(term.codes[fit._seen], return_inverse=True)
        levels = influence(fit, term.group)
        assert levels.dfbeta.index.tolist() == [term.levels[k] for k in present]
        rows = [np.flatnonzero(codes == k) for k in range(len(present))]
        assert_close(levels.dfbeta, dense_dfbeta(fit, rows), 1e-8)
        inverse = np.linalg.inv(fit.vcov.to_numpy())
        distance = [d @ inverse @ d / len(d) for d in levels.dfbeta.to_numpy()]
        np.testing.assert_allclose(levels.cooks_distance, distance, rtol=1e-7)


def test_large_levels_take_the_other_way_to_the_same_numbers(ragged, monkeypatch):
    fit = ragged.weighted["gene7"]
    small = influence(fit, "h").dfbeta
    monkeypatch.setattr("lmmjax.diagnostics.deletion.LARGEST_BLOCK", 1)
    pd.testing.assert_frame_equal(influence(fit, "h").dfbeta, small, rtol=1e-9)


def test_refit_in_pieces_with_missing_values_and_weights(ragged, monkeypatch):
    fit = ragged.weighted["gene8"]
    whole = influence(fit, "h", refit=True)
    monkeypatch.setattr("lmmjax.diagnostics.deletion.CELLS", 100)
    pieces = influence(fit, "h", refit=True)
    pd.testing.assert_frame_equal(whole.dfbeta, pieces.dfbeta, rtol=1e-8, atol=1e-8)
    y = ragged.Y["gene8"].where(ragged.samples["h"] != "v")
    one = ragged.model.fit(y, reml=False, weights=ragged.weights["gene8"], progress=False)
    expected = one.fixef.iloc[0] - fit.fixef
    np.testing.assert_allclose(whole.dfbeta.loc["v"], expected, atol=1e-7)


def test_refit_of_rows_dropped_from_the_design(sleepstudy):
    data = sleepstudy.copy()
    data.loc[data.index[3], "Days"] = np.nan
    with pytest.warns(lmmjax.errors.DroppedRowsWarning):
        model = lmmjax.compile("~ Days + (1 | Subject)", data)
    fit = model.fit(data["Reaction"], progress=False)["Reaction"]
    out = influence(fit, "Subject", refit=True)
    again = lmmjax.lmer(
        "Reaction ~ Days + (1 | Subject)", data.dropna()[data.dropna()["Subject"] != "308"]
    )
    np.testing.assert_allclose(out.dfbeta.loc["308"], again.fixef - fit.fixef, atol=1e-6)


def test_a_level_that_alone_determines_a_coefficient():
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"g": np.repeat(list("abcdef"), 5)})
    data["x"] = (data["g"] == "c") * rng.normal(size=30)
    data["y"] = rng.normal(size=30) + np.repeat(rng.normal(size=6), 5)
    fit = lmmjax.lmer("y ~ x + (1 | g)", data)
    out = influence(fit, "g")
    assert out.dfbeta.loc["c"].isna().all() and np.isnan(out.cooks_distance["c"])
    assert out.dfbeta.drop("c").notna().all().all()
    refits = influence(fit, "g", refit=True)
    assert np.isnan(refits.dfbeta.loc["c", "x"])


def test_results(slope_fit):
    out = influence(slope_fit, "Subject")
    assert out.refits is None
    np.testing.assert_allclose(out.dfbetas, out.dfbeta / slope_fit.std_errors, rtol=1e-14)
    table = out.table()
    assert table.columns.tolist() == ["(Intercept)", "Days", "cooks_distance"]
    assert table["cooks_distance"].is_monotonic_decreasing
    assert repr(out).startswith("Influence: 18 levels of Subject, theta held\n")
    h = hatvalues(slope_fit)
    assert h.name == "hatvalues" and h.between(0, 1).all()
    assert getme(slope_fit, "p") < h.sum() < 36


def test_sizes_of_covariates_cost_no_digits(sleepstudy):
    data = sleepstudy.assign(Year=sleepstudy["Days"] * 1e-3 + 1e6)
    plain = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", sleepstudy)
    moved = lmmjax.lmer("Reaction ~ Year + (1 | Subject)", data)
    np.testing.assert_allclose(hatvalues(moved), hatvalues(plain), atol=1e-7)
    mine, theirs = influence(moved, "Subject"), influence(plain, "Subject")
    np.testing.assert_allclose(mine.dfbeta["Year"], 1e3 * theirs.dfbeta["Days"], rtol=1e-5)
    np.testing.assert_allclose(mine.cooks_distance, theirs.cooks_distance, rtol=1e-5)


def test_twenty_thousand_rows_need_no_square_matrix():
    rng = np.random.default_rng(0)
    n, groups = 20_000, 4_000
    data = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "g": rng.integers(0, groups, n).astype(str),
            "h": rng.integers(0, 40, n).astype(str),
        }
    )
    effects = rng.normal(size=groups)[data["g"].astype(int)]
    data["y"] = data["x"] + effects + rng.normal(size=40)[data["h"].astype(int)]
    data["y"] += rng.normal(size=n)
    fit = lmmjax.lmer("y ~ x + (1 | g) + (1 | h)", data)
    h, groupwise = hatvalues(fit), influence(fit, "g")
    few = influence(fit, "h")
    # fitted = H y is linear in y: the trace by a change of one observation
    at = data.index[17]
    other = data.copy()
    other.loc[at, "y"] += 1.0
    moved = fit.model.fit(other["y"], progress=False)
    moved._theta[:] = fit.theta
    change = moved["y"].fitted()[at] - fit.fitted()[at]
    assert abs(change - h[at]) < 1e-6
    assert len(groupwise.dfbeta) == data["g"].nunique() and len(few.dfbeta) == 40


# ---- bad input ---------------------------------------------------------------------------


def test_messages(ragged, slope_fit):
    with pytest.raises(
        FormulaError, match=r"'Days' is not a grouping factor of .*; it has 'Subject'"
    ):
        influence(slope_fit, "Days")
    for function in (hatvalues, cooks_distance, influence):
        with pytest.raises(
            ResponseError, match="gene1: no estimates to work with, the fit is constant_response"
        ):
            function(ragged.fits["gene1"])
    fits = cases.model("no_fixed").fit(cases.responses()[:, :1])
    for function in (cooks_distance, influence):
        with pytest.raises(DesignError, match="has no fixed effects"):
            function(fits[0])
    linear = cases.model("linear").fit(cases.responses()[:, :1])[0]
    with pytest.raises(FormulaError, match="it has none"):
        influence(linear, "g")
