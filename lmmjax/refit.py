"""The model of some fits, fitted again: by the other criterion or to other responses."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from .errors import FitWarning
from .modes import common_weights

if TYPE_CHECKING:
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


def _spread(values: np.ndarray, kept: np.ndarray, filler: float) -> np.ndarray:
    out = np.full((len(kept), *values.shape[1:]), filler)
    out[kept] = values
    return out
