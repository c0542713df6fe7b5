"""Conditional variances of the random effects of one response.

They are the diagonal blocks of sigma^2 Lambda (Lambda' Z'WZ Lambda + I)^-1 Lambda', in plain
NumPy.  The largest grouping factor is eliminated, so that its levels need no square matrix.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .modes import seen_cells
from .structure import triangle

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
    model, design = fits.model, fits.model.design
    layout, order = model.layout, model.order.engine_terms
    seen = seen_cells(fits, np.array([index]))[:, 0]
    weight = seen.astype(float)
    if fits.weights is not None:
        weight = np.where(seen, fits.weights[:, index], 0.0)
    theta, sigma = fits._theta[index][model.order.theta], float(fits._sigma[index])
    factors = [
        _factor(theta[part], q)
        for part, q in zip(layout.theta_slices, layout.term_sizes, strict=True)
    ]
    engine = [design.terms[k] for k in order]
    scaled = [term.z @ factor for term, factor in zip(engine, factors, strict=True)]
    first = len(layout.eliminated)
    dense = np.zeros((model.n, layout.n_dense))
    start = 0
    for term, zl in zip(engine[first:], scaled[first:], strict=True):
        for column in range(term.n_columns):
            dense[np.arange(model.n), start + term.codes * term.n_columns + column] = zl[:, column]
        start += term.n_levels * term.n_columns
    system = np.eye(layout.n_dense) + dense.T @ (weight[:, None] * dense)
    blocks: list[np.ndarray] = [np.empty(0)] * len(engine)
    if first:
        levels, q = engine[0].n_levels, layout.q
        zl, codes = np.concatenate(scaled[:first], axis=1), engine[0].codes
        own = np.tile(np.eye(q), (levels, 1, 1))
        np.add.at(own, codes, weight[:, None, None] * zl[:, :, None] * zl[:, None])
        cross = np.zeros((levels, q, layout.n_dense))
        for column in range(q):
            np.add.at(cross[:, column], codes, (weight * zl[:, column])[:, None] * dense)
        inverse = np.linalg.inv(own)
        pulled = inverse @ cross
        system -= np.einsum("lqi,lqj->ij", cross, pulled, optimize=True)
        full = inverse + pulled @ np.linalg.inv(system) @ np.swapaxes(pulled, 1, 2)
        start = 0
        for k, size in enumerate(layout.eliminated):
            part = slice(start, start + size)
            blocks[k], start = full[:, part, part], start + size
    start, rest = 0, np.linalg.inv(system)
    for k, (q, levels) in enumerate(layout.dense, start=first):
        stop = start + q * levels
        square = rest[start:stop, start:stop].reshape(levels, q, levels, q)
        blocks[k], start = square[np.arange(levels), :, np.arange(levels), :], stop
    out: list[np.ndarray] = [np.empty(0)] * len(engine)
    for k, (block, factor) in enumerate(zip(blocks, factors, strict=True)):
        out[order[k]] = sigma**2 * factor @ block @ factor.T
    return out


def _factor(theta: np.ndarray, q: int) -> np.ndarray:
    """Relative covariance factor (q, q) of one term."""
    out = np.zeros((q, q))
    for value, (i, j) in zip(theta, triangle(q), strict=True):
        out[i, j] = value
    return out
