"""Many tests at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def benjamini_hochberg(p_values: ArrayLike) -> np.ndarray:
    """Adjust p-values so that rejecting those below q keeps the false discovery rate below q.

    Parameters
    ----------
    p_values : array, shape (m,)
        NaN where there was no test; such entries do not count.

    Returns
    -------
    ndarray, shape (m,)
        The step-up adjusted p-values of Benjamini and Hochberg (1995), NaN where `p_values` is.

    Raises
    ------
    ValueError
        Values outside 0 to 1.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, float("nan"), 0.02])
    array([0.03, 0.04,  nan, 0.03])
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1:
        raise ValueError(f"p-values have shape {p.shape}; give one dimension")
    valid = np.flatnonzero(~np.isnan(p))
    if np.any((p[valid] < 0) | (p[valid] > 1)):
        raise ValueError("p-values lie outside 0 to 1")
    descending = valid[np.argsort(p[valid], kind="stable")[::-1]]
    rank = np.arange(len(valid), 0, -1)
    adjusted = np.full(len(p), np.nan)
    adjusted[descending] = np.minimum.accumulate(p[descending] * (len(valid) / rank))
    return adjusted
