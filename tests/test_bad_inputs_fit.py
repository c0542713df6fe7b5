"""Bad responses and weights: one test per row of the table of bad inputs, named after its id.

The rows about designs are in test_design*.py, those about files in test_tables.py.
"""

import warnings
from typing import Any

import cases
import numpy as np
import pytest
from cases import fit_quietly, numbers

from lmmjax import batch, optimize
from lmmjax.errors import (
    AlignmentError,
    DTypeError,
    EmptyDataError,
    FitWarning,
    LmmError,
    NonFiniteError,
    ResponseError,
)
from lmmjax.fit import check_single
from lmmjax.results import FitBatch
from lmmjax.status import Status

BAD = 4  # column of the bad response
OTHERS = np.delete(np.arange(12), BAD)


def with_bad(values: Any) -> np.ndarray:
    y = cases.responses().copy()
    y[:, BAD] = values
    return y


def assert_failed(fits: FitBatch, status: str) -> None:
    """The bad response has its status and nothing else; the others are as without it."""
    assert fits.status.iloc[BAD] == status
    assert not fits.converged.iloc[BAD]
    assert not fits.singular.iloc[BAD]
    for key, value in numbers(fits).items():
        if key != "n_iter":
            assert np.isnan(value[BAD]).all(), key
    for table in (fits.loglik, fits.aic, fits.bic, fits.df, fits.min_hessian_eigenvalue):
        assert np.isnan(table.iloc[BAD])
    assert fits.varcorr.query("response == @fits.responses[@BAD]")["vcov"].isna().all()
    assert fits.variance_partition().iloc[BAD].isna().all()
    clean = fits.model.fit(cases.responses(), reml=fits.reml)
    for key, value in numbers(fits).items():
        np.testing.assert_array_equal(value[OTHERS], numbers(clean)[key][OTHERS], err_msg=key)
    assert (fits.status.iloc[OTHERS] == "converged").all()


@pytest.mark.parametrize("name", ["crossed", "linear"])
@pytest.mark.parametrize("value", [3.0, 0.1, 1e15, -1e-300])
def test_constant_y(name: str, value: float) -> None:
    with pytest.warns(FitWarning, match=r"1 of 12 responses.*1 constant_response"):
        fits = cases.model(name).fit(with_bad(value))
    assert_failed(fits, "constant_response")
    with pytest.raises(ResponseError, match="gene: constant_response"):
        check_single(Status.CONSTANT_RESPONSE, "gene")


def test_zero_y() -> None:
    assert_failed(fit_quietly(cases.model("crossed"), with_bad(0.0)), "constant_response")
    assert_failed(fit_quietly(cases.model("crossed"), with_bad(-0.0)), "constant_response")


def test_constant_where_observed() -> None:
    y = with_bad(3.0)
    y[7, BAD] = np.nan
    fits = fit_quietly(cases.model("crossed"), y)
    assert fits.status.iloc[BAD] == "constant_response"
    weights = np.ones_like(y)
    y[7, BAD], weights[7, BAD] = 5.0, 0.0
    fits = fit_quietly(cases.model("crossed"), y, weights=weights)
    assert fits.status.iloc[BAD] == "constant_response"


def test_nan_y() -> None:
    y = cases.responses().copy()
    y[[1, 30], BAD] = np.nan
    model = cases.model("crossed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits = model.fit(y)
    assert (fits.status == "converged").all()
    assert fits.n_obs.tolist() == [38 if g == BAD else 40 for g in range(12)]
    clean = model.fit(cases.responses())
    for key, value in numbers(fits).items():
        np.testing.assert_array_equal(value[OTHERS], numbers(clean)[key][OTHERS], err_msg=key)
    told = f"1 of 12 responses have missing values: {BAD} at 's1', 's30'"
    with pytest.raises(NonFiniteError, match=told):
        model.fit(y, na="raise")


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize("path", ["auto", "weighted"])
def test_inf_y(value: float, path) -> None:
    y = cases.responses().copy()
    y[3, BAD] = value
    fits = fit_quietly(cases.model("crossed"), y, path=path)
    if path == "auto":
        assert_failed(fits, "nonfinite")
    assert fits.status.iloc[BAD] == "nonfinite"
    y[4, BAD] = np.nan  # with a missing value beside it
    assert fit_quietly(cases.model("crossed"), y).status.iloc[BAD] == "nonfinite"
    with pytest.raises(NonFiniteError, match="gene: nonfinite"):
        check_single(Status.NONFINITE, "gene")


def test_inf_y_of_both_signs() -> None:
    y = cases.responses().copy()
    y[3, BAD], y[4, BAD] = np.inf, -np.inf
    assert_failed(fit_quietly(cases.model("crossed"), y), "nonfinite")


def test_all_nan_y() -> None:
    fits = fit_quietly(cases.model("crossed"), with_bad(np.nan))
    assert_failed(fits, "missing")
    assert fits.n_obs[BAD] == 0
    with pytest.raises(ResponseError, match="gene: missing"):
        check_single(Status.MISSING, "gene")


def test_too_few_observations() -> None:
    y = with_bad(np.nan)
    y[[0, 12], BAD] = [1.0, 2.0]
    assert_failed(fit_quietly(cases.model("crossed"), y), "too_few_observations")


def test_as_many_levels_as_observations() -> None:
    y = with_bad(np.nan)
    table = cases.samples()
    first = np.flatnonzero(~table["g"].duplicated())
    y[first, BAD] = np.arange(8.0) ** 2
    fits = fit_quietly(cases.model("crossed"), y)
    assert fits.status.iloc[BAD] == "too_few_observations"


def test_one_level_left() -> None:
    y = cases.responses().copy()
    y[cases.samples()["h"].to_numpy() != "h1", BAD] = np.nan
    fits = fit_quietly(cases.model("crossed"), y)
    assert fits.status.iloc[BAD] == "unidentifiable"


@pytest.mark.parametrize(
    ("name", "path"),
    [("one_term", "auto"), ("crossed", "auto"), ("crossed", "weighted"), ("crossed", "blocked"),
     ("slope", "auto"), ("slope", "weighted")],
)  # fmt: skip
def test_zero_resid_var(name: str, path) -> None:
    """y = X b + Z u exactly: the residual variance is zero, nothing can be inferred."""
    model = cases.model(name)
    rng = np.random.default_rng(1)
    y = model.design.X @ rng.normal(size=model.design.rank)
    for term in model.design.terms:
        effects = rng.normal(size=(term.n_levels, term.n_columns))
        y = y + np.sum(term.z * effects[term.codes], axis=1)
    fits = fit_quietly(model, with_bad(y), path=path)
    assert fits.status.iloc[BAD] == "zero_residual"
    if path == "auto":
        assert_failed(fits, "zero_residual")


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("path", ["auto", "weighted"])
@pytest.mark.parametrize("name", ["crossed", "linear"])
def test_perfect_fixed_fit(name: str, path, scale: float) -> None:
    model = cases.model(name)
    y = scale * model.design.X @ np.linspace(1.0, 2.0, model.design.rank)
    fits = fit_quietly(model, with_bad(y), path=path)
    assert fits.status.iloc[BAD] == "zero_residual"
    assert np.isnan(fits.theta.iloc[BAD]).all() and np.isnan(fits.sigma.iloc[BAD])


def test_nearly_perfect_fit_is_fitted() -> None:
    """Residuals of 1e-6 of the response are data, not rounding."""
    model = cases.model("crossed")
    noise = cases.responses()[:, BAD]
    y = 1e6 * (model.design.X @ np.array([1.0, 2.0])) + noise
    fits = model.fit(with_bad(y))
    assert (fits.status == "converged").all()
    clean = model.fit(cases.responses())
    np.testing.assert_allclose(fits.sigma.iloc[BAD], clean.sigma.iloc[BAD], rtol=1e-7)


@pytest.mark.parametrize("path", ["auto", "weighted", "blocked", "spectral"])
def test_boundary(path) -> None:
    """Negative intraclass correlation: theta exactly zero, flagged, and no warning."""
    table = cases.samples()
    y = cases.responses().copy()
    codes = cases.pd.factorize(table["g"])[0]
    for level in range(8):
        rows = codes == level
        for _ in range(2):
            y[rows] -= y[rows].mean(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits = cases.lmmjax.compile("~ (1|g)", table).fit(y, path=path)
    assert (fits.theta.to_numpy() == 0.0).all()
    assert fits.singular.all() and fits.converged.all()
    assert (fits.status == "converged").all()
    assert (fits.gradient_norm == 0.0).all()
    assert (fits.min_hessian_eigenvalue > 0).all()
    assert (fits.variance_partition()["g"] == 0.0).all()
    assert "12 singular" in repr(fits)


def test_boundary_of_a_vector_term() -> None:
    """A correlation of one: singular, converged, not a failure."""
    rng = np.random.default_rng(0)
    table = cases.balanced()
    subject = np.repeat(np.arange(18), 10)
    effect = rng.normal(size=18)
    days = table["Days"].to_numpy()
    y = effect[subject] * (1 + 0.5 * days) + 0.5 * rng.normal(size=180)
    fits = cases.lmmjax.compile("~ Days + (Days|Subject)", table).fit(y[:, None])
    assert fits.status.iloc[0] == "converged"
    correlation = fits.varcorr["sdcor"].iloc[2]
    assert correlation > 0.9
    assert fits.singular.iloc[0] == (fits.theta.iloc[0, 2] < 1e-4)


def test_offset_1e8() -> None:
    model, y = cases.model("crossed"), cases.responses()
    one, other = model.fit((y + 1e8) - 1e8), model.fit(y + 1e8)
    np.testing.assert_allclose(one.sigma, other.sigma, rtol=1e-6)
    np.testing.assert_allclose(one.theta.to_numpy(), other.theta.to_numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("scale", [1e-12, 1e12, 1e160, 1e-170])
def test_scale_of_y(scale: float) -> None:
    """Rows scale_1e-12, scale_1e12, scale_1e160 and scale_1e-170."""
    model = cases.model("crossed")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fits = model.fit(cases.responses() * scale)
        assert (fits.status == "converged").all()
        expected = model.fit(cases.responses())
        np.testing.assert_allclose(fits.theta.to_numpy(), expected.theta.to_numpy(), atol=1e-10)
        np.testing.assert_allclose(fits.sigma / scale, expected.sigma, rtol=1e-10)
        assert np.isfinite(fits.objective).all()
        assert np.isfinite(fits.variance_partition().to_numpy()).all()
        assert np.isfinite(fits.varcorr["sdcor"]).all()


@pytest.mark.parametrize("value", [1e308, 5e-324])
def test_scale_at_the_end_of_float64(value: float) -> None:
    """Fitted, or a status; never a silent wrong number and never a crash."""
    y = with_bad(0.0)
    y[:, BAD] = np.where(np.arange(40) % 3 == 0, value, -value)
    fits = fit_quietly(cases.model("crossed"), y)
    if fits.status.iloc[BAD] == "converged":
        signs = with_bad(np.sign(y[:, BAD]))
        expected = cases.model("crossed").fit(signs)
        np.testing.assert_allclose(fits.theta.iloc[BAD], expected.theta.iloc[BAD], atol=1e-6)
    else:
        assert fits.status.iloc[BAD] in ("overflow", "constant_response", "zero_residual")
        assert fits.theta.iloc[BAD].isna().all()


def test_no_convergence(monkeypatch: pytest.MonkeyPatch) -> None:
    """An iteration cap that is hit is said; what was reached is reported."""
    monkeypatch.setattr(batch, "FIRST_TRIPS_SCALAR", 1)
    monkeypatch.setattr(batch, "MAX_ITER", 1)
    model = cases.model("crossed")
    with pytest.warns(FitWarning, match="not_converged"):
        fits = model.fit(cases.responses())
    capped = (fits.status == "not_converged").to_numpy()
    assert capped.any()
    assert not fits.converged[capped].any()
    assert np.isfinite(fits.objective[capped]).all()
    assert np.isfinite(fits.gradient_norm[capped]).all()
    assert (fits.gradient_norm[capped] > 1e-8).all()
    assert (fits.n_iter[capped] >= 1).all()
    monkeypatch.undo()
    best = model.fit(cases.responses())
    assert (fits.objective[capped] >= best.objective[capped] - 1e-9).all()


def test_verification_decides_about_convergence(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no step may promise anything at all, nothing counts as converged."""
    monkeypatch.setattr(optimize, "VERIFIED_DECREASE", -1.0)
    fits = fit_quietly(cases.model("crossed"), cases.responses())
    assert (fits.status == "not_converged").all()


def test_poisoned_batch() -> None:
    """See test_batch.py for the shares from 1 to 50 percent; here the counts of the warning."""
    y = cases.responses().copy()
    y[:, 0], y[3, 1], y[:, 2] = np.nan, np.inf, 7.0
    with pytest.warns(FitWarning) as caught:
        fits = cases.model("crossed").fit(y)
    assert len(caught) == 1
    assert "3 of 12 responses" in str(caught[0].message)
    for part in ("1 missing", "1 nonfinite", "1 constant_response"):
        assert part in str(caught[0].message)
    clean = cases.model("crossed").fit(cases.responses())
    np.testing.assert_array_equal(fits.objective[3:], clean.objective[3:])


def test_empty_responses() -> None:
    fits = cases.model("crossed").fit(np.zeros((40, 0)))
    assert len(fits.status) == len(fits.fixef) == len(fits.varcorr) == 0
    table = fits.status_table()
    assert len(table) == 0 and "gradient_norm" in table.columns


def test_wrong_shapes_and_types() -> None:
    model = cases.model("crossed")
    with pytest.raises(LmmError, match="40"):
        model.fit(np.zeros((39, 2)))
    with pytest.raises(DTypeError):
        model.fit(np.full((40, 2), "a", dtype=object))
    with pytest.raises(LmmError):
        model.fit(cases.responses(), weights=np.ones((40, 3)))
    with pytest.raises((AlignmentError, EmptyDataError)):
        model.fit(cases.pd.DataFrame(np.zeros((40, 2))))


@pytest.mark.parametrize("name", ["crossed", "linear"])
def test_near_copies_of_a_constant(name: str) -> None:
    """One cell differs: fitted or given a status, but finite wherever it says converged."""
    y = with_bad(3.0)
    y[11, BAD] = 3.0 + 1e-9
    fits = fit_quietly(cases.model(name), y)
    if fits.status.iloc[BAD] == "converged":
        assert np.isfinite(fits.objective.iloc[BAD]) and fits.sigma.iloc[BAD] > 0
