"""Standard errors of predictions against the dense mixed-model equations."""

from __future__ import annotations

import cases
import numpy as np
import pandas as pd
import pytest
from dense import factor_of

import lmmjax
from lmmjax.errors import LmmError


def dense_covariance(fit) -> tuple[np.ndarray, list[np.ndarray]]:
    """Joint covariance of the errors of (b, beta), and the dense Z of each term."""
    design, seen = fit.model.design, fit._seen
    blocks, covariances, start = [], [], 0
    for term in design.terms:
        q, levels = term.n_columns, term.n_levels
        k = q * (q + 1) // 2
        factor = factor_of(fit.theta[start : start + k], q)
        start += k
        z = np.zeros((design.n, levels, q))
        z[np.arange(design.n), term.codes] = term.z
        blocks.append(z.reshape(design.n, -1))
        covariances.append(np.kron(np.eye(levels), factor @ factor.T) * fit.sigma**2)
    z, x = np.concatenate(blocks, axis=1)[seen], design.X[seen]
    weight = np.ones(seen.sum())
    if fit.fits.weights is not None:
        weight = fit.fits.weights[seen, fit.index]
    g = np.zeros((z.shape[1], z.shape[1]))
    at = 0
    for cov in covariances:
        g[at : at + len(cov), at : at + len(cov)] = cov
        at += len(cov)
    v = z @ g @ z.T + np.diag(fit.sigma**2 / weight)
    inverse = np.linalg.inv(v)
    beta = np.linalg.inv(x.T @ inverse @ x)
    gz = g @ z.T @ inverse
    # errors of BLUE and BLUP: Var(beta), Cov(b - b^, beta), Var(b - b^)
    cross = -gz @ x @ beta
    p = inverse - inverse @ x @ beta @ x.T @ inverse
    random = g - g @ z.T @ p @ z @ g
    return np.block([[random, cross], [cross.T, beta]]), blocks


@pytest.fixture(scope="module", params=["crossed", "slope_and_crossed", "dense_slope", "holes"])
def fit(request: pytest.FixtureRequest):
    name = "crossed" if request.param == "holes" else request.param
    y = cases.responses(4).copy()
    weights = None
    if request.param == "holes":
        y[[2, 11], 1] = np.nan
        weights = np.random.default_rng(2).uniform(0.5, 3.0, len(y))
    return cases.model(name).fit(y, weights=weights)[1]


def test_errors_at_the_observations(fit) -> None:
    covariance, blocks = dense_covariance(fit)
    seen = fit._seen
    z, x = np.concatenate(blocks, axis=1)[seen], fit.model.design.X[seen]
    rows = np.concatenate([z, x], axis=1)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", rows, covariance, rows))
    table = fit.predict(se_fit=True, interval="prediction", weights=fit.weights)
    np.testing.assert_allclose(table["se_fit"], expected, rtol=1e-8)
    np.testing.assert_allclose(table["fit"], fit.fitted(), rtol=1e-10)
    weight = 1.0 if fit.fits.weights is None else fit.fits.weights[seen, fit.index]
    half = 1.959963984540054 * np.sqrt(expected**2 + fit.sigma**2 / weight)
    np.testing.assert_allclose(table["upper"] - table["fit"], half, rtol=1e-8)
    np.testing.assert_allclose(table["fit"] - table["lower"], half, rtol=1e-8)


def test_errors_of_some_terms_and_of_none(fit) -> None:
    covariance, blocks = dense_covariance(fit)
    data = cases.samples().iloc[:5]
    x = fit.model.design.X[:5]
    p = x.shape[1]
    none = fit.predict(data, re_form="none", se_fit=True)["se_fit"]
    expected = np.sqrt(np.einsum("ni,ij,nj->n", x, covariance[-p:, -p:], x))
    np.testing.assert_allclose(none, expected, rtol=1e-8)
    vcov = fit.vcov.to_numpy()
    np.testing.assert_allclose(none, np.sqrt(np.einsum("ni,ij,nj->n", x, vcov, x)), rtol=1e-8)
    term = fit.model.design.terms[0]
    keep = np.arange(blocks[0].shape[1])
    rows = np.concatenate([blocks[0][:5], x], axis=1)
    place = np.concatenate([keep, np.arange(len(covariance) - p, len(covariance))])
    part = covariance[np.ix_(place, place)]
    some = fit.predict(data, re_form=f"~ ({term.label})", se_fit=True)["se_fit"]
    np.testing.assert_allclose(some, np.sqrt(np.einsum("ni,ij,nj->n", rows, part, rows)), rtol=1e-8)


def test_a_new_level_adds_its_variance() -> None:
    data = lmmjax.datasets.load_sleepstudy()
    fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)", data)
    new = pd.DataFrame({"Days": [0.0, 9.0], "Subject": ["new", "new"]})
    table = fit.predict(new, new_levels="population", se_fit=True, interval="confidence")
    x = np.array([[1.0, 0.0], [1.0, 9.0]])
    cov = fit.fits.term_covariances()[0][0]
    expected = np.einsum("ni,ij,nj->n", x, fit.vcov.to_numpy() + cov, x)
    np.testing.assert_allclose(table["se_fit"] ** 2, expected, rtol=1e-10)
    assert list(table.columns) == ["fit", "se_fit", "lower", "upper"]
    missing = fit.predict(new, new_levels="missing", se_fit=True)
    assert missing.isna().all(axis=None)


def test_singular_fits_and_models_without_random_effects() -> None:
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"x": np.arange(20.0) * 0.3, "g": list("abcd") * 5})
    data["y"] = 1 + 0.3 * data["x"] + rng.normal(size=20)
    flat = lmmjax.lmer("y ~ x", data)
    x = np.column_stack([np.ones(20), data["x"]])
    expected = flat.sigma * np.sqrt(np.diag(x @ np.linalg.inv(x.T @ x) @ x.T))
    np.testing.assert_allclose(flat.predict(se_fit=True)["se_fit"], expected, rtol=1e-9)
    data["y"] = np.tile([1.0, -1.0, 1.0, -1.0, -1, 1, -1, 1], 3)[:20] + 0.1 * data["x"]
    singular = lmmjax.lmer("y ~ x + (1 | g)", data)
    assert singular.singular
    expected = singular.sigma * np.sqrt(np.diag(x @ np.linalg.inv(x.T @ x) @ x.T))
    np.testing.assert_allclose(singular.predict(se_fit=True)["se_fit"], expected, rtol=1e-8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"interval": "tolerance"}, "interval is None, 'confidence' or 'prediction'"),
        ({"interval": "confidence", "level": 0}, "confidence level between 0 and 1"),
    ],
)
def test_bad_requests(arguments: dict, message: str) -> None:
    fit = cases.model("crossed").fit(cases.responses(4))[1]
    with pytest.raises(LmmError, match=message):
        fit.predict(**arguments)
