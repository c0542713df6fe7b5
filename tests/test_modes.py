"""Conditional modes, their variances, and fitted values."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import reference

import lmmjax

REFERENCES = reference.reference_fits()


@pytest.mark.parametrize("ref", REFERENCES, ids=lambda ref: ref.id)
def test_ranef_and_conditional_sds(ref, reference_lmer):
    fit = reference_lmer(ref)
    mine = fit.ranef(cond_var=True)
    assert set(mine) == set(ref.values["ranef"])
    # modes move with theta (known to 1e-5 at flat optima) times the size of the effects
    for group, frame in mine.items():
        theirs = ref.ranef(group)
        for name, rows in theirs.groupby("term"):
            rows = rows.set_index("level").loc[frame.index]
            atol = 1e-5 * max(ref.sigma, rows["mode"].abs().max())
            np.testing.assert_allclose(frame[name], rows["mode"], atol=atol)
            np.testing.assert_allclose(frame[f"{name}_sd"], rows["cond_sd"], atol=atol)
        assert len(theirs) == frame.shape[0] * frame.shape[1] // 2


@pytest.mark.parametrize("ref", REFERENCES, ids=lambda ref: ref.id)
def test_fitted_and_residuals(ref, reference_lmer):
    fit = reference_lmer(ref)
    for mine, name in ((fit.fitted(), "fitted_head"), (fit.residuals(), "residuals_head")):
        theirs = np.array(ref.values[name])
        np.testing.assert_allclose(mine[: len(theirs)], theirs, atol=1e-6 * ref.sigma, rtol=1e-8)


@pytest.mark.parametrize(
    "ref", [ref for ref in REFERENCES if "cond_var" in ref.values], ids=lambda ref: ref.id
)
def test_conditional_covariances(ref, reference_lmer):
    fit = reference_lmer(ref)
    theirs = np.array(ref.values["cond_var"])  # of the first term
    first = fit.model.design.terms[0]
    levels = ref.ranef(first.group)["level"].to_list()[: first.n_levels]
    mine = fit.cond_var()[first.label][[first.levels.index(level) for level in levels]]
    np.testing.assert_allclose(mine, theirs, atol=1e-6 * np.abs(theirs).max())


def brute_force(fits, k):
    """Modes and conditional covariance of response k by the definition, in user units."""
    design = fits.model.design
    y, w = fits.values[:, k], np.ones(design.n)
    if fits.weights is not None:
        w = fits.weights[:, k]
    seen = ~np.isnan(y) & (w > 0)
    blocks, factors = [], []
    start = 0
    for term in design.terms:
        q = term.n_columns
        factor = np.zeros((q, q))
        for j in range(q):
            for i in range(j, q):
                factor[i, j] = fits._theta[k, start]
                start += 1
        block = np.zeros((design.n, term.n_levels, q))
        block[np.arange(design.n), term.codes] = term.z
        blocks.append(block.reshape(design.n, -1))
        factors.append(np.kron(np.eye(term.n_levels), factor))
    Z = np.concatenate(blocks, axis=1)[seen]
    Lambda = np.zeros((Z.shape[1],) * 2)
    at = 0
    for factor in factors:
        Lambda[at : at + len(factor), at : at + len(factor)] = factor
        at += len(factor)
    root = np.sqrt(w[seen])[:, None]
    Z, X, y = root * Z, root * design.X[seen], root[:, 0] * y[seen]
    V = np.eye(len(y)) + Z @ Lambda @ Lambda.T @ Z.T
    beta = np.linalg.lstsq(X.T @ np.linalg.solve(V, X), X.T @ np.linalg.solve(V, y), rcond=None)[0]
    b = Lambda @ Lambda.T @ Z.T @ np.linalg.solve(V, y - X @ beta)
    inner = Lambda.T @ Z.T @ Z @ Lambda + np.eye(Z.shape[1])
    return b, fits._sigma[k] ** 2 * Lambda @ np.linalg.solve(inner, Lambda.T)


@pytest.mark.parametrize("which", ["fits", "weighted"])
def test_batch_against_the_definition(ragged, which):
    fits = getattr(ragged, which)
    tables = fits.ranef()
    g, h = fits.model.design.terms
    assert tables["g"].columns.names == ["g", "effect"]
    assert list(tables["h"].columns) == [(level, "(Intercept)") for level in "uvw"]
    for k, name in enumerate(fits.responses):
        if not fits[name].status.has_estimates:
            assert tables["g"].loc[name].isna().all() and tables["h"].loc[name].isna().all()
            continue
        b, covariance = brute_force(fits, k)
        split = g.n_levels * g.n_columns
        mine = tables["g"].loc[name].to_numpy()
        present = ~np.isnan(mine)
        assert np.all(b[:split][~present] == 0)
        tolerance = 1e-9 * fits._sigma[k]
        if name == "gene4":  # 1e8 + 1e-3 y costs the brute force its digits
            tolerance = 1e-4 * fits._sigma[k]
        np.testing.assert_allclose(mine[present], b[:split][present], atol=tolerance)
        np.testing.assert_allclose(tables["h"].loc[name], b[split:], atol=tolerance)
        blocks = fits[name].cond_var()
        for label, start, term in ((g.label, 0, g), (h.label, split, h)):
            q = term.n_columns
            for level in range(term.n_levels):
                rows = slice(start + level * q, start + (level + 1) * q)
                np.testing.assert_allclose(
                    blocks[label][level], covariance[rows, rows], atol=1e-9 * fits._sigma[k] ** 2
                )


def test_levels_without_observations_are_nan(ragged):
    tables = ragged.fits.ranef()
    absent = tables["g"].loc["gene3", "g5"]
    assert absent.isna().all()
    assert tables["g"].loc["gene3"].notna().sum() == 14
    assert tables["g"].loc["gene0"].notna().all()


def test_fitted_and_residuals_of_a_batch(ragged):
    for fits, used in (
        (ragged.fits, ragged.Y.notna()),
        (ragged.weighted, ragged.Y.notna() & (ragged.weights > 0)),
    ):
        fitted, residuals = fits.fitted(), fits.residuals()
        assert fitted.index.equals(ragged.Y.index) and fitted.columns.equals(ragged.Y.columns)
        estimated = fits.status.map(lambda text: lmmjax.Status(text).has_estimates)
        expected = used & estimated.to_numpy()
        pd.testing.assert_frame_equal(fitted.notna(), expected)
        pd.testing.assert_frame_equal(residuals.notna(), expected)
        for name in ("gene0", "gene3", "gene4", "gene7"):
            one = fits[name]
            pd.testing.assert_series_equal(fitted[name].dropna(), one.fitted())
            pd.testing.assert_series_equal(residuals[name].dropna(), one.residuals())


def test_modes_do_not_depend_on_the_chunk(ragged):
    rows = ragged.fits.take([7, 8, 9])
    whole = ragged.fits.ranef()["g"].iloc[[7, 8, 9]]
    pd.testing.assert_frame_equal(rows.ranef()["g"], whole, rtol=1e-12)


def test_common_weights_and_matrix_give_the_same(sleepstudy):
    model = lmmjax.compile("~ Days + (Days | Subject)", sleepstudy)
    rng = np.random.default_rng(0)
    y = sleepstudy["Reaction"].to_numpy()[:, None] + rng.normal(size=(180, 3))
    w = rng.uniform(0.5, 2, 180)
    common = model.fit(y, weights=w)
    matrix = model.fit(y, weights=np.repeat(w[:, None], 3, axis=1), path="weighted")
    a, b = common.ranef()["Subject"], matrix.ranef()["Subject"]
    pd.testing.assert_frame_equal(a, b, rtol=1e-6, atol=1e-6)
    pd.testing.assert_frame_equal(common.fitted(), matrix.fitted(), rtol=1e-8)


def test_offset_covariates_keep_the_digits(sleepstudy):
    data = sleepstudy.assign(late=sleepstudy["Days"] + 1e9)
    fit = lmmjax.lmer("Reaction ~ late + (1 | Subject)", data)
    plain = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data)
    np.testing.assert_allclose(fit.fitted(), plain.fitted(), rtol=1e-9)


def test_several_terms_of_one_factor_share_a_table(reference_lmer):
    fit = reference_lmer(reference.reference_fit("sleepstudy", "independent_reml"))
    assert list(fit.ranef()["Subject"].columns) == ["(Intercept)", "Days"]
    assert list(fit.fits.ranef()) == ["Subject"]
    assert list(fit.cond_var()) == ["1 | Subject", "0 + Days | Subject"]
