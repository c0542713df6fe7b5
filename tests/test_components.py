"""Pieces of a fit by name, coefficients by group, and the notebook page."""

from __future__ import annotations

import html as html_parser
import re

import cases
import dense
import numpy as np
import pandas as pd
import pytest
from diagnostic_reference import NAMES, assert_close, diagnosed

import lmmjax
from lmmjax.diagnostics import coef, fit_html, getme, ngrps, repca, residuals_of_type
from lmmjax.errors import LmmError, ResponseError


@pytest.mark.parametrize("name", NAMES)
def test_getme_as_lme4(name):
    d = diagnosed(name)
    np.testing.assert_array_equal(getme(d.fit, "Z"), d.values["Z"])
    for piece in ("Lambda", "theta", "beta", "b", "u"):
        assert_close(getme(d.fit, piece), d.values[piece], 1e-6)
    assert getme(d.fit, "n_rtrms") == d.values["n_rtrms"]
    assert [group for group, _ in getme(d.fit, "cnms")] == d.values["cnms_names"]
    assert [list(names) for _, names in getme(d.fit, "cnms")] == d.values["cnms"]


@pytest.mark.parametrize("name", NAMES)
def test_coef_ngrps_repca_as_lme4(name):
    d = diagnosed(name)
    mine = coef(d.fit)
    assert list(mine) == list(d.values["coef"])
    for group, theirs in d.values["coef"].items():
        assert mine[group].columns.tolist() == theirs["columns"]
        assert mine[group].index.tolist() == theirs["levels"]
        assert_close(mine[group], theirs["values"], 1e-8)
    assert ngrps(d.fit).to_dict() == d.values["ngrps"]
    for group, sdev in d.values["repca"].items():
        table = repca(d.fit)[group]
        assert_close(table["sdev"], sdev, 1e-6)
        share = np.square(sdev) / np.sum(np.square(sdev))
        np.testing.assert_allclose(table["proportion"], share, atol=1e-6)
        np.testing.assert_allclose(table["cumulative"], np.cumsum(share), atol=1e-6)


@pytest.mark.parametrize("kind", ["response", "pearson", "scaled", "deviance"])
@pytest.mark.parametrize("name", NAMES)
def test_residuals_as_lme4(name, kind):
    d = diagnosed(name)
    mine = residuals_of_type(d.fit, kind)
    assert_close(mine, d.values["residuals"][kind], 1e-7)
    assert mine.index.equals(d.fit.fitted().index)


@pytest.mark.parametrize("which", ["fits", "weighted"])
@pytest.mark.parametrize("gene", ["gene0", "gene3", "gene7"])
def test_pieces_fit_together_with_missing_values(ragged, which, gene):
    fit = getattr(ragged, which)[gene]
    m = {name: getme(fit, name) for name in (
        "X", "Z", "Zt", "y", "theta", "beta", "b", "u", "sigma", "Lambda", "Lambdat", "n", "p",
        "q", "n_rtrms", "cnms", "flist", "offset", "weights")}  # fmt: skip
    assert m["X"].shape == (m["n"], m["p"]) and m["Z"].shape == (m["n"], m["q"])
    assert m["n"] == fit.n_obs and m["n_rtrms"] == 2 and m["q"] == len(m["b"]) == len(m["u"])
    np.testing.assert_allclose(m["Lambda"] @ m["u"], m["b"], atol=1e-9)
    assert getme(fit, "l_i") @ getme(fit, "p_i") == m["q"]
    assert np.all(m["theta"] >= getme(fit, "lower"))
    zl = np.sqrt(m["weights"])[:, None] * (m["Z"] @ m["Lambda"])
    x = np.sqrt(m["weights"])[:, None] * m["X"]
    information = x.T @ np.linalg.solve(np.eye(m["n"]) + zl @ zl.T, x)
    rx = getme(fit, "RX")
    np.testing.assert_allclose(rx.T @ rx, information, rtol=1e-7, atol=1e-9)
    assert np.all(np.tril(rx, -1) == 0.0)
    fitted = m["X"] @ m["beta"] + m["Z"] @ m["b"] + m["offset"]
    np.testing.assert_allclose(fitted, fit.fitted(), atol=1e-9)
    np.testing.assert_allclose(m["y"] - fitted, residuals_of_type(fit), atol=1e-9)
    np.testing.assert_array_equal(m["Zt"], m["Z"].T)
    np.testing.assert_array_equal(m["Lambdat"], m["Lambda"].T)
    expected = 1.0
    if which == "weighted":
        expected = ragged.weights.loc[fit.fitted().index, gene]
    np.testing.assert_array_equal(m["weights"], np.broadcast_to(expected, m["n"]))
    z, lam = dense.random_effects(fit.model.design, fit.theta)
    present = z[fit._seen].any(axis=0)
    np.testing.assert_array_equal(m["Z"], z[fit._seen][:, present])
    np.testing.assert_array_equal(m["Lambda"], lam[np.ix_(present, present)])
    assert m["flist"].index.equals(fit.fitted().index)
    assert {g: m["flist"][g].nunique() for g in m["flist"]} == ngrps(fit).to_dict()
    pearson = residuals_of_type(fit, "pearson")
    np.testing.assert_allclose(pearson / fit.sigma, fit.scaled_residuals(), rtol=1e-13)
    np.testing.assert_array_equal(pearson, residuals_of_type(fit, "deviance"))
    tables = coef(fit)
    assert ("g5" in tables["g"].index) == (gene != "gene3")
    np.testing.assert_allclose(tables["g"]["x"], fit.fixef["x"] + fit.ranef()["g"]["x"], rtol=1e-14)


def test_linear_model_and_zero_variance():
    fit = cases.model("linear").fit(cases.responses()[:, :1])[0]
    assert getme(fit, "Z").shape == (40, 0) and getme(fit, "Lambda").shape == (0, 0)
    assert getme(fit, "RZX").shape == (0, 5) and getme(fit, "devcomp")["cmp"]["ldL2"] == 0.0
    assert getme(fit, "q") == 0 and len(getme(fit, "u")) == 0
    assert coef(fit) == {} and repca(fit) == {} and ngrps(fit).empty
    y = np.tile([1.0, 2.0, 4.0, 3.0], 4)
    flat = lmmjax.lmer("y ~ (1 | g)", {"y": y, "g": np.repeat(list("abcd"), 4)})
    table = repca(flat)["g"]
    assert table["sdev"].tolist() == [0.0] and table["proportion"].tolist() == [0.0]
    np.testing.assert_array_equal(getme(flat, "b"), 0.0)


def test_messages(slope_fit, ragged):
    with pytest.raises(LmmError, match="no piece of a fit is called 'L'; there are X, Z, Zt, y"):
        getme(slope_fit, "L")
    with pytest.raises(
        LmmError,
        match="no residuals of type 'working'; there are response, pearson, scaled, deviance",
    ):
        residuals_of_type(slope_fit, "working")
    bad = ragged.fits["gene2"]
    for call in (
        lambda: getme(bad, "Z"),
        lambda: coef(bad),
        lambda: repca(bad),
        lambda: residuals_of_type(bad),
    ):
        with pytest.raises(ResponseError, match="gene2: no estimates to work with"):
            call()


# ---- the notebook page -------------------------------------------------------------------


def text_of(page: str) -> str:
    return html_parser.unescape(re.sub("<[^>]*>", " ", page))


def test_page_of_a_fit(slope_fit):
    page = fit_html(slope_fit)
    text = text_of(page)
    assert "Reaction ~ Days + (Days | Subject)" in text
    assert "REML criterion 1743.6283" in text and "180 observations; levels Subject: 18" in text
    for number in ("612.09", "24.740", "251.41", "6.825", "36.838", "0.066"):
        assert number in text, number
    assert "nan" not in text.lower()
    assert "<script" not in page and page.count("<table") == page.count("</table>") == 3


def test_page_escapes_names_and_says_what_is_wrong(ragged):
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"<i>": rng.normal(size=30), "y": rng.normal(size=30)})
    data["g<"] = np.repeat(list("abcdef"), 5)
    data["y"] -= data.groupby("g<")["y"].transform("mean")
    fit = lmmjax.lmer("y ~ `<i>` + (1 | `g<`)", data, reml=False)
    page = fit_html(fit)
    assert "<i>`" not in page and "&lt;i&gt;" in page and "g&lt;" in page
    assert "variance of (1 | g<) is zero" in text_of(page)
    assert "log-likelihood" in page
    page = fit_html(ragged.fits["gene1"])
    assert "constant_response: All observed values are equal." in page and "<table" not in page
    assert "response <code>gene1</code>" in page
    linear = fit_html(cases.model("linear").fit(cases.responses()[:, :1])[0])
    assert "Linear model by REML" in linear


# ---- lme4's own layout ---------------------------------------------------------------------


def test_rotation_as_lme4(slope_fit):
    turned = slope_fit.repca(rotation=True)["Subject"]
    # lme4's $rotation has the first column's sign the other way
    expected = [[0.99986, -0.01664], [0.01664, 0.99986]]
    np.testing.assert_allclose(turned, expected, atol=1e-5)
    assert turned.index.tolist() == ["(Intercept)", "Days"]
    table = slope_fit.repca()["Subject"]
    assert turned.columns.tolist() == table.index.tolist() == ["PC1", "PC2"]
    factor = slope_fit.getme("Tlist")[0]
    rebuilt = turned.to_numpy() @ np.diag(table["sdev"] ** 2) @ turned.to_numpy().T
    np.testing.assert_allclose(rebuilt, factor @ factor.T, rtol=1e-12)


def test_layout_as_lme4(slope_fit, sleepstudy):
    m = slope_fit.getme("ALL")
    assert (m["k"], m["m"], m["N"], m["n_rfacs"], m["REML"], m["is_REML"]) == (
        1,
        3,
        180,
        1,
        2,
        True,
    )
    assert m["Gp"].tolist() == [0, 36] and m["Tp"].tolist() == [0, 3]
    assert m["m_i"].tolist() == [3] and m["q_i"].tolist() == [36]
    assert m["Lind"][:4].tolist() == [0, 1, 2, 0] and len(m["Lind"]) == 54
    lower = np.kron(np.eye(18), np.tril(np.ones((2, 2)))) > 0
    np.testing.assert_array_equal(m["theta"][m["Lind"]], m["Lambda"][lower])
    np.testing.assert_allclose(m["ST"][0], [[0.96674177, 0.0], [0.01569091, 0.23091]], atol=2e-5)
    np.testing.assert_allclose(
        m["RZX"][:2], [[3.0218201, 13.963566], [0.2689126, 8.631203]], rtol=1e-4
    )
    assert {k: v.shape for k, v in m["Ztlist"].items()} == {
        "Subject.(Intercept)": (18, 180), "Subject.Days": (18, 180)
    }  # fmt: skip
    np.testing.assert_array_equal(m["Ztlist"]["Subject.Days"], m["Zt"][1::2])
    assert m["mmList"]["Days | Subject"].shape == (180, 2)
    np.testing.assert_array_equal(m["mu"], slope_fit.fitted())
    np.testing.assert_array_equal(m["fixef"], m["beta"])
    cmp = {
        "ldL2": 75.96133321, "ldRX2": 8.276052835, "wrss": 98881.56844, "ussq": 17697.75303,
        "pwrss": 116579.3215, "drsum": np.nan, "REML": 1743.628272, "dev": np.nan,
        "sigmaML": 25.44922193, "sigmaREML": 25.59179572,
    }  # fmt: skip
    assert m["devcomp"]["cmp"] == pytest.approx(cmp, rel=1e-5, nan_ok=True)
    assert m["devcomp"]["dims"] == {
        "N": 180, "n": 180, "p": 2, "nmp": 178, "q": 36, "nth": 3, "useSc": 1, "reTrms": 1,
        "spFe": 0, "REML": 2, "GLMM": 0, "NLMM": 0,
    }  # fmt: skip


def test_layout_of_two_terms_with_weights_as_lme4(sleepstudy):
    fit = lmmjax.lmer(
        "Reaction ~ Days + (1 | Subject) + (0 + Days | Subject)", sleepstudy,
        weights=np.tile([1.0, 2.0], 90), reml=False,
    )  # fmt: skip
    assert fit.getme("Gp").tolist() == [0, 18, 36] and fit.getme("Tp").tolist() == [0, 1, 2]
    assert fit.getme("Lind").tolist() == [0] * 18 + [1] * 18
    assert (fit.getme("REML"), fit.getme("is_REML"), fit.getme("n_rfacs")) == (0, False, 1)
    cmp = fit.getme("devcomp")["cmp"]
    expected = {
        "ldL2": 76.03893989, "ldRX2": 9.079298885, "wrss": 143877.6111, "ussq": 27410.16545,
        "pwrss": 171287.7765, "drsum": np.nan, "REML": np.nan, "dev": 1758.939391,
        "sigmaML": 30.84799440, "sigmaREML": 31.02081365,
    }  # fmt: skip
    assert cmp == pytest.approx(expected, rel=1e-5, nan_ok=True)
    # the criterion, from its components
    n = 180
    value = cmp["ldL2"] + n * (1 + np.log(2 * np.pi * cmp["pwrss"] / n)) - 90 * np.log(2.0)
    assert value == pytest.approx(fit.deviance, rel=1e-12)


def test_several_pieces(slope_fit):
    several = slope_fit.getme(["X", "theta"])
    assert list(several) == ["X", "theta"] and several["X"].shape == (180, 2)
    with pytest.raises(LmmError, match="no piece of a fit is called 'nope'"):
        slope_fit.getme(["X", "nope"])
    with pytest.raises(LmmError, match="no piece of a fit is called 3"):
        slope_fit.getme(3)
