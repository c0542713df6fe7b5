"""What :func:`lmmjax.diagnostics.check` says about a fit."""

from __future__ import annotations

import cases
import numpy as np
import pandas as pd
import pytest
import reference
from diagnostic_reference import NAMES, diagnosed

import lmmjax
from lmmjax.diagnostics import check
from lmmjax.status import Status

SINGULAR = [ref for ref in reference.reference_fits() if ref.reml and ref.singular]


@pytest.mark.parametrize("name", NAMES)
def test_clean_fits_are_clean(name):
    found = check(diagnosed(name).fit)
    assert found.ok and found.status is Status.CONVERGED and not found.singular
    assert found.boundary == () and found.advice == ()
    assert found.gradient_norm < 1e-3 and found.smallest_hessian_eigenvalue > 0
    assert "no problem found" in str(found) and "->" not in str(found)


@pytest.mark.parametrize("ref", SINGULAR, ids=lambda ref: ref.id)
def test_singular_reference_fits_are_named(ref, reference_lmer):
    fit = reference_lmer(ref)
    found = check(fit)
    assert not found.ok and found.singular and found.status is Status.CONVERGED
    assert found.boundary and len(found.advice) >= len(found.boundary)
    assert all(any(t.group in text for t in fit.model.design.terms) for text in found.boundary)


def grouped(seed: int = 0, levels: int = 12, each: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    n = levels * each
    return pd.DataFrame(
        {
            "g": np.repeat([f"g{i}" for i in range(levels)], each),
            "x": rng.normal(size=n),
            "z": rng.normal(size=n),
            "e": rng.normal(size=n),
        }
    )


def without_group_means(values: np.ndarray, each: int) -> np.ndarray:
    return (values.reshape(-1, each) - values.reshape(-1, each).mean(axis=1, keepdims=True)).ravel()


def test_zero_variance():
    data = grouped()
    data["y"] = without_group_means(data["e"].to_numpy(), 6)
    found = check(lmmjax.lmer("y ~ x + (1 | g)", data))
    assert found.boundary == ("variance of (1 | g) is zero",)
    assert found.advice[0].startswith("drop (1 | g): the model without it has the same likelihood")
    assert len(found.advice) == 1  # 12 levels are enough
    few = data[data["g"].isin(["g0", "g1", "g2"])]
    found = check(lmmjax.lmer("y ~ x + (1 | g)", few))
    assert "g has 3 levels, too few to measure a variance" in found.advice[1]


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_perfect_correlation(sign):
    data = grouped(1)
    effect = np.repeat(np.random.default_rng(5).normal(size=12), 6)
    y = 5 * effect + sign * 3 * effect * data["x"] + data["e"]
    fits = lmmjax.compile("~ x + (x | g)", data).fit(y.rename("y"), progress=False)
    fits._theta[0] = [5.0, sign * 3.0, 0.0]  # exactly there, whatever the noise says
    found = check(fits["y"])
    named = f"correlation of (Intercept) and x in (x | g) is {'+' if sign > 0 else '-'}1"
    assert found.boundary == (named,) and not found.ok
    assert "drop x, or make them independent with (x || g)" in found.advice[0]


def test_deficient_rank_and_zero_slope():
    data = grouped(2, levels=15, each=8)
    rng = np.random.default_rng(8)
    effects = np.repeat(rng.normal(size=(15, 2)), 8, axis=0)
    third = effects @ [0.7, 0.7]
    data["y"] = 4 * (effects[:, 0] + effects[:, 1] * data["x"] + third * data["z"])
    data["y"] += 0.5 * data["e"]
    model = lmmjax.compile("~ x + z + (x + z | g)", data)
    fits = model.fit(data[["y"]].assign(w=data["y"]), progress=False)
    # theta as at the boundary, exactly: columns of Lambda 0, 1 free, 2 empty
    fits._theta[0] = [1.0, 0.3, 0.4, 0.8, 0.5, 0.0]
    fits._theta[1] = [1.0, 0.0, 0.4, 0.0, 0.0, 0.5]
    found = check(fits["y"])
    assert found.boundary == ("covariance matrix of (x + z | g) has rank 2 of 3",)
    assert "give (x + z | g) at most 2 random effects" in found.advice[0]
    found = check(fits["w"])
    assert found.boundary == ("variance of x in (x + z | g) is zero",)
    assert found.advice == ("take the random effect x out of (x + z | g)",)


def test_scale_is_a_remark_only():
    data = grouped(3)
    data["y"] = np.repeat(np.random.default_rng(1).normal(size=12), 6) * 2 + data["e"]
    data["big"] = data["x"] * 1e5
    found = check(lmmjax.lmer("y ~ big + z + (1 | g)", data))
    assert found.ok and found.boundary == ()
    assert found.advice[0].startswith("rescale big or z: their standard deviations are ")
    assert "no problem found" in str(found)
    assert check(lmmjax.lmer("y ~ big + (1 | g)", data)).advice == ()


def test_coefficients_without_an_estimate():
    data = grouped(4)
    data["y"] = np.repeat(np.random.default_rng(1).normal(size=12), 6) * 2 + data["e"]
    data["twice"] = 2 * data["x"]
    with pytest.warns(lmmjax.errors.RankWarning):
        fit = lmmjax.lmer("y ~ x + twice + (1 | g)", data)
    assert "no estimate for twice" in check(fit).advice[0]


@pytest.mark.parametrize(
    "gene, status, text",
    [
        ("gene1", Status.CONSTANT_RESPONSE, "the response does not vary"),
        ("gene2", Status.MISSING, "the response has no value"),
        ("gene6", Status.NONFINITE, "infinite value"),
    ],
)
def test_responses_without_estimates(ragged, gene, status, text):
    found = check(ragged.fits[gene])
    assert not found.ok and found.status is status and not found.singular
    assert text in found.advice[0] and found.boundary == ()
    assert np.isnan(found.gradient_norm)
    assert "largest gradient" not in str(found)
    assert f"{gene}: look at this fit" in str(found) and "\n  -> " in str(found)


def test_not_converged():
    fits = cases.model("crossed").fit(cases.responses()[:, :2])
    fits.status_codes[0] = Status.NOT_CONVERGED.code
    found = check(fits[0])
    assert not found.ok and "n_starts=10" in found.advice[0]


@pytest.mark.parametrize("status", Status)
def test_every_status_has_advice(ragged, status):
    fits = ragged.fits.take([0])
    fits.status_codes[0] = status.code
    found = check(fits[fits.responses[0]])
    assert found.status is status and status.meaning in str(found)
    assert found.advice or status is Status.CONVERGED


def test_agrees_with_singular_in_a_batch(ragged):
    for fits in (ragged.fits, ragged.weighted):
        for gene in fits.responses:
            assert bool(check(fits[gene]).boundary) == fits[gene].singular


def test_html_is_escaped():
    data = grouped(6).rename(columns={"g": "a<b"})
    data["y"] = without_group_means(data["e"].to_numpy(), 6)
    html = check(lmmjax.lmer("y ~ x + (1 | `a<b`)", data))._repr_html_()
    assert "a&lt;b" in html and "a<b" not in html
    assert html.startswith("<div>") and html.endswith("</ul></div>")
