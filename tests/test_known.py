"""Models with something known: covariances between levels, the residual standard deviation."""

import json
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import reference

import lmmjax
import lmmjax.diagnostics
from lmmjax.errors import (
    DesignError,
    DTypeError,
    LmmError,
    NestingError,
    NonFiniteError,
    ShapeError,
)

KNOWN = Path(__file__).parent / "data" / "known"
RELATED = json.loads((KNOWN / "relationship.json").read_text())["fits"]
SIGMA = json.loads((KNOWN / "sigma.json").read_text())


def decaying(levels, decay: float) -> pd.DataFrame:
    """decay^|i - j|, labelled, and shuffled: labels decide."""
    place = np.arange(len(levels))
    table = pd.DataFrame(decay ** np.abs(place[:, None] - place), list(levels), list(levels))
    return table.sample(frac=1, random_state=1).sample(frac=1, random_state=2, axis=1)


def dataset(name: str) -> pd.DataFrame:
    return next(fit.data for fit in reference.reference_fits() if fit.dataset == name)


# ---- covariances between levels ------------------------------------------------------------


def related_fit(ref: dict) -> lmmjax.LmmFit:
    data = dataset(ref["dataset"])
    relmat = {}
    for group, decay in ref["decay"].items():
        levels = lmmjax.compile(f"~ (1|{group})", data).design.terms[0].levels
        relmat[group] = decaying(levels, decay)
    return lmmjax.lmer(ref["formula"], data, ref["reml"], relmat=relmat)


@pytest.mark.parametrize("ref", RELATED, ids=lambda r: f"{r['formula']}-{r['reml']}")
def test_relationships_are_those_of_lme4_with_another_z(ref: dict) -> None:
    fit = related_fit(ref)
    np.testing.assert_allclose(fit.objective, ref["objective"], rtol=1e-11)
    order = ["plate", "sample"] if ref["dataset"] == "Penicillin" else None
    assert order is None or [t.group for t in fit.model.design.terms] == order
    np.testing.assert_allclose(fit.theta, np.atleast_1d(ref["theta"]), atol=2e-6)
    np.testing.assert_allclose(fit.sigma, ref["sigma"], rtol=1e-6)
    np.testing.assert_allclose(fit.fixef, np.atleast_1d(ref["fixef"]), rtol=1e-6)
    np.testing.assert_allclose(fit.std_errors, np.atleast_1d(ref["std_errors"]), rtol=1e-6)
    group = next(iter(ref["decay"]))
    modes = fit.ranef()[group].to_numpy().ravel()
    np.testing.assert_allclose(modes, ref["ranef"], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def kin() -> tuple[pd.DataFrame, pd.DataFrame]:
    """60 observations of 30 related individuals (some without data), two responses, a batch."""
    rng = np.random.default_rng(0)
    square = rng.normal(size=(33, 33))
    names = [f"i{k}" for k in range(33)]
    covariance = pd.DataFrame(square @ square.T / 33 + 0.3 * np.eye(33), names, names)
    who = np.tile(np.arange(30), 2)
    data = pd.DataFrame(
        {"id": [names[k] for k in who], "batch": list("abcde") * 12, "x": rng.normal(size=60)}
    )
    effects = np.linalg.cholesky(covariance.to_numpy()) @ rng.normal(size=(33, 2))
    y = data["x"].to_numpy()[:, None] + effects[who] + 0.7 * rng.normal(size=(60, 2))
    data["y"], data["z"] = (y + rng.normal(size=(5, 2))[np.tile(np.arange(5), 12)]).T
    return data, covariance


def judged(fit: lmmjax.LmmFit, y: np.ndarray, weights=None) -> tuple[float, np.ndarray]:
    """Objective and coefficients from the covariance matrix of the observations."""
    design, rows = fit.model.design, ~np.isnan(y)
    v = np.eye(len(y)) if weights is None else np.diag(1.0 / weights)
    start = 0
    for term in design.terms:
        q = term.n_columns
        lam = np.zeros((q, q))
        for k, (i, j) in enumerate(lmmjax.structure.triangle(q)):
            lam[i, j] = fit.theta[start + k]
        start += q * (q + 1) // 2
        k = np.eye(term.n_levels) if term.root is None else term.relationship.to_numpy()
        zl = term.z @ lam
        v += (zl @ zl.T) * k[np.ix_(term.codes, term.codes)]
    v, x, y = v[np.ix_(rows, rows)], design.X[rows], y[rows]
    inverse = np.linalg.inv(v)
    system = x.T @ inverse @ x
    beta = np.linalg.solve(system, x.T @ inverse @ y)
    rss = (y - x @ beta) @ inverse @ (y - x @ beta)
    nu = len(y) - x.shape[1] if fit.reml else len(y)
    variance = rss / nu if design.sigma is None else design.sigma**2
    value = np.linalg.slogdet(v)[1] + nu * np.log(2 * np.pi * variance) + rss / variance
    if fit.reml:
        value += np.linalg.slogdet(system)[1]
    return value, beta


FORMULAS = ["~ x + (1|id)", "~ x + (1|id) + (1|batch)", "~ x + (x|id)"]


@pytest.mark.parametrize("formula", FORMULAS)
def test_batches_with_missing_values_and_weights(kin, formula) -> None:
    data, covariance = kin
    model = lmmjax.compile(formula, data, relmat={"id": covariance})
    y = data[["y", "z"]].to_numpy(copy=True)
    y[[3, 8, 40], 1] = np.nan
    fits = model.fit(y, n_starts=1)
    assert (fits.status == "converged").all()
    for k in range(2):
        value, beta = judged(fits[k], y[:, k])
        np.testing.assert_allclose(fits.objective.iloc[k], value, rtol=1e-10)
        np.testing.assert_allclose(fits.fixef.iloc[k], beta, rtol=1e-7)
    present = data.drop(index=[3, 8, 40])
    alone = lmmjax.lmer(f"z {formula}", present, relmat={"id": covariance})
    np.testing.assert_allclose(alone.objective, fits.objective.iloc[1], rtol=1e-10)
    weights = np.random.default_rng(3).uniform(0.5, 2.0, 60)
    weighted = model.fit(y[:, :1], weights=weights, n_starts=1)
    value, _ = judged(weighted[0], y[:, 0], weights)
    np.testing.assert_allclose(weighted.objective.iloc[0], value, rtol=1e-10)


def test_the_spectral_form_and_the_dense_one_agree(kin) -> None:
    data, covariance = kin
    model = lmmjax.compile("~ x + (1|id)", data, relmat={"id": covariance})
    assert "spectral" in model.explain()
    y = data[["y", "z"]].to_numpy()
    one, other = model.fit(y), model.fit(y, path="blocked")
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-11)
    np.testing.assert_allclose(one.theta, other.theta, rtol=1e-6)
    np.testing.assert_allclose(one.std_errors, other.std_errors, rtol=1e-6)


def test_everything_that_follows_from_a_fit(kin, tmp_path) -> None:
    data, covariance = kin
    fit = lmmjax.lmer("y ~ x + (1|id) + (1|batch)", data, relmat={"id": covariance})
    term = fit.model.design.terms[0]
    k, codes = term.relationship.to_numpy(), term.codes
    np.testing.assert_allclose(k, covariance.loc[list(term.levels), list(term.levels)], atol=1e-12)
    batch = pd.factorize(data["batch"])[0]
    g = fit.theta[0] ** 2 * k
    v = g[np.ix_(codes, codes)] + np.eye(60)
    v += fit.theta[1] ** 2 * (batch[:, None] == batch)
    inverse = np.linalg.inv(v)
    x = fit.model.design.X
    residual = data["y"].to_numpy() - x @ fit.fixef.to_numpy()
    np.testing.assert_allclose(
        fit.ranef()["id"].to_numpy()[:, 0], g[:, codes] @ inverse @ residual, atol=1e-9
    )
    variances = fit.sigma**2 * (g - g[:, codes] @ inverse @ g[codes])
    table = fit.ranef(cond_var=True)["id"]
    errors = table[[c for c in table.columns if "sd" in str(c).lower()]].to_numpy()[:, 0]
    np.testing.assert_allclose(errors**2, np.diag(variances), rtol=1e-8)
    projection = inverse - inverse @ x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
    np.testing.assert_allclose(fit.hatvalues(), 1.0 - np.diag(projection), atol=1e-9)
    np.testing.assert_allclose(fit.predict(data.iloc[:4]), fit.fitted()[:4], rtol=1e-10)
    np.testing.assert_allclose(
        fit.predict(se_fit=True)["se_fit"] ** 2,
        fit.sigma**2 * (1.0 - np.diag(projection)),
        rtol=1e-8,
    )
    m = {name: fit.getme(name) for name in ("Z", "Lambda", "b", "u", "RX")}
    effects = fit.fitted().to_numpy() - x @ fit.fixef.to_numpy()
    np.testing.assert_allclose(m["Z"] @ m["b"], effects, atol=1e-10)
    np.testing.assert_allclose(m["Z"] @ m["Lambda"] @ m["u"], effects, atol=1e-9)
    np.testing.assert_allclose(np.eye(60) + (m["Z"] @ m["Lambda"]) @ (m["Z"] @ m["Lambda"]).T, v)
    np.testing.assert_allclose(m["RX"].T @ m["RX"], x.T @ inverse @ x, rtol=1e-8)
    factors = lmmjax.diagnostics.shrinkage_by_level(fit).query("group == 'id'")["factor"]
    shrunk = 1.0 - np.diag(variances) / (fit.sigma**2 * np.diag(g))
    np.testing.assert_allclose(factors, shrunk, rtol=1e-7)
    fit.fits.to_parquet(tmp_path / "fit")
    again = lmmjax.FitBatch.from_parquet(tmp_path / "fit")["y"]
    np.testing.assert_allclose(again.ranef()["id"], fit.ranef()["id"], atol=1e-10)
    assert again.objective == fit.objective
    smaller = lmmjax.update(fit, ". ~ . - (1|batch)")
    np.testing.assert_allclose(
        smaller.objective, lmmjax.lmer("y ~ x + (1|id)", data, relmat={"id": covariance}).objective
    )
    test = lmmjax.anova(smaller, fit, refit=False)
    assert float(test["Pr(>Chisq)"].iloc[1]) < 0.01


def test_simulations_have_the_covariance(kin) -> None:
    data, covariance = kin
    fit = lmmjax.lmer("y ~ x + (1|id)", data, relmat={"id": covariance})
    draws = fit.simulate(20_000, seed=1).to_numpy()
    term = fit.model.design.terms[0]
    k = term.relationship.to_numpy()[np.ix_(term.codes, term.codes)]
    expected = fit.sigma**2 * (np.eye(60) + fit.theta[0] ** 2 * k)
    np.testing.assert_allclose(np.cov(draws), expected, atol=6 * expected.max() / 141)


def test_many_related_levels_one_observation_each() -> None:
    """300 individuals, one observation each: 300 dense columns where a second term is."""
    rng = np.random.default_rng(4)
    n = 300
    square = rng.normal(size=(n, 40))
    names = [f"i{k}" for k in range(n)]
    covariance = pd.DataFrame(square @ square.T / 40 + 0.1 * np.eye(n), names, names)
    data = pd.DataFrame({"id": names, "x": rng.normal(size=n), "h": rng.choice(list("abcdef"), n)})
    data["y"] = 2 * np.linalg.cholesky(covariance.to_numpy()) @ rng.normal(size=n)
    data["y"] += rng.normal(size=n) + 0.5 * pd.factorize(data["h"])[0]
    for formula in ("y ~ x + (1|id)", "y ~ x + (1|id) + (1|h)"):
        fit = lmmjax.lmer(formula, data, relmat={"id": covariance})
        np.testing.assert_allclose(fit.objective, judged(fit, data["y"].to_numpy())[0], rtol=1e-11)
        assert fit.fits.gradient_norm.iloc[0] < 1e-5
        np.testing.assert_allclose(fit.theta[0], 2.0, atol=1.0)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda k: [k], DTypeError, "mapping from grouping factors"),
        (lambda k: {"ids": k}, DesignError, "'ids', which is no grouping factor .* 'id'"),
        (lambda k: {"id": k.to_numpy()}, DTypeError, "ndarray; give a DataFrame"),
        (lambda k: {"id": k.iloc[:, :-1]}, ShapeError, r"shape \(33, 32\)"),
        (lambda k: {"id": k.iloc[1:, 1:]}, DesignError, "lacks 1 of the 30 levels of 'id': 'i0'"),
        (lambda k: {"id": k.rename(index={"i1": "i0"})}, DesignError, "duplicate labels"),
        (lambda k: {"id": k.rename(index={"i1": "j1"})}, DesignError, "'j1' only in the index"),
        (lambda k: {"id": k.mask(k == k.iloc[1, 2])}, NonFiniteError, r"nan at \(i1, i2\)"),
        (lambda k: {"id": k.astype(str) + "?"}, DTypeError, "not numbers"),
        (lambda k: {"id": -k}, DesignError, "no covariance matrix: its smallest eigenvalue"),
        (lambda k: {"id": k + np.triu(np.ones(k.shape))}, DesignError, "not symmetric"),
    ],
)
def test_bad_relationships_are_named(kin, change, error, message) -> None:
    data, covariance = kin
    with pytest.raises(error, match=message):
        lmmjax.compile("~ x + (1|id)", data, relmat=change(covariance))


def test_a_relationship_that_tells_nothing_apart(kin) -> None:
    data, _ = kin
    one = data.iloc[:30]
    names = list(one["id"])
    identity = pd.DataFrame(np.eye(30), names, names)
    with pytest.raises(DesignError, match="cannot be told apart"):
        lmmjax.compile("~ x + (1|id)", one, relmat={"id": identity})


def test_paths_that_cannot_hold_a_relationship(kin) -> None:
    data, covariance = kin
    model = lmmjax.compile("~ x + (1|id) + (1|batch)", data, relmat={"id": covariance})
    y = data[["y"]].to_numpy()
    for path, message in (("sparse", "known covariances"), ("spectral", "exactly one")):
        with pytest.raises(ValueError, match=message):
            model.fit(y, path=path)


# ---- a residual standard deviation that is known ------------------------------------------


@pytest.mark.parametrize("ref", SIGMA["fits"], ids=lambda r: f"{r['formula']}-{r['reml']}")
def test_sigma_given_as_in_nlme(ref: dict) -> None:
    data = dataset(ref["dataset"])
    fit = lmmjax.lmer(ref["formula"], data, ref["reml"], sigma=ref["sigma"])
    assert fit.sigma == ref["sigma"]
    covariance = fit.fits.term_covariances()[0][0]
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), ref["sd"], rtol=1e-5)
    np.testing.assert_allclose(fit.fixef, np.atleast_1d(ref["fixef"]), rtol=1e-6)
    np.testing.assert_allclose(fit.std_errors, np.atleast_1d(ref["std_errors"]), rtol=1e-5)
    np.testing.assert_allclose(fit.objective, judged(fit, fit.fits.raw_values[:, 0])[0], rtol=1e-12)
    free = lmmjax.lmer(ref["formula"], data, ref["reml"])
    assert fit.df == free.df - 1
    assert fit.objective > free.objective
    at_free = lmmjax.lmer(ref["formula"], data, ref["reml"], sigma=free.sigma)
    np.testing.assert_allclose(at_free.objective, free.objective, rtol=1e-12)
    np.testing.assert_allclose(at_free.theta, free.theta, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ref", SIGMA["meta"], ids=lambda r: f"{r['moderators']}-{r['reml']}")
def test_meta_analysis_is_metafors(ref: dict) -> None:
    studies = pd.DataFrame(SIGMA["studies"])
    moderators = "1" if ref["moderators"] == "~1" else "ablat"
    fit = lmmjax.lmer(
        f"yi ~ {moderators} + (1|trial)", studies, ref["reml"], weights=1 / studies["vi"], sigma=1
    )
    np.testing.assert_allclose(fit.theta[0] ** 2, ref["tau2"], rtol=1e-6)
    np.testing.assert_allclose(fit.objective, ref["objective"], rtol=1e-9)
    np.testing.assert_allclose(fit.fixef, np.atleast_1d(ref["fixef"]), rtol=1e-6)
    np.testing.assert_allclose(fit.std_errors, np.atleast_1d(ref["std_errors"]), rtol=1e-6)


def test_many_responses_with_sigma_given() -> None:
    studies = pd.DataFrame(SIGMA["studies"])
    model = lmmjax.compile("~ 1 + (1|trial)", studies, sigma=1.0)
    rng = np.random.default_rng(2)
    y = studies["yi"].to_numpy()[:, None] + rng.normal(size=(13, 4))
    weights = np.outer(1 / studies["vi"], rng.uniform(0.5, 2.0, 4))
    y[2, 1] = np.nan
    fits = model.fit(y, weights=weights)
    assert (fits.status == "converged").all()
    for k in range(4):
        seen = ~np.isnan(y[:, k])
        alone = lmmjax.lmer(
            "yi ~ 1 + (1|trial)",
            studies.assign(yi=y[:, k])[seen],
            weights=weights[seen, k],
            sigma=1.0,
        )
        np.testing.assert_allclose(fits.objective.iloc[k], alone.objective, rtol=1e-10)
        np.testing.assert_allclose(fits.theta.iloc[k], alone.theta, rtol=1e-6, atol=1e-7)
    assert (fits.sigma == 1.0).all()
    value = model.deviance(fits.theta.iloc[0].to_numpy(), y[:, 0])
    unweighted = lmmjax.lmer("yi ~ 1 + (1|trial)", studies.assign(yi=y[:, 0]), sigma=1.0)
    np.testing.assert_allclose(
        model.deviance(unweighted.theta, y[:, 0]), unweighted.objective, rtol=1e-12
    )
    assert float(value) > unweighted.objective


def test_sigma_is_kept_by_what_comes_after(sleepstudy, tmp_path) -> None:
    fit = lmmjax.lmer("Reaction ~ Days + (1|Subject)", sleepstudy, sigma=30.0)
    assert fit.refit(reml=False).sigma == 30.0
    assert lmmjax.update(fit, ". ~ 1 + (1|Subject)").sigma == 30.0
    assert lmmjax.update(fit, sigma=None).sigma != 30.0
    fit.fits.to_parquet(tmp_path / "fit")
    again = lmmjax.FitBatch.from_parquet(tmp_path / "fit")["Reaction"]
    assert again.df == fit.df == 3
    free = lmmjax.lmer("Reaction ~ Days + (1|Subject)", sleepstudy)
    slopes = lmmjax.lmer("Reaction ~ Days + (Days|Subject)", sleepstudy)
    with pytest.raises(NestingError, match=r"one model has sigma="):
        lmmjax.anova(fit, slopes, refit=False)
    with pytest.raises(LmmError, match="models that estimate sigma"):
        fit.confint()
    assert free.confint(method="wald").shape == fit.confint(method="wald").shape


@pytest.mark.parametrize(
    ("sigma", "error", "message"),
    [
        (0.0, DesignError, "positive and finite"),
        (-1, DesignError, "positive and finite"),
        (np.inf, DesignError, "positive and finite"),
        ("1", DTypeError, "sigma is a number"),
        (True, DTypeError, "sigma is a number"),
    ],
)
def test_bad_sigma(sleepstudy, sigma, error, message) -> None:
    with warnings.catch_warnings(), pytest.raises(error, match=message):
        lmmjax.lmer("Reaction ~ Days + (1|Subject)", sleepstudy, sigma=sigma)
