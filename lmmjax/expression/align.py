"""Aligning expression values and weights with the sample table: by label, never by luck.

The result is always (observations x responses), observations in the order of the sample table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from lmmjax.errors import (
    AlignmentError,
    DTypeError,
    EmptyDataError,
    ShapeError,
    WeightError,
)
from lmmjax.expression.anndata_view import dense_values, is_anndata
from lmmjax.expression.labels import sample_axis, sample_order
from lmmjax.expression.names import duplicated_names, listing

SamplesIn = Literal["auto", "rows", "columns"]
_AXES = {"auto": None, "rows": 0, "columns": 1}


@dataclass(frozen=True)
class AlignedExpression:
    """Values ready to fit, with their labels.

    Attributes
    ----------
    values : ndarray of float64, shape (n_obs, n_responses), C order
        Missing and infinite cells are left as they are. May share memory with the input:
        not to be written to.
    responses : Index, length n_responses
    observations : Index, length n_obs
        The index of the sample table.
    """

    values: np.ndarray
    responses: pd.Index
    observations: pd.Index


def align_expression(
    Y: Any,
    samples: pd.DataFrame | None = None,
    *,
    layer: str | None = None,
    allow_duplicate_responses: bool = False,
    name: str = "Y",
    samples_in: SamplesIn = "auto",
) -> AlignedExpression:
    """Bring responses into the order of the sample table.

    Parameters
    ----------
    Y : DataFrame, Series, array or AnnData
        A DataFrame is aligned by label along whichever axis carries the sample names; a Series
        is one response; an array is (n_obs, n_responses), or (n_obs,), in the order of `samples`;
        an AnnData is observations x variables.
    samples : DataFrame
        One row per observation; its index holds the sample names. Optional for an AnnData,
        whose ``obs`` is the default.
    layer : str, optional
        Layer of an AnnData to take instead of ``X``.
    allow_duplicate_responses : bool
        Whether names of responses may repeat.
    name : str
        What messages call `Y`.
    samples_in : {"auto", "rows", "columns"}
        Where a DataFrame has the samples; ``"auto"`` goes by their names.

    Returns
    -------
    AlignedExpression

    Raises
    ------
    AlignmentError
        Neither axis, or both, carry the sample names; samples missing on either side; repeated
        names (listed, the first five).
    ShapeError
        An array with another number of observations than `samples`.
    DTypeError
        Columns that are not numeric, by name.
    EmptyDataError
        No observations.

    Examples
    --------
    >>> samples = pd.DataFrame({"age": [40, 51]}, index=["s1", "s2"])
    >>> Y = pd.DataFrame([[1.0, 2.0]], index=["gene"], columns=["s2", "s1"])
    >>> align_expression(Y, samples).values.ravel().tolist()
    [2.0, 1.0]
    """
    if samples is None:
        if not is_anndata(Y):
            raise AlignmentError("a sample table is needed: only an AnnData brings its own")
    table: pd.DataFrame = Y.obs if samples is None else samples
    names = table.index
    if len(names) == 0:
        raise EmptyDataError("the sample table has no rows")
    if layer is not None and not is_anndata(Y):
        raise AlignmentError(f"layer={layer!r} is for an AnnData; Y is a {type(Y).__name__}")
    if isinstance(Y, pd.DataFrame):
        values, responses = _aligned_frame(Y, names, name, samples_in)
    elif is_anndata(Y):
        order = sample_order(Y.obs_names, names, name)
        values, responses = dense_values(Y, layer, order), Y.var_names
    elif isinstance(Y, pd.Series):
        if not pd.api.types.is_numeric_dtype(Y.dtype):
            raise DTypeError(f"the response {Y.name!r} is not numeric ({Y.dtype})")
        order = sample_order(Y.index, names, name)
        values = Y.to_numpy(dtype=np.float64, na_value=np.nan)[order][:, np.newaxis]
        responses = pd.Index(["y" if Y.name is None else Y.name])
    else:
        values = _positional(Y, len(names), name)
        values = values[:, np.newaxis] if values.ndim == 1 else values
        responses = pd.RangeIndex(values.shape[1])
    if not allow_duplicate_responses and (duplicates := duplicated_names(responses)):
        raise AlignmentError(
            f"names of responses occur more than once: {listing(duplicates)}; "
            "make them unique or pass allow_duplicate_responses=True"
        )
    return AlignedExpression(np.ascontiguousarray(values), responses, names)


def align_weights(
    weights: Any,
    aligned: AlignedExpression,
    samples: pd.DataFrame,
    samples_in: SamplesIn = "auto",
) -> np.ndarray | None:
    """Bring prior weights into the shape and order of the aligned responses.

    Parameters
    ----------
    weights : None, Series, DataFrame or array
        One weight per observation (a Series by label, an array (n_obs,) by position), or one per
        observation and response (a DataFrame by label on both axes, whichever way round; an
        array (n_obs, n_responses) by position). 0 excludes an observation.
    aligned : AlignedExpression
        What :func:`align_expression` returned.
    samples : DataFrame
        The sample table.
    samples_in : {"auto", "rows", "columns"}
        Where a DataFrame of weights has the samples.

    Returns
    -------
    None, or ndarray of float64, shape (n_obs,) or (n_obs, n_responses)

    Raises
    ------
    WeightError
        A weight that is negative, missing or infinite; its cell is named.
    AlignmentError, ShapeError, DTypeError
        As :func:`align_expression`.

    Examples
    --------
    >>> samples = pd.DataFrame(index=["s1", "s2"])
    >>> aligned = align_expression(np.ones((2, 3)), samples)
    >>> align_weights(pd.Series({"s2": 0.5, "s1": 1.0}), aligned, samples)
    array([1. , 0.5])
    """
    if weights is None:
        return None
    names = samples.index
    n_obs, n_responses = aligned.values.shape
    if isinstance(weights, pd.DataFrame):
        values, responses = _aligned_frame(weights, names, "the table of weights", samples_in)
        values = _matching_responses(values, responses, aligned.responses)
    elif isinstance(weights, pd.Series):
        if not pd.api.types.is_numeric_dtype(weights.dtype):
            raise DTypeError(f"the weights {weights.name!r} are not numeric ({weights.dtype})")
        order = sample_order(weights.index, names, "the weights")
        values = weights.to_numpy(dtype=np.float64, na_value=np.nan)[order]
    else:
        values = _positional(weights, n_obs, "weights")
        if values.ndim == 2 and values.shape[1] != n_responses:
            raise ShapeError(
                f"weights have {values.shape[1]} columns, there are {n_responses} responses; "
                "pass one weight per observation, or one per observation and response"
            )
    values = np.ascontiguousarray(values)
    _check_weights(values, aligned)
    return values


def _check_weights(values: np.ndarray, aligned: AlignedExpression) -> None:
    # One pass when all is well: NaN fails both comparisons.
    if values.size == 0 or (values.min() >= 0 and values.max() < np.inf):
        return
    bad = np.argwhere(~((values >= 0) & (values < np.inf)))
    cell = tuple(bad[0])
    where = f"observation {aligned.observations[cell[0]]!r}"
    if values.ndim == 2:
        where += f", response {aligned.responses[cell[1]]!r}"
    more = f" ({len(bad)} such weights)" if len(bad) > 1 else ""
    raise WeightError(
        f"the weight of {where} is {values[cell]:g}{more}; weights have to be finite and >= 0"
    )


def _matching_responses(values: np.ndarray, responses: pd.Index, wanted: pd.Index) -> np.ndarray:
    if responses.equals(wanted):
        return values
    for index, what in ((responses, "the table of weights"), (wanted, "the responses")):
        if duplicates := duplicated_names(index):
            raise AlignmentError(
                f"names of responses occur more than once in {what}: {listing(duplicates)}; "
                "weights by label need unique names, or the same names in the same order"
            )
    order = responses.get_indexer(wanted)
    if (order < 0).any():
        raise AlignmentError(
            f"responses without weights: {listing(wanted[order < 0])}; "
            "give every response its weights"
        )
    if len(responses) > len(wanted):
        raise AlignmentError(
            "the table of weights has responses that are not fitted: "
            f"{listing(responses.difference(wanted, sort=False))}; leave them out"
        )
    return values[:, order]


def _aligned_frame(
    frame: pd.DataFrame, names: pd.Index, what: str, samples_in: SamplesIn
) -> tuple[np.ndarray, pd.Index]:
    """Values of a DataFrame, (n_obs, other axis), and the labels of the other axis."""
    if samples_in not in _AXES:
        raise AlignmentError(f"samples_in is {samples_in!r}; use 'auto', 'rows' or 'columns'")
    axis = sample_axis(frame, names, what, _AXES[samples_in])
    order = sample_order(frame.axes[axis], names, what)
    values = _numeric_values(frame, what)
    values = values if axis == 0 else values.T
    if not np.array_equal(order, np.arange(len(order))):
        out = np.empty(values.shape)
        np.take(values, order, axis=0, out=out, mode="clip")  # "raise" would buffer a second copy
        values = out
    return values, frame.axes[1 - axis]


def _numeric_values(frame: pd.DataFrame, what: str) -> np.ndarray:
    numeric = {t: pd.api.types.is_numeric_dtype(t) and t.kind != "c" for t in set(frame.dtypes)}
    if not all(numeric.values()):
        bad = [c for c, t in zip(frame.columns, frame.dtypes, strict=True) if not numeric[t]]
        raise DTypeError(
            f"columns of {what} that are not numeric: {listing(bad)}; "
            "drop them, or convert them with astype(float)"
        )
    return frame.to_numpy(dtype=np.float64, na_value=np.nan)


def _positional(value: Any, n_obs: int, what: str) -> np.ndarray:
    array = value.toarray() if hasattr(value, "toarray") else np.asarray(value)
    if array.dtype.kind not in "buif":
        raise DTypeError(f"{what} holds {array.dtype}, not real numbers; convert it to float")
    if array.ndim not in (1, 2):
        raise ShapeError(f"{what} has {array.ndim} dimensions; 1 or 2 are possible")
    if len(array) != n_obs:
        turned = array.ndim == 2 and array.shape[1] == n_obs
        raise ShapeError(
            f"{what} has {len(array)} rows, the sample table {n_obs}"
            + (f"; it is the other way round: pass {what}.T" if turned else "")
        )
    return array.astype(np.float64, copy=False)
