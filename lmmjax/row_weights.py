"""Prior weights of one response, one per row of its table."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pandas as pd

from .errors import FormulaError, LmmWarning, WeightError, warn
from .expression.align import AlignedExpression, align_weights


def row_weights(weights: Any, table: pd.DataFrame) -> np.ndarray | None:
    """Checked weights, (n_rows,)."""
    if weights is None:
        return None
    if isinstance(weights, str):
        if weights not in table.columns:
            raise FormulaError(f"there is no column {weights!r} to take the weights from")
        weights = table[weights]
    empty = AlignedExpression(np.empty((len(table), 1)), pd.Index(["y"]), table.index)
    values = align_weights(weights, empty, table)
    assert values is not None
    return values[:, 0] if values.ndim == 2 else values


def fit_weights(weights: Any, table: pd.DataFrame) -> np.ndarray | None:
    """Checked weights of a fit, (n_rows,), one of which at least is positive."""
    values = row_weights(weights, table)
    if values is not None and len(values) and not values.any():
        raise WeightError("all weights are zero, which leaves no observation to fit")
    return values


class Weighted(Protocol):
    """A fit, as far as weights of new observations go."""

    @property
    def weights(self) -> pd.Series | np.ndarray | None: ...


def prediction_weights(
    fit: Weighted, weights: Any, table: pd.DataFrame, own: bool
) -> pd.Series | np.ndarray | float:
    """Weights of new observations: as given, or what a warning says.

    ``own``: the observations are those of the fit.
    """
    if weights is not None:
        values = row_weights(weights, table)
        return 1.0 if values is None else values
    if fit.weights is None:
        return 1.0
    if own:
        told = "the weights of the fit are taken for new observations like those used"
    else:
        told = "the fit has weights; new observations are taken to have weight 1"
    warn(f"{told}; weights= says otherwise", LmmWarning)
    return fit.weights if own else 1.0
