"""Prior weights of one response, one per row of its table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .errors import FormulaError
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
