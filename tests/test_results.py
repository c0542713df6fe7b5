"""Tables of a batch of fits."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import lmmjax
from lmmjax.errors import UnknownResponseError
from lmmjax.status import Status


def test_every_table_has_a_row_per_response(ragged):
    fits = ragged.fits
    names = ragged.Y.columns
    for name in (
        "sigma", "objective", "loglik", "df", "aic", "bic", "status", "converged", "singular",
        "n_iter", "gradient_norm", "min_hessian_eigenvalue",
    ):  # fmt: skip
        series = getattr(fits, name)
        assert isinstance(series, pd.Series) and series.name == name
        assert series.index.equals(names)
    assert fits.theta.shape == (12, 4) and list(fits.theta.columns) == list(fits.model.theta_names)
    assert list(fits.fixef.columns) == list(fits.std_errors.columns) == ["(Intercept)", "x", "fq"]
    assert fits.status_table().index.equals(names)
    assert len(fits) == 12


def test_statuses_and_what_they_mean_for_numbers(ragged):
    fits = ragged.fits
    assert fits.status["gene1"] == Status.CONSTANT_RESPONSE
    assert fits.status["gene2"] == Status.MISSING
    assert fits.status["gene6"] == Status.NONFINITE
    hopeless = ["gene1", "gene2", "gene6"]
    rest = names = ragged.Y.columns.drop(hopeless)
    assert fits.converged[names].all() and not fits.converged[hopeless].any()
    for table in (fits.theta, fits.fixef, fits.std_errors, fits.variance_partition()):
        assert table.loc[hopeless].isna().all(axis=None) and table.loc[rest].notna().all(axis=None)
    for series in (fits.sigma, fits.objective, fits.aic, fits.bic, fits.gradient_norm):
        assert series[hopeless].isna().all() and series[rest].notna().all()
    assert not fits.singular[hopeless].any()
    assert fits.n_obs.tolist() == ragged.Y.notna().sum().tolist()


def test_varcorr_agrees_with_the_single_fits(ragged):
    table = ragged.fits.varcorr
    assert list(table.columns) == ["response", "group", "name1", "name2", "vcov", "sdcor"]
    assert len(table) == 12 * 5
    for name in ("gene0", "gene7"):
        mine = table[table["response"] == name].drop(columns="response").reset_index(drop=True)
        pd.testing.assert_frame_equal(mine, ragged.fits[name].varcorr)


def test_take(ragged):
    part = ragged.weighted.take([4, 0])
    assert list(part.responses) == ["gene4", "gene0"]
    pd.testing.assert_frame_equal(part.theta, ragged.weighted.theta.iloc[[4, 0]])
    pd.testing.assert_frame_equal(part.varcorr, ragged.weighted.take([4, 0]).varcorr)
    assert part.singular.tolist() == ragged.weighted.singular.iloc[[4, 0]].tolist()
    assert part.weights is not None and part.weights.shape == (48, 2)
    assert len(ragged.fits.take([])) == 0


def test_one_response_by_name(ragged):
    assert ragged.fits["gene5"].response == "gene5"
    with pytest.raises(KeyError):
        ragged.fits["gene99"]
    twice = ragged.fits.take([0, 0])
    with pytest.raises(KeyError, match="several"):
        twice["gene0"]


def test_a_response_that_is_not_there(ragged):
    ragged, name = ragged.fits, ragged.fits.responses[0]
    with pytest.raises(UnknownResponseError, match=f"did you mean '{name}'"):
        ragged[f"{name}x"]
    with pytest.raises(KeyError, match="does not exist"):
        ragged[17]


def test_observations_by_response(ragged):
    ragged = ragged.fits
    assert ragged.n_obs.index.equals(ragged.responses)
    assert ragged.n_obs[ragged.responses[0]] == ragged.status_table()["n_obs"].iloc[0]


def test_repr_counts(ragged):
    text = repr(ragged.fits)
    assert text.startswith("FitBatch: 12 responses") and "9 converged" in text
    assert "REML" in text and " ML" in repr(ragged.weighted)


def test_singular_does_not_depend_on_the_units_of_a_covariate(sleepstudy):
    for unit in (1.0, 1e7, 1e-7):
        data = sleepstudy.assign(Days=sleepstudy["Days"] * unit)
        fits = lmmjax.compile("~ Days + (Days | Subject)", data).fit(data[["Reaction"]])
        assert not fits.singular.iloc[0]
        np.testing.assert_allclose(fits.theta.iloc[0, 2] * unit, 0.2309096, rtol=1e-5)


def test_responses_without_names(sleepstudy):
    fits = lmmjax.compile("~ Days + (1 | Subject)", sleepstudy).fit(
        sleepstudy[["Reaction"]].to_numpy()
    )
    assert fits[0].response == 0
    assert fits.ranef()["Subject"].shape == (1, 18)
