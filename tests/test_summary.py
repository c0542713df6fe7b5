"""The summary is laid out, digit for digit, as lme4's."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import reference

import lmmjax
from lmmjax.summary_format import abbreviate, significant

DIRECTORY = Path(__file__).parent / "data" / "summaries"
SUMMARIES = sorted(path.stem for path in DIRECTORY.glob("*.txt"))


def comparable(text: str) -> list[str]:
    """Lines without what lme4 and we say differently: class, formula, closing remarks."""
    lines = [line.rstrip() for line in text.splitlines()]
    remarks = ("Formula:", "   Data:", "Weights:", "Control:", "optimizer", "boundary")
    lines = [line for line in lines if not line.startswith(remarks)]
    lines = [re.sub(r" +\['lmerMod'\]$", "", line) for line in lines]
    return re.sub(r"\n{2,}", "\n\n", "\n".join(lines)).strip().splitlines()


def test_there_are_summaries():
    assert len(SUMMARIES) >= 9


@pytest.mark.parametrize("name", SUMMARIES)
def test_as_lme4(name, reference_lmer):
    fit = reference_lmer(reference.reference_fit(*name.split("-")))
    theirs = (DIRECTORY / f"{name}.txt").read_text(encoding="utf-8")
    assert comparable(fit.summary()) == comparable(theirs)
    assert str(fit) == fit.summary()


def test_remarks(sleepstudy, reference_lmer):
    singular = reference_lmer(reference.reference_fit("Dyestuff2", "batch_ml")).summary()
    assert singular.splitlines()[-1].startswith("boundary (singular) fit")
    data = sleepstudy.assign(twice=2.0 * sleepstudy["Days"])
    with pytest.warns(lmmjax.errors.RankWarning):
        fit = lmmjax.lmer("Reaction ~ Days + twice + (1 | Subject)", data)
    lines = fit.summary().splitlines()
    assert lines[-1] == "dropped as linearly dependent: twice"
    assert sum(line.startswith("twice") for line in lines) == 0


def test_linear_model(sleepstudy):
    text = lmmjax.lmer("Reaction ~ Days", sleepstudy).summary()
    assert text.startswith("Linear model fit by REML\nFormula: Reaction ~ Days\n")
    assert " Residual      2277     47.71\nNumber of obs: 180\n" in text


def test_many_fixed_effects(sleepstudy):
    rng = np.random.default_rng(0)
    extra = {f"x{k}": rng.normal(size=180) for k in range(12)}
    fit = lmmjax.lmer(f"Reaction ~ {' + '.join(extra)} + (1 | Subject)", sleepstudy.assign(**extra))
    assert "Correlation of Fixed Effects: 13 x 13, see vcov" in fit.summary()


def test_no_fixed_effects(sleepstudy):
    fit = lmmjax.lmer("Reaction ~ 0 + (1 | Subject)", sleepstudy)
    assert "Fixed effects" not in fit.summary() and fit.fixef.empty


def test_hopeless_response(ragged):
    text = ragged.fits["gene1"].summary()
    assert text.endswith("No estimates: constant_response. All observed values are equal.")


@pytest.mark.parametrize(
    ("values", "digits", "text"),
    [
        ([1e-9, 2.5e-10], 4, ["1.0e-09", "2.5e-10"]),
        ([1.0, np.nan, 20.0], 4, [" 1", "NA", "20"]),
        ([0.0, 13.8112], 4, [" 0.00", "13.81"]),
        ([-1.5, np.inf], 3, ["-1.5", " Inf"]),
        ([123456.7], 4, ["123457"]),
        ([1e100, 1.0], 4, [" 1e+100", " 1e+00"]),
        ([], 4, []),
    ],
)
def test_significant(values, digits, text):
    found = significant(values, digits)
    assert [item.strip() for item in found] == [item.strip() for item in text]
    assert len({len(item) for item in found}) <= 1


def test_abbreviate():
    assert abbreviate(["(Intercept)", "recipeB", "recipeC:temp"], 6) == [
        "(Intr)", "recipB", "rcpC:t",
    ]  # fmt: skip
    assert abbreviate(["treatment1", "treatment2"], 6) == ["trtmn1", "trtmn2"]
    assert len(set(abbreviate(["SAMPLE_A_LONG_X", "SAMPLE_A_LONG_Y"], 5))) == 2
    assert abbreviate(["same", "same"], 2) == ["sm", "sm"]


def test_groups_of_the_same_factor_are_numbered(reference_lmer):
    fit = reference_lmer(reference.reference_fit("sleepstudy", "independent_ml"))
    assert " Subject.1 Days" in fit.summary()
    assert isinstance(fit.varcorr, pd.DataFrame)
