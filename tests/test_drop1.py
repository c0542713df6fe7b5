"""Single-term deletions against R's ``drop1`` of ``lm`` and of lme4."""

from __future__ import annotations

import linear_reference
import numpy as np
import pytest
from linear_reference import assert_close, assert_table, cases, fitted, load, read, reference

import lmmjax
from lmmjax.errors import FormulaError, LmmError
from lmmjax.linear import lm
from lmmjax.linear.drop1 import drop1

MIXED = [ref["name"] for ref in read("drop1_lmer")["fits"]]


@pytest.mark.parametrize(("dataset", "name"), cases("drop1"))
@pytest.mark.parametrize(("key", "test"), [("", None), ("_chisq", "Chisq"), ("_f", "F")])
def test_linear(dataset, name, key, test):
    assert_table(drop1(fitted(dataset, name), test=test), reference(dataset, name)[f"drop1{key}"])


@pytest.mark.parametrize("name", MIXED)
def test_mixed(name):
    ref = next(item for item in read("drop1_lmer")["fits"] if item["name"] == name)
    fit = lmmjax.lmer(ref["formula"], load(ref["dataset"]), weights=ref["weights"])
    table = drop1(fit, test="Chisq")
    assert list(table.index) == ref["rows"]
    assert list(table.columns) == ["npar", "AIC", "LRT", "Pr(Chi)"]
    assert_close(table["npar"].to_numpy(dtype=float, na_value=np.nan), ref["npar"])
    assert_close(table["AIC"], ref["AIC"])
    assert_close(table["LRT"], ref["LRT"], 1e-7, scale=0.1)
    assert_close(table["Pr(Chi)"], ref["p"], 1e-6)
    assert list(drop1(fit).columns) == ["npar", "AIC"]


def test_a_response_of_a_batch():
    data = load("sleepstudy")
    y = np.column_stack([data["Reaction"], data["Reaction"]])
    y[[3, 40], 1] = np.nan
    weights = np.where(np.arange(180)[:, None] == [7, 8], 0.0, 1.5)
    fits = lmmjax.compile("~ Days + (1 | Subject)", data).fit(y, weights=weights)
    fit = fits[fits.responses[1]]
    used = np.isfinite(y[:, 1]) & (weights[:, 1] > 0)
    alone = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data[used])
    table, expected = drop1(fit, test="Chisq"), drop1(alone, test="Chisq")
    assert fit.n_obs == 177
    assert_close(table["LRT"], expected["LRT"], 1e-7)


def test_scope():
    data = load("mtcars")
    fit = lm("mpg ~ wt * hp + qsec", data)
    assert list(drop1(fit).index) == ["<none>", "qsec", "wt:hp"]
    assert list(drop1(fit, ["hp:wt"]).index) == ["<none>", "wt:hp"]
    assert list(drop1(fit, "~ wt + qsec").index) == ["<none>", "wt", "qsec"]
    # a main effect beside its interaction: its own columns go
    expected = lm("mpg ~ hp + qsec + I(wt * hp)", data)
    assert drop1(fit, "wt").loc["wt", "RSS"] == pytest.approx(expected.rss, rel=1e-12)
    assert list(drop1(lm("mpg ~ 1", data)).index) == ["<none>"]


def test_aic_differs_from_the_fit_by_a_constant():
    fits = [linear_reference.fitted("mtcars", name) for name in ("two", "weight")]
    aic = [drop1(fit).loc["<none>", "AIC"] for fit in fits]
    assert aic[0] - aic[1] == pytest.approx(fits[0].aic - fits[1].aic, rel=1e-10)


def test_refused():
    fit = fitted("mtcars", "two")
    with pytest.raises(
        FormulaError, match="scope has qsec, not a term of the model; it has wt, hp"
    ):
        drop1(fit, ["qsec"])
    with pytest.raises(FormulaError, match="names fixed-effects terms"):
        drop1(fit, "~ wt + (1 | cyl)")
    with pytest.raises(FormulaError, match=r"\(Intercept\), not a term"):
        drop1(fit, ["1"])
    with pytest.raises(LmmError, match="test is None, 'Chisq' or 'F', not 'LRT'"):
        drop1(fit, test="LRT")
    with pytest.raises(LmmError, match="drop1 needs a fit by lm or lmer, not str"):
        drop1("mpg ~ wt")  # type: ignore[arg-type]
    mixed = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", load("sleepstudy"))
    with pytest.raises(LmmError, match="has no F test; use test='Chisq'"):
        drop1(mixed, test="F")
