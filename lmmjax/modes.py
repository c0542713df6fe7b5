"""Conditional modes of the random effects, and fitted values.

Given theta, the modes are the best linear unbiased predictors

    b = Psi Z' P y ,   fitted = X beta + Z b ,

computed from the same statistics as the deviance, for all responses by one compiled program.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax
import numpy as np
import pandas as pd

from . import batch, covariance
from .array_library import jnp
from .compiled import compiled
from .crossproducts import shared_statistics
from .derivatives import psi_times
from .deviance import evaluate
from .elimination import eliminate
from .prepare import SharedArrays
from .small_work import is_small
from .statistics import Blocked, Sparse, level_images
from .status import USABLE
from .structure import Layout
from .weighted import WeightedArrays, weighted_statistics

if TYPE_CHECKING:
    from .results import FitBatch

Array = jax.Array


@dataclass(frozen=True)
class Modes:
    """Conditional modes and linear predictors of some responses (B of them).

    Attributes
    ----------
    terms
        Per random-effects term, in the design's order, (B, levels, q) modes in units of the
        response; NaN for levels that the response has no observation of, and for responses
        without estimates.
    linear
        (n, B) X beta, without offset; NaN for responses without estimates.
    """

    terms: tuple[np.ndarray, ...]
    linear: np.ndarray


def _is_small(layout, arrays, y, weights, theta) -> bool:
    return is_small(layout, arrays, y.shape[1], evaluations=0.1)


@compiled("layout", unless=_is_small)
def modes_chunk(
    layout: Layout,
    arrays: SharedArrays | WeightedArrays,
    y: Array,
    weights: Array | None,
    theta: Array,
) -> tuple[Array, Array, Array]:
    """Modes of the columns of y (n, B) at theta (k, B), engine order and units of Z.

    Returns
    -------
    eliminated (levels, q, B), dense (n_dense, B), linear (n, B)
    """
    if isinstance(arrays, WeightedArrays):
        assert weights is not None
        stats, fixed, log_scale, _ = weighted_statistics(layout, arrays, y, weights)
        x = arrays.a[:, layout.n_dense :]
    else:
        stats, fixed, log_scale, _ = shared_statistics(layout, arrays, y)
        x = arrays.basis / arrays.root_weight[:, None]
    # Z'Py does not depend on REML, so one program serves both
    result = evaluate(layout, False, stats, theta)
    scale = jnp.exp(log_scale)
    linear = (x @ (fixed + result.fixed)) * scale
    dense = psi_times(layout, theta, result.dense_u)
    if not layout.q:
        return jnp.zeros((0, 0, y.shape[1])), dense * scale, linear
    assert isinstance(stats, Blocked | Sparse)
    w = jnp.concatenate([-dense, -result.fixed])
    left = stats.rotated_y + level_images(stats, w)
    hr = eliminate(layout, stats, theta).root_inverse  # (q, q, L, B)
    psi = covariance.eliminated_psi(layout, theta)
    q = layout.q
    pulled = [sum(hr[i, j] * left[:, i] for i in range(q)) for j in range(q)]
    modes = [sum(psi[i, j] * pulled[j] for j in range(q)) for i in range(q)]
    return jnp.stack(modes, axis=1) * scale, dense * scale, linear


def seen_cells(fits: FitBatch, columns: np.ndarray) -> np.ndarray:
    """(n, B) True where a response has a value and a positive weight."""
    seen = ~np.isnan(fits.values[:, columns])
    if fits.weights is not None:
        seen &= fits.weights[:, columns] > 0
    return seen


def common_weights(fits: FitBatch) -> np.ndarray | None:
    """The (n,) weights that all responses share, if they do."""
    weights = fits.weights
    if weights is None or not weights.shape[1]:
        return None
    if weights.shape[1] > 1 and weights.strides[1] and np.any(weights != weights[:, :1]):
        return None
    return np.ascontiguousarray(weights[:, 0])


def conditional_modes(fits: FitBatch, columns: np.ndarray | None = None) -> Modes:
    """Conditional modes of all responses, or of those at ``columns``.

    Parameters
    ----------
    fits
        Fitted responses.
    columns
        Positions of responses; default all.

    Returns
    -------
    Modes
    """
    model, design = fits.model, fits.model.design
    if columns is None:
        columns = np.arange(len(fits.responses))
    total = len(columns)
    linear = np.full((design.n, total), np.nan)
    terms = [np.full((total, t.n_levels, t.n_columns), np.nan) for t in design.terms]
    usable = USABLE[fits.status_codes[columns]]
    complete = seen_cells(fits, columns).all(axis=0)
    weights = common_weights(fits)
    shared = complete
    if fits.weights is not None and weights is None:
        shared = np.zeros_like(complete)
    # as in the fit: responses without estimates keep their lanes and the size of the program
    # depends on the table only, so that nobody's last bit depends on another's values
    for which in (np.flatnonzero(shared & usable), np.flatnonzero(~shared)):
        if not usable[which].any():
            continue
        if shared[which[0]]:
            prepared = model._prepare(weights, max_classes=-1)
            arrays, z_scale, matrix = prepared.arrays, prepared.z_scale, None
        else:
            arrays, _, z_scale = model.prepared_weighted
            matrix = fits.weights if fits.weights is not None else np.ones((1, 1))
            matrix = np.broadcast_to(matrix, fits.values.shape)
        found = _run(fits, columns[which], total, arrays, z_scale, matrix)
        good = usable[which]
        linear[:, which[good]] = found.linear[:, good]
        for target, modes in zip(terms, found.terms, strict=True):
            target[which[good]] = modes[good]
    return Modes(tuple(terms), linear)


def _run(
    fits: FitBatch,
    columns: np.ndarray,
    of_total: int,
    arrays: SharedArrays | WeightedArrays,
    z_scale: tuple[np.ndarray, ...],
    weights: np.ndarray | None,
) -> Modes:
    """Chunks of equal size through :func:`modes_chunk`, translated to the design's order.

    ``of_total``: number of responses asked for, of which ``columns`` share their statistics.
    """
    model, layout = fits.model, fits.model.layout
    n, total = model.n, len(columns)
    theta = fits._theta[columns][:, model.order.theta].T * model.theta_unit(z_scale)[:, None]
    doubles = fits.model_levels * layout.q * (2 + (layout.m if weights is not None else 0))
    size = batch.padded_size(of_total, batch.block_size(layout, n, doubles, None))
    eliminated = np.empty((fits.model_levels, layout.q, total))
    dense, linear = np.empty((layout.n_dense, total)), np.empty((n, total))
    with jax.enable_x64(True):
        arrays = jax.device_put(arrays)
        for start in range(0, total, size):
            part = slice(start, min(start + size, total))
            count = part.stop - start
            block, at = np.zeros((n, size)), np.zeros((layout.n_theta, size))
            block[:, :count] = fits.values[:, columns[part]]
            at[:, :count] = theta[:, part]
            used = None
            if weights is not None:
                used = np.zeros((n, size))
                used[:, :count] = weights[:, columns[part]]
                used[~np.isfinite(block)] = 0.0
                block[used == 0] = 0.0
            out = modes_chunk(layout, arrays, block, used, at)
            for target, leaf in zip((eliminated, dense, linear), out, strict=True):
                target[..., part] = np.asarray(leaf)[..., :count]
    terms = _by_term(fits, eliminated, dense, z_scale)
    if weights is not None:
        seen = seen_cells(fits, columns)
        for term, modes in zip(model.design.terms, terms, strict=True):
            present = np.zeros((term.n_levels, total), dtype=bool)
            np.logical_or.at(present, term.codes, seen)
            modes[~present.T] = np.nan
    return Modes(tuple(terms), linear)


def _by_term(
    fits: FitBatch, eliminated: np.ndarray, dense: np.ndarray, z_scale: tuple[np.ndarray, ...]
) -> list[np.ndarray]:
    """(B, levels, q) per term in the design's order and units, from the engine's."""
    layout, order = fits.model.layout, fits.model.order.engine_terms
    terms: list[np.ndarray] = [np.empty(0)] * len(order)
    start = 0
    for k, q in enumerate(layout.eliminated):
        modes = np.moveaxis(eliminated[:, start : start + q], 2, 0)
        terms[order[k]] = modes / z_scale[k]
        start += q
    start, first = 0, len(layout.eliminated)
    for k, (q, levels) in enumerate(layout.dense, start=first):
        modes = dense[start : start + q * levels].T.reshape(-1, levels, q)
        root = fits.model.design.terms[order[k]].root
        if root is not None:
            modes = np.einsum("lm,bmq->blq", root, modes)
        terms[order[k]] = modes / z_scale[k]
        start += q * levels
    return terms


# ---- tables ------------------------------------------------------------------------------


def effects_by_group(fits: FitBatch) -> dict[str, list[tuple[int, int, str]]]:
    """Grouping factor to its effects: (term, column, name), terms of one factor together."""
    groups: dict[str, list[tuple[int, int, str]]] = {}
    for k, term in enumerate(fits.model.design.terms):
        effects = [(k, column, name) for column, name in enumerate(term.columns)]
        groups.setdefault(term.group, []).extend(effects)
    return groups


def ranef_tables(fits: FitBatch) -> dict[str, pd.DataFrame]:
    """Per grouping factor: responses x (level, effect); see :meth:`FitBatch.ranef`."""
    modes = conditional_modes(fits)
    out = {}
    for group, effects in effects_by_group(fits).items():
        levels = fits.model.design.terms[effects[0][0]].levels
        stacked = np.stack([modes.terms[k][:, :, column] for k, column, _ in effects], axis=2)
        columns = pd.MultiIndex.from_product(
            [levels, [name for *_, name in effects]], names=[group, "effect"]
        )
        out[group] = pd.DataFrame(
            stacked.reshape(len(fits), -1), index=fits.responses, columns=columns
        )
    return out


def fitted_matrix(fits: FitBatch, modes: Modes, columns: np.ndarray) -> np.ndarray:
    """Fitted values (n, B), offset included; NaN where nothing was observed."""
    design = fits.model.design
    out = modes.linear.copy()
    for term, b in zip(design.terms, modes.terms, strict=True):
        for column in range(term.n_columns):
            out += term.z[:, column, None] * b[:, term.codes, column].T
    if design.offset is not None:
        out += design.offset[:, None]
    out[~seen_cells(fits, columns)] = np.nan
    return out
