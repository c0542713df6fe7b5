"""Intraclass correlation, R2 and shrinkage."""

from __future__ import annotations

import cases
import dense
import numpy as np
import pytest
from diagnostic_reference import NAMES, diagnosed

import lmmjax
from lmmjax.diagnostics import icc, r2_nakagawa, shrinkage, shrinkage_by_level
from lmmjax.errors import DesignError, ResponseError


@pytest.mark.parametrize("name", NAMES)
def test_against_the_formulas_written_out_in_r(name):
    d = diagnosed(name)
    theirs = d.values["explained"]
    expected = [theirs["icc_adjusted"], theirs["icc_unadjusted"]]
    np.testing.assert_allclose(icc(d.fit), expected, rtol=1e-8, atol=1e-20)
    expected = [theirs["r2_marginal"], theirs["r2_conditional"]]
    np.testing.assert_allclose(r2_nakagawa(d.fit), expected, rtol=1e-8, atol=1e-20)
    by_group = icc(d.fit, by_group=True)
    np.testing.assert_allclose(by_group.sum(), icc(d.fit)["adjusted"], rtol=1e-12)
    assert list(by_group.index) == list(d.values["ngrps"])


def test_published_numbers(slope_fit):
    # tests/testthat/_snaps/bootstrapped_icc_ci.md of the R package performance: the sleepstudy
    # model with a random slope
    assert icc(slope_fit).round(3).to_dict() == {"adjusted": 0.722, "unadjusted": 0.521}
    assert r2_nakagawa(slope_fit).round(3).to_dict() == {"marginal": 0.279, "conditional": 0.799}


def test_missing_values_weights_and_offset(ragged):
    for gene in ("gene3", "gene8"):
        fit = ragged.weighted[gene]
        design, seen = fit.model.design, fit._seen
        z, lam = dense.random_effects(design, fit.theta)
        random = np.mean(np.diag(z @ lam @ lam.T @ z.T)[seen]) * fit.sigma**2
        fixed = np.var((design.X @ fit.fixef.to_numpy())[seen], ddof=1)
        total = fixed + random + fit.sigma**2
        np.testing.assert_allclose(
            icc(fit), [random / (random + fit.sigma**2), random / total], rtol=1e-10
        )
        np.testing.assert_allclose(
            r2_nakagawa(fit), [fixed / total, (fixed + random) / total], rtol=1e-10
        )


def test_linear_model():
    fit = cases.model("linear").fit(cases.responses()[:, :1])[0]
    r2 = r2_nakagawa(fit)
    assert r2["marginal"] == r2["conditional"] > 0
    with pytest.raises(DesignError, match="no random effects: no intraclass correlation"):
        icc(fit)
    with pytest.raises(DesignError, match="no random effects: nothing is shrunk"):
        shrinkage(fit)


def test_no_estimates(ragged):
    for function in (icc, r2_nakagawa, shrinkage, shrinkage_by_level):
        with pytest.raises(ResponseError, match=r"gene2: no estimates to work with, .* missing"):
            function(ragged.fits["gene2"])


# ---- shrinkage ---------------------------------------------------------------------------


def test_scalar_term_shrinks_by_the_textbook_factor(sleepstudy):
    data = sleepstudy[np.arange(180) % 7 > 1]
    fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data)
    levels = shrinkage_by_level(fit).set_index("level")
    counts = data["Subject"].astype(str).value_counts()[levels.index]
    ratio = fit.theta[0] ** 2 * counts
    np.testing.assert_allclose(levels["factor"], ratio / (1 + ratio), rtol=1e-10)
    np.testing.assert_allclose(levels["mode"], levels["within"] * levels["factor"], rtol=1e-9)
    fixed = fit.predict(re_form="none")
    means = (data["Reaction"] - fixed).groupby(data["Subject"].astype(str)).mean()
    np.testing.assert_allclose(levels["within"], means[levels.index], rtol=1e-9)
    np.testing.assert_allclose(levels["change"], levels["mode"] - levels["within"], rtol=1e-9)
    table = shrinkage(fit).loc[("Subject", "(Intercept)")]
    np.testing.assert_allclose(table["reduction"], levels["factor"].mean(), rtol=1e-12)
    np.testing.assert_allclose(
        table["mean_cond_var"], np.mean(fit.cond_var()["1 | Subject"]), rtol=1e-9
    )
    np.testing.assert_allclose(table["rms_change"] ** 2, np.mean(levels["change"] ** 2))


@pytest.mark.parametrize("name", ["sleepstudy-slope", "sleepstudy-independent"])
def test_within_is_each_subjects_own_regression(name):
    fit = diagnosed(name).fit
    levels = shrinkage_by_level(fit)
    within = levels.pivot(index="level", columns="effect", values="within")
    design, y = fit.model.design, fit.fits.raw_values[:, 0]
    term = design.terms[0]
    for code, level in enumerate(term.levels):
        rows = term.codes == code
        own = np.linalg.lstsq(design.X[rows], y[rows], rcond=None)[0]
        np.testing.assert_allclose(
            within.loc[level, ["(Intercept)", "Days"]] + fit.fixef.to_numpy(), own, rtol=1e-8
        )


def test_levels_that_determine_nothing_and_variances_of_zero(ragged):
    rng = np.random.default_rng(0)
    data = {"g": ["a"] + ["b", "c", "d"] * 8, "x": rng.normal(size=25), "y": rng.normal(size=25)}
    fit = lmmjax.lmer("y ~ x + (x | g)", data)
    levels = shrinkage_by_level(fit)
    alone = levels[levels["level"] == "a"]
    assert alone["within"].isna().all() and alone["mode"].notna().all()
    assert shrinkage(fit)["rms_change"].notna().all()
    flat = zero_variance()
    assert (shrinkage(flat)["reduction"] == 0).all()
    gene = ragged.fits["gene3"]  # no observation of g5
    assert "g5" not in set(shrinkage_by_level(gene)["level"])


def zero_variance():
    """A fit whose variance component is exactly zero."""
    y = np.tile([1.0, 2.0, 4.0, 3.0], 4)
    return lmmjax.lmer("y ~ (1 | g)", {"y": y, "g": np.repeat(list("abcd"), 4)})
