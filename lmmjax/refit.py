"""The model of some fits, fitted again: by the other criterion or to other responses."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .errors import DTypeError, FitWarning, ShapeError
from .expression.align import align_expression
from .modes import common_weights

if TYPE_CHECKING:
    from .model import Model
    from .results import FitBatch


def refit(
    fits: FitBatch,
    values: np.ndarray | None = None,
    reml: bool | None = None,
    progress: bool | None = False,
) -> FitBatch:
    """Fit the same model again; what fails says so in its status, not in a warning.

    Parameters
    ----------
    fits
        Fitted responses.
    values
        (n, B) other responses at the design's observations; default: the same responses.
        Needs weights that the responses of ``fits`` share.
    reml
        Criterion; default: the same.
    progress
        Progress bar.

    Returns
    -------
    FitBatch
        With the names of the responses, where they are the same.
    """
    model, kept = fits.model, fits.model.design.kept
    weights = common_weights(fits)
    if weights is None:
        weights = fits.weights
    elif np.isnan(weights).any():
        weights = np.nan_to_num(weights)
    table = fits.raw_values if values is None else values
    if not kept.all():  # rows that the model drops again
        table = _spread(table, kept, np.nan)
        weights = None if weights is None else _spread(weights, kept, 1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)
        out = model.fit(
            table, reml=fits.reml if reml is None else reml, weights=weights, progress=progress
        )
    if values is None:
        out.responses = fits.responses
    return out


def response_values(model: Model, y: Any) -> np.ndarray:
    """One response at the design's observations, (n, 1).

    Parameters
    ----------
    model
        The model to be fitted again.
    y
        A Series is aligned by label, with the rows that the model uses or with all samples; an
        array (n,) is in the order of the rows used.

    Raises
    ------
    AlignmentError
        The labels of a Series are not those of the observations.
    ShapeError, DTypeError
        Not one value per observation, or no numbers.
    """
    design = model.design
    if isinstance(y, pd.Series):
        everything = len(y) == len(model.samples) != design.n
        names = model.samples if everything else design.observations
        values = align_expression(y, pd.DataFrame(index=names), name="y").values
        return values[design.kept] if everything else values
    if isinstance(y, str | bytes | dict) or np.ndim(y) == 0:
        raise DTypeError(
            f"y is the values of a response, one per observation ({design.n}), not {y!r}; "
            "give an array or a Series"
        )
    array = np.asarray(y)
    if array.dtype.kind not in "buif":
        raise DTypeError(f"y holds {array.dtype}, not real numbers; convert it to float")
    if array.shape not in ((design.n,), (design.n, 1)):
        told = f"{len(array)} values" if array.ndim == 1 else f"shape {array.shape}"
        raise ShapeError(
            f"y has {told}, the design {design.n}; fit.model.fit takes several responses"
        )
    return array.astype(float).reshape(-1, 1)


def _spread(values: np.ndarray, kept: np.ndarray, filler: float) -> np.ndarray:
    out = np.full((len(kept), *values.shape[1:]), filler)
    out[kept] = values
    return out
