import numpy as np
import pandas as pd
import pytest

import lmmjax
from lmmjax.datasets import load_sleepstudy
from lmmjax.errors import FitWarning, LmmWarning, RankWarning, RefitWarning, warn


def test_warning_from_elsewhere_is_about_the_caller():
    with pytest.warns(FitWarning, match="said here") as caught:
        warn("said here", FitWarning)
    assert caught[0].filename == __file__


@pytest.fixture(scope="module")
def table():
    table = load_sleepstudy()
    return table.assign(Twice=2.0 * table["Days"])


def doubled(table):
    lmmjax.lmer("Reaction ~ Days + Twice + (1 | Subject)", table)


def doubled_in_batch(table):
    lmmjax.compile("~ Days + Twice + (1 | Subject)", table.drop(columns="Reaction"))


def linear(table):
    lmmjax.lm("Reaction ~ Days + Twice", table)


@pytest.mark.parametrize("call", [doubled, doubled_in_batch, linear])
def test_design_warnings_point_at_the_call(table, call):
    with pytest.warns(RankWarning) as caught:
        call(table)
    assert {warning.filename for warning in caught} == {__file__}
    assert {warning.lineno for warning in caught} == {call.__code__.co_firstlineno + 1}


def test_fit_warnings_point_at_the_call(table):
    model = lmmjax.compile("~ Days + (1 | Subject)", table)
    values = pd.DataFrame({"a": table["Reaction"], "b": np.nan}, index=table.index)
    with pytest.warns(FitWarning) as caught:
        model.fit(values)
    assert [warning.filename for warning in caught] == [__file__]


def test_comparisons_point_at_the_call(table):
    small = lmmjax.lmer("Reaction ~ (1 | Subject)", table)
    large = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", table)
    with pytest.warns(RefitWarning) as caught:
        lmmjax.anova(small, large)
    assert [warning.filename for warning in caught] == [__file__]
    with pytest.warns(LmmWarning) as caught:
        lmmjax.lrtest(small, large, reml_ok=True)
    assert {warning.filename for warning in caught} == {__file__}
