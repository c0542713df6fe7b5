"""Two fits of the same responses, put in order, checked and compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lmmjax.errors import AlignmentError, FitWarning, NestingError, ShapeError, warn
from lmmjax.inference.information import boundary_information
from lmmjax.inference.mixture import (
    ChiBarSquare,
    bound_weights,
    chi2_sf,
    cone_weights,
    has_closed_form,
)
from lmmjax.inference.nesting import Nesting, check_nested, check_same_sigma, relationships_differ
from lmmjax.modes import common_weights

if TYPE_CHECKING:
    from lmmjax.results import FitBatch

#: A statistic that is negative by no more than this fraction of 1 + |log-likelihood| is the
#: end of two optimisations at one optimum: fits promise 1e-8 of the objective, and a statistic
#: this small (1e-4 for a log-likelihood of 100) has p = 1 for every practical purpose.
NEGATIVE = 1e-6
#: Statistics within this fraction are zero: rounding must not decide whether an estimate lies
#: on the boundary, where the mixture has its point mass.
ROUNDING = 1e-10


@dataclass(frozen=True)
class Comparison:
    """Likelihood-ratio tests, one per response; arrays of shape (m,).

    Attributes
    ----------
    smaller, larger : FitBatch
    loglik0, loglik1
        (Restricted) log-likelihoods, both in the larger model's coding of the fixed effects.
    chisq
        Twice their difference; negative where a fit has failed.
    df
        Difference in the number of parameters.
    p_chisq, p_value
        By the plain chi-square and by the right null; NaN unless `status` is ``"ok"``.
    null : list of str
        The right null in words.
    status : ndarray of object
        ``"ok"``; ``"failed_fit"``: a fit has not converged, or the larger model fits worse than
        the smaller; ``"not_estimable"``: on the values observed for this response the models
        are the same.
    """

    smaller: FitBatch
    larger: FitBatch
    loglik0: np.ndarray
    loglik1: np.ndarray
    chisq: np.ndarray
    df: np.ndarray
    p_chisq: np.ndarray
    p_value: np.ndarray
    null: list[str]
    status: np.ndarray


def in_order(first: FitBatch, second: FitBatch) -> tuple[FitBatch, FitBatch]:
    """The model with fewer parameters first."""
    designs = first.model.design, second.model.design
    check_same_sigma(*designs)
    counts = [f.model.n_parameters for f in (first, second)]
    if counts[0] == counts[1]:
        raise NestingError(
            f"{first.model.formula!r} and {second.model.formula!r} both have {counts[0]} "
            f"parameters, so neither is a special case of the other{relationships_differ(*designs)}"
        )
    return (first, second) if counts[0] < counts[1] else (second, first)


def check_comparable(first: FitBatch, second: FitBatch) -> None:
    """Check that two fits are of the same values at the same observations.

    Raises
    ------
    AlignmentError, ShapeError
        Responses, observations, values or weights differ.
    """
    if not first.responses.equals(second.responses):
        detail = f"{len(first.responses)} and {len(second.responses)}"
        if len(first.responses) == len(second.responses):
            where = int(np.flatnonzero(first.responses != second.responses)[0])
            pair = (first.responses[where], second.responses[where])
            detail = f"number {where + 1} is {pair[0]!r} and {pair[1]!r}"
        raise AlignmentError(
            f"the fits are of different responses ({detail}); fit both models to the same table"
        )
    observations = [fits.model.design.observations for fits in (first, second)]
    if not observations[0].equals(observations[1]):
        raise ShapeError(
            f"the fits use different observations ({len(observations[0])} and "
            f"{len(observations[1])}); where a covariate is missing, drop those samples for both "
            "models"
        )
    if not _same(first.raw_values, second.raw_values):
        raise ShapeError("the fits are of different values; fit both models to the same table")
    unequal = np.flatnonzero(first._n_obs != second._n_obs)
    if len(unequal):
        g = int(unequal[0])
        raise ShapeError(
            f"response {first.responses[g]!r} has {first._n_obs[g]} observations in one fit and "
            f"{second._n_obs[g]} in the other"
        )
    one = np.ones((1, 1))
    pair = [one if fits.weights is None else fits.weights for fits in (first, second)]
    shape = np.broadcast_shapes(pair[0].shape, pair[1].shape)
    if not _same(np.broadcast_to(pair[0], shape), np.broadcast_to(pair[1], shape)):
        raise ShapeError("the fits have different weights; fit both models with the same ones")


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    if a.__array_interface__ == b.__array_interface__:
        return True
    return np.array_equal(a, b, equal_nan=True)


def one_response(fits: FitBatch, index: int) -> FitBatch:
    """The fit of one response as a batch of its own."""
    total = len(fits.responses)
    rows = slice(index, index + 1)
    changes: dict[str, Any] = {"responses": fits.responses[rows]}
    for name, value in vars(fits).items():
        if not isinstance(value, np.ndarray) or name not in fits.__dataclass_fields__:
            continue
        if name in ("values", "raw_values", "weights"):
            changes[name] = np.broadcast_to(value, (len(value), total))[:, rows]
        else:
            changes[name] = value[rows]
    return replace(fits, **changes)


def compare(
    first: FitBatch,
    second: FitBatch,
    keep_not_converged: bool = False,
    reml_ok: bool = False,
) -> Comparison:
    """Compare the fits of two nested models, as they are.

    Raises
    ------
    NestingError
        Not nested; or one fit by REML and one not; or both by REML with different fixed
        effects, unless ``reml_ok``: then the criteria are compared as they stand.
    AlignmentError, ShapeError
        See :func:`check_comparable`.
    """
    check_comparable(first, second)
    small, large = in_order(first, second)
    nesting = check_nested(small.model.design, large.model.design)
    if small.reml != large.reml:
        raise NestingError(
            f"one model was fitted by REML ({(small if small.reml else large).model.formula!r}) "
            "and the other by ML, as lm fits are; fit both by ML (reml=False), or let anova do so "
            "with refit=True"
        )
    unlike = small.reml and not nesting.same_fixed
    if unlike and not reml_ok:
        raise NestingError(
            "REML fits with different fixed effects cannot be compared; fit both with reml=False, "
            "or let anova do so with refit=True (lrtest(..., reml_ok=True) shows their difference)"
        )
    shift = -0.5 * nesting.reml_shift if small.reml and not unlike else 0.0
    loglik = [small.loglik.to_numpy() + shift, large.loglik.to_numpy()]
    chisq = 2.0 * (loglik[1] - loglik[0])
    if unlike:  # as lmtest: neither criterion has to be the larger
        warn(
            "REML criteria of models with different fixed effects are likelihoods of different "
            "data, and their difference depends on the units of the covariates: no test is valid; "
            "fit both with reml=False",
            FitWarning,
        )
        chisq = np.abs(chisq)
    size = 1.0 + np.abs(loglik[1])
    usable = np.isfinite(chisq)
    negative = usable & (chisq < -NEGATIVE * size)
    chisq = np.where(negative | (chisq > ROUNDING * size), chisq, np.where(usable, 0.0, np.nan))
    if not keep_not_converged:
        usable &= small.converged.to_numpy() & large.converged.to_numpy()
    _warn_worse(int(np.sum(negative & usable)))
    status = np.where(usable & ~negative, "ok", "failed_fit").astype(object)

    rank = [_ranks(fits) for fits in (small, large)]
    df = rank[1] - rank[0] + nesting.new_parameters
    if (
        small.reml and not unlike
    ):  # missing values may leave fewer columns, and then no common coding
        comparable = rank[0] == rank[1]
        comparable &= (nesting.reml_shift == 0.0) | (rank[1] == large.model.design.rank)
        status[(status == "ok") & ~comparable] = "not_estimable"
    status[(status == "ok") & (df <= 0)] = "not_estimable"
    ok = status == "ok"
    tested = np.where(ok, chisq, np.nan)
    if unlike:
        p_value, null_text = np.full(len(df), np.nan), ["none"] * len(df)
    else:
        null = _null(small, large, nesting, df)
        p_value, null_text = null.sf(tested), null.text(len(df))
    return Comparison(
        smaller=small,
        larger=large,
        loglik0=loglik[0],
        loglik1=loglik[1],
        chisq=chisq,
        df=df,
        p_chisq=chi2_sf(tested, df),
        p_value=p_value,
        null=null_text,
        status=status,
    )


def _ranks(fits: FitBatch) -> np.ndarray:
    """Fixed effects estimated for each response (missing values may leave fewer)."""
    rank = fits._rank
    return np.where(np.isnan(rank), fits.model.design.rank, rank).astype(np.int64)


def _null(small: FitBatch, large: FitBatch, nesting: Nesting, df: np.ndarray) -> ChiBarSquare:
    cone = nesting.cone
    first = np.maximum(df - nesting.cone_dimension, 0)
    if not has_closed_form(cone):
        return ChiBarSquare(bound_weights(nesting.cone_dimension), first, exact=False)
    information = None
    if cone not in ((), (1,)):
        theta = np.where(np.isfinite(small._theta), small._theta, 0.0)
        information = boundary_information(
            nesting, large.model.design.X, theta, common_weights(large)
        )
    weights = cone_weights(information, cone)
    assert weights is not None  # has_closed_form said so
    return ChiBarSquare(weights, first)


def _warn_worse(count: int) -> None:
    if count:
        warn(
            f"the larger model fits {count} responses worse than the smaller one, so one of the "
            "two fits is not at its optimum; their status is 'failed_fit' and they have no p-value",
            FitWarning,
        )


def fixed_parts_differ(first: FitBatch, second: FitBatch) -> bool:
    """Whether REML fits have to be refitted by ML to be compared; NestingError if not nested."""
    small, large = in_order(first, second)
    return not check_nested(small.model.design, large.model.design).same_fixed


def table(result: Comparison, fdr: np.ndarray) -> pd.DataFrame:
    """Per-response table of a comparison."""
    parameters = [
        _ranks(fits) + fits.model.n_covariances for fits in (result.smaller, result.larger)
    ]
    return pd.DataFrame(
        {
            "loglik0": result.loglik0,
            "loglik1": result.loglik1,
            "df0": parameters[0],
            "df1": parameters[1],
            "chisq": result.chisq,
            "df": result.df,
            "p_chisq": result.p_chisq,
            "p_value": result.p_value,
            "fdr": fdr,
            "null": _few_texts(result.null),
            "status": _few_texts(result.status),
        },
        index=result.larger.responses,
    )


def _few_texts(column: Sequence[str] | np.ndarray) -> pd.Index:
    """A column of few different texts: pandas converts each of those once, not every row."""
    codes, texts = pd.factorize(np.asarray(column, dtype=object))
    return pd.Index(texts).take(codes)
