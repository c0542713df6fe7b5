"""Models with very many dense columns: only cross-products that are not zero are kept.

Where two crossed grouping factors have thousands of levels (students and teachers), most
pairs of levels never meet.  The rows At_l of the eliminated factor (see
:mod:`lmmjax.statistics`) are then sparse, and so is every matrix that is summed over its
levels; the reduced system itself fills up and goes to the matrix routines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse

from .derivatives import lambda_transpose_times
from .prepare import (
    Leaf,
    Prepared,
    constant_in_basis,
    level_positions,
    orthonormal_basis,
    rotate_levels,
    scaled_terms,
)
from .statistics import Sparse
from .structure import MANY_COLUMNS, Layout, triangle

Array = jax.Array

#: Pairs of columns that may be listed, about 20 bytes each.
MOST_PAIRS = 60_000_000


class SparseArrays(NamedTuple):
    """Design-side arrays (n observations, t dense random columns per observation).

    ``columns``, ``values`` (n, t): the dense random part of A by observation; everything
    else as in :class:`~lmmjax.prepare.SharedArrays` and
    :class:`~lmmjax.statistics.Sparse`.
    """

    basis: Leaf
    root_weight: Leaf
    columns: Leaf
    values: Leaf
    row_level: Leaf
    row_rotation: Leaf
    within_rr: Leaf
    root: Leaf
    entry_level: Leaf
    entry_column: Leaf
    entry_value: Leaf
    pair_level: Leaf
    pair_row: Leaf
    pair_column: Leaf
    pair_value: Leaf
    log_weights: Leaf
    constant: Leaf


def worth_it(
    layout: Layout,
    codes: list[np.ndarray],
    n_levels: list[int],
    roots: Sequence[np.ndarray | None],
) -> bool:
    """Whether a model (terms in engine order) has many dense columns that rarely meet."""
    if layout.n_dense < MANY_COLUMNS or not layout.q or any(r is not None for r in roots):
        return False
    per_level = np.zeros(n_levels[0])
    first = len(layout.eliminated)
    for (q, levels), code in zip(layout.dense, codes[first:], strict=True):
        met = np.unique(codes[0].astype(np.int64) * levels + code) // levels
        per_level += q * np.bincount(met, minlength=n_levels[0])
    per_level += layout.p
    pairs = np.sum(per_level * (per_level + 1)) / 2
    # a pair that is listed costs some ten times what it costs in a full matrix
    full = n_levels[0] * layout.m * (layout.m + 1) / 2
    return bool(pairs <= MOST_PAIRS and 10 * pairs < full)


def prepare_sparse(
    layout: Layout,
    x: np.ndarray,
    z: list[np.ndarray],
    codes: list[np.ndarray],
    n_levels: list[int],
    weights: np.ndarray | None,
) -> Prepared:
    """As :func:`lmmjax.prepare.prepare`, without ever forming Z."""
    n, n_elim = x.shape[0], len(layout.eliminated)
    root_weight = np.ones(n) if weights is None else np.sqrt(weights)
    basis, x_transform = orthonormal_basis(x, root_weight)
    z, z_scale = scaled_terms(z, root_weight)
    columns, values, start = [], [], 0
    for (q, levels), part, code in zip(layout.dense, z[n_elim:], codes[n_elim:], strict=True):
        columns.append(start + code[:, None].astype(np.int64) * q + np.arange(q))
        values.append(part)
        start += q * levels
    columns.append(np.broadcast_to(start + np.arange(layout.p), (n, layout.p)))
    column, value = np.concatenate(columns, axis=1), np.concatenate([*values, basis], axis=1)
    ze, code, levels = np.concatenate(z[:n_elim], axis=1), codes[0], n_levels[0]
    row_rotation, root = rotate_levels(ze, level_positions(code, levels))
    entries = _entries(layout, code, row_rotation, column, value)
    pairs = _pairs(layout, entries, levels)
    shape = (layout.m, layout.m)
    rows = np.broadcast_to(np.arange(n)[:, None], column.shape)
    a = scipy.sparse.csr_array((value.ravel(), (rows.ravel(), column.ravel())), (n, layout.m))
    within = (a.T @ a).toarray()
    for slot, (i, j) in enumerate(triangle(layout.q)):
        if i == j:  # At' At: the diagonal of the q x q matrices
            part = (pairs.value[:, slot], (pairs.row, pairs.column))
            lower = scipy.sparse.coo_array(part, shape).toarray()
            within -= lower + lower.T - np.diag(np.diag(lower))
    log_weights = 2.0 * np.sum(np.log(root_weight))
    random = column.shape[1] - layout.p
    arrays = SparseArrays(
        basis=basis,
        root_weight=root_weight,
        columns=column[:, :random].astype(np.int32),
        values=value[:, :random],
        row_level=code.astype(np.int32),
        row_rotation=row_rotation,
        within_rr=within,
        root=root,
        entry_level=entries.level.astype(np.int32),
        entry_column=entries.column.astype(np.int32),
        entry_value=entries.value,
        pair_level=pairs.level.astype(np.int32),
        pair_row=pairs.row.astype(np.int32),
        pair_column=pairs.column.astype(np.int32),
        pair_value=pairs.value,
        log_weights=np.asarray(log_weights),
        constant=constant_in_basis(basis, root_weight),
    )
    return Prepared(layout, arrays, x_transform, z_scale, False)


@dataclass(frozen=True)
class Entries:
    """What is not zero in the rows At_l: (E,) level and column, sorted, and (E, q) values."""

    level: np.ndarray
    column: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class Pairs:
    """Two columns (row >= column) that meet in a level, and their (N, a) products."""

    level: np.ndarray
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray


def _entries(
    layout: Layout,
    code: np.ndarray,
    row_rotation: np.ndarray,
    column: np.ndarray,
    value: np.ndarray,
) -> Entries:
    """Sum rotation times A over the observations of each level and column."""
    keys, place = np.unique(code[:, None].astype(np.int64) * layout.m + column, return_inverse=True)
    place = place.ravel()
    total = np.stack(
        [
            np.bincount(place, (row_rotation[:, i, None] * value).ravel(), len(keys))
            for i in range(layout.q)
        ],
        axis=1,
    )
    return Entries(keys // layout.m, keys % layout.m, total)


def _pairs(layout: Layout, entries: Entries, levels: int) -> Pairs:
    """All pairs of entries within a level, the later column first."""
    count = np.bincount(entries.level, minlength=levels)
    start = np.concatenate([[0], np.cumsum(count)[:-1]])
    within = np.arange(len(entries.level)) - start[entries.level]
    one = np.repeat(np.arange(len(entries.level)), within + 1)
    ends = np.cumsum(within + 1)
    other = (
        np.arange(len(one)) - np.repeat(ends - within - 1, within + 1) + start[entries.level[one]]
    )
    r = entries.value
    value = np.empty((len(one), len(triangle(layout.q))))
    for slot, (i, j) in enumerate(triangle(layout.q)):
        value[:, slot] = r[one, i] * r[other, j]
        if i != j:
            value[:, slot] += r[one, j] * r[other, i]
    return Pairs(entries.level[one], entries.column[one], entries.column[other], value)


def sparse_statistics(
    layout: Layout, arrays: SparseArrays, y: Array, size: Array, common: dict[str, Any]
) -> Sparse:
    """Statistics of responses (n, B) with the fixed effects taken out, divided by ``size``."""
    batch = y.shape[1]
    rotated_y = jnp.zeros((arrays.root.shape[0], layout.q, batch))
    rotated_y = rotated_y.at[arrays.row_level].add(arrays.row_rotation[:, :, None] * y[:, None])
    fitted = jnp.sum(arrays.row_rotation[:, :, None] * rotated_y[arrays.row_level], axis=1)
    left = y - fitted
    dense_ry = jnp.zeros((layout.n_dense, batch))
    dense_ry = dense_ry.at[arrays.columns].add(arrays.values[:, :, None] * left[:, None])
    within_ry = jnp.concatenate([dense_ry, arrays.basis.T @ left])
    return Sparse(
        within_rr=arrays.within_rr[..., None],
        within_ry=within_ry / size,
        within_yy=jnp.sum(left * left, axis=0) / size**2,
        root=arrays.root[..., None],
        entry_level=arrays.entry_level[:, None],
        entry_column=arrays.entry_column[:, None],
        entry_value=arrays.entry_value[..., None],
        pair_level=arrays.pair_level[:, None],
        pair_row=arrays.pair_row[:, None],
        pair_column=arrays.pair_column[:, None],
        pair_value=arrays.pair_value[..., None],
        rotated_y=rotated_y / size,
        **common,
    )


def absorb_at_once(
    layout: Layout, theta: Array, rr: Array, ry: Array, yy: Array
) -> tuple[Array, Array, Array, Array]:
    """As :func:`lmmjax.linalg.absorb`, by one Cholesky factor per response.

    With C = Z' V^-1 Z and L L' = I + Lambda' C Lambda, what is taken off A' V^-1 A is W'W,
    where W = L^-1 Lambda' Z' V^-1 A.
    """
    d = layout.n_dense
    batch = max(rr.shape[-1], theta.shape[-1])
    rr = jnp.broadcast_to(rr, (*rr.shape[:2], batch))
    ry = jnp.broadcast_to(ry, (ry.shape[0], max(batch, ry.shape[-1])))
    left = lambda_transpose_times(layout, theta, rr[:d])  # Lambda' Z' V^-1 A
    right = lambda_transpose_times(layout, theta, ry[:d])
    system = lambda_transpose_times(layout, theta, jnp.swapaxes(left[:, :d], 0, 1))

    def one(parts):
        system, left, right = parts
        root = jnp.linalg.cholesky(system + jnp.eye(d))
        solved = jax.scipy.linalg.solve_triangular(root, left, lower=True)
        shift = jax.scipy.linalg.solve_triangular(root, right, lower=True)
        logdet = 2.0 * jnp.sum(jnp.log(jnp.diagonal(root)))
        return solved.T @ solved, solved.T @ shift, shift.T @ shift, logdet

    if batch == 1:  # one matrix, any number of responses
        drr, dry, dyy, logdet = one((system[..., 0], left[..., 0], right))
        return rr - drr[..., None], ry - dry, yy - jnp.diagonal(dyy), logdet[None]
    parts = (jnp.moveaxis(system, -1, 0), jnp.moveaxis(left, -1, 0), jnp.moveaxis(right, -1, 0))
    drr, dry, dyy, logdet = jax.lax.map(one, parts)
    return rr - jnp.moveaxis(drr, 0, -1), ry - dry.T, yy - dyy, logdet
