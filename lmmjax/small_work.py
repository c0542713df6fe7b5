"""Which work is too small to wait for a compiler."""

from __future__ import annotations

from typing import Any

from .sparse import SparseArrays
from .structure import FEW_RESPONSES, MANY_COLUMNS, Layout, triangle
from .weighted import WeightedArrays

#: What one turn of a loop over levels or columns takes NumPy, and one number in it: seconds.
TURN, NUMBER = 2e-5, 2e-9
#: Seconds of NumPy's that are shorter than a compiler's, for one evaluation of the deviance
#: with derivatives, and how many of them a fit makes, about.
SHORT, EVALUATIONS = 4e-3, 10


def is_small(layout: Layout, arrays: Any, responses: int, evaluations: float = 1.0) -> bool:
    """Whether NumPy fits so many responses while a compiler would still be at work.

    ``evaluations``: how many are made, relative to a fit's.
    """
    if responses > FEW_RESPONSES or layout.m >= MANY_COLUMNS or isinstance(arrays, SparseArrays):
        return False
    levels, width = arrays.positions.shape
    blocks = levels * len(triangle(layout.q))
    if isinstance(arrays, WeightedArrays):
        turns, own, once = blocks, responses, width
    else:
        turns, own, once = arrays.between_rr.shape[0] or blocks, 1, 0
    numbers = layout.m**2 * (layout.n_dense * responses + turns * own)
    each = TURN * (layout.n_dense + turns) + NUMBER * numbers
    return evaluations * each + TURN * once / EVALUATIONS < SHORT
