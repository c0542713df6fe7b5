"""Which work is too small to wait for a compiler."""

from __future__ import annotations

from typing import Any

import numpy as np

from .structure import FEW_RESPONSES, MANY_COLUMNS, Layout
from .weighted import WeightedArrays

#: What one turn of a loop over levels or columns takes NumPy, and one number in it: seconds.
TURN, NUMBER = 2e-5, 2e-9
#: Seconds of NumPy's that are shorter than a compiler's, for one evaluation of the deviance
#: with derivatives; a fit makes ten or twenty.
SHORT = 4e-3


def is_small(layout: Layout, arrays: Any, y: np.ndarray, evaluations: float = 1.0) -> bool:
    """Whether NumPy fits y (n, B) while a compiler would still be at work.

    ``evaluations``: how many are made, relative to a fit's.
    """
    batch = y.shape[1]
    if batch > FEW_RESPONSES or layout.n_dense >= MANY_COLUMNS or layout.m >= MANY_COLUMNS:
        return False
    if isinstance(arrays, WeightedArrays):
        levels, own = arrays.positions.shape[0], batch
    else:
        levels, own = getattr(arrays, "between_rr", arrays.root).shape[0], 1
        levels = levels or arrays.positions.shape[0]
    numbers = layout.m**2 * (layout.n_dense * batch + levels * own)
    return evaluations * (TURN * (layout.n_dense + levels) + NUMBER * numbers) < SHORT
