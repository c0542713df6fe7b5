"""Conditional variances of the random effects of one response.

They are the diagonal blocks of sigma^2 Lambda (Lambda' Z'WZ Lambda + I)^-1 Lambda'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .mixed_model_equations import solve_equations

if TYPE_CHECKING:
    from .results import FitBatch


def conditional_covariances(fits: FitBatch, index: int) -> list[np.ndarray]:
    """Var(b | y) of one response at its estimates, beta taken as known.

    Parameters
    ----------
    fits
        Fitted responses.
    index
        Position of the response.

    Returns
    -------
    list of ndarray
        Per term, in the design's order, (levels, q, q) in squared units of the response.
    """
    layout, order = fits.model.layout, fits.model.order.engine_terms
    solved = solve_equations(fits, index, fixed=False)
    blocks: list[np.ndarray] = []
    if layout.q:
        full = solved.inverse + solved.pulled @ solved.rest @ np.swapaxes(solved.pulled, 1, 2)
        start = 0
        for size in layout.eliminated:
            part = slice(start, start + size)
            blocks.append(full[:, part, part])
            start += size
    start = 0
    first = len(layout.eliminated)
    for k, (q, levels) in zip(order[first:], layout.dense, strict=True):
        stop = start + q * levels
        square = solved.rest[start:stop, start:stop].reshape(levels, q, levels, q)
        root = fits.model.design.terms[k].root
        if root is None:
            blocks.append(square[np.arange(levels), :, np.arange(levels), :])
        else:
            blocks.append(np.einsum("la,aibj,lb->lij", root, square, root, optimize=True))
        start = stop
    out: list[np.ndarray] = [np.empty(0)] * len(blocks)
    variance = float(fits._sigma[index]) ** 2
    for k, (block, factor) in enumerate(zip(blocks, solved.factors, strict=True)):
        out[order[k]] = variance * factor @ block @ factor.T
    return out
