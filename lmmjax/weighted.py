"""Statistics of responses that have weights or missing values of their own.

A missing value is an observation of weight zero: it adds nothing to any cross-product, so
the response is fitted exactly as if the sample were not in the table.  Nothing but the
design is shared here; :mod:`lmmjax.crossproducts` is the cheaper path.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from . import linalg
from .array_library import jnp, lax
from .crossproducts import ROUNDING, power_of_two
from .prepare import Leaf, centre_columns, dense_columns, level_positions, scaled_terms
from .statistics import Blocked
from .structure import Layout

Array = jax.Array

#: A column of X whose squared length falls by this factor when the columns before it are
#: projected out (on the observations of one response) counts as collinear.
COLLINEAR = 1e-13
#: Columns up to which the products of any two are kept.
LISTED_PRODUCTS = 128


class WeightedArrays(NamedTuple):
    """Design-side arrays: ``a`` (n, m) = [dense Z, centred and scaled X], ``products``
    (n, m(m+1)/2) its columns' pairwise products (``None`` if they are very many),
    ``triangle`` (m, m) where each pair is."""

    a: Leaf
    products: Leaf
    triangle: Leaf
    z: Leaf
    row_level: Leaf
    positions: Leaf


def prepare_weighted(
    layout: Layout,
    x: np.ndarray,
    z: list[np.ndarray],
    codes: list[np.ndarray],
    n_levels: list[int],
    roots: Sequence[np.ndarray | None] | None = None,
) -> tuple[WeightedArrays, np.ndarray, tuple[np.ndarray, ...]]:
    """Arrays for :func:`weighted_statistics`, the transform of X and the scales of Z.

    X = centred @ transform with an upper triangular transform whose off-diagonal entries
    stand in the rows of the constant only: dropping columns of X drops the same of ``centred``.
    """
    n = x.shape[0]
    centred, shift = centre_columns(x)
    scale = np.sqrt(np.mean(centred**2, axis=0))
    scale[scale == 0] = 1.0
    z, z_scale = scaled_terms(z)
    n_elim = len(layout.eliminated)
    dense = dense_columns(z, codes, n_levels, roots, n_elim)
    a = np.concatenate([*dense, centred / scale], axis=1)
    row, col = np.tril_indices(layout.m)
    where = np.zeros((layout.m, layout.m), dtype=np.int32)
    where[row, col] = where[col, row] = np.arange(len(row))
    if n_elim:
        ze = np.concatenate(z[:n_elim], axis=1)
        code = codes[0]
        positions = level_positions(code, n_levels[0])
    else:
        ze, code = np.zeros((n, 0)), np.zeros(n, dtype=np.int32)
        positions = np.zeros((0, 0), dtype=np.int32)
    products = a[:, row] * a[:, col] if layout.m <= LISTED_PRODUCTS else None
    arrays = WeightedArrays(a, products, where, ze, code.astype(np.int32), positions)
    return arrays, scale[:, None] * shift, z_scale


def usable_columns(gram: Array) -> Array:
    """1.0 for each column that is not collinear with those before it: (p, B)."""
    p = gram.shape[0]
    length = jnp.stack([gram[j, j] for j in range(p)]) if p else jnp.zeros(gram.shape[1:])
    order = jnp.arange(p)[:, None]

    def step(j, carry):
        g, kept = carry
        column = g[j]
        pivot = column[j]
        use = pivot > COLLINEAR * length[j]
        scaled = jnp.where(use, column / jnp.where(use, pivot, 1.0), 0.0)
        kept = jnp.where(order == j, use.astype(g.dtype), kept)
        return g - column[:, None] * scaled[None], kept

    if p == 0:
        return length
    return lax.fori_loop(0, p, step, (gram, jnp.zeros_like(length)))[1]


def _cholesky(gram: Array) -> tuple[Array, Array]:
    """R with gram = R'R, and R^-T, both (q, q, ...); zero rows where a pivot vanishes."""
    q = gram.shape[0]
    if q == 1:
        root = jnp.sqrt(gram)
        return root, jnp.where(root > 0, 1.0 / jnp.where(root > 0, root, 1.0), 0.0)
    zero = jnp.zeros_like(gram[0, 0])
    lower = [[zero] * q for _ in range(q)]
    inverse = [[zero] * q for _ in range(q)]
    for j in range(q):
        pivot = gram[j, j] - sum((lower[j][k] ** 2 for k in range(j)), zero)
        use = pivot > COLLINEAR * gram[j, j]
        reciprocal = jnp.where(use, 1.0 / jnp.sqrt(jnp.where(use, pivot, 1.0)), 0.0)
        for i in range(j, q):
            rest = gram[i, j] - sum((lower[i][k] * lower[j][k] for k in range(j)), zero)
            lower[i][j] = rest * reciprocal
        for i in range(j):
            inverse[j][i] = (
                -sum((lower[j][k] * inverse[k][i] for k in range(i, j)), zero) * reciprocal
            )
        inverse[j][j] = reciprocal
    stack = lambda rows: jnp.stack([jnp.stack(row) for row in rows])  # noqa: E731
    return jnp.swapaxes(stack(lower), 0, 1), stack(inverse)


def weighted_statistics(
    layout: Layout, arrays: WeightedArrays, y: Array, w: Array
) -> tuple[Blocked, Array, Array, Array]:
    """Statistics of responses y (n, B) with weights w (n, B); w = 0 where y is missing.

    Returns the same as :func:`lmmjax.crossproducts.shared_statistics`; coefficients refer to
    the centred and scaled columns of X.
    """
    seen = w > 0
    y = jnp.where(seen, y, 0.0)
    peak = jnp.max(jnp.abs(y), axis=0)
    peak = power_of_two(peak)
    y = y / peak
    top = jnp.max(jnp.abs(y), axis=0)
    n_obs = jnp.sum(seen, axis=0).astype(y.dtype)
    if arrays.products is None:
        one = lambda weight: arrays.a.T @ (weight[:, None] * arrays.a)  # noqa: E731
        gram = jnp.moveaxis(lax.map(one, w.T), 0, -1)
    else:
        gram = (arrays.products.T @ w)[arrays.triangle]
    n_dense, m, q = layout.n_dense, layout.m, layout.q
    x = arrays.a[:, n_dense:]
    xx = gram[n_dense:, n_dense:]
    kept = usable_columns(xx)
    fixed = jnp.zeros((layout.p, y.shape[1]))
    for _ in range(2):
        xy = x.T @ (w * y)
        _, part, _, _ = linalg.sweep(0, xx, xy, jnp.zeros_like(peak), kept)
        y, fixed = jnp.where(seen, y - x @ part, 0.0), fixed + part
    size = jnp.sqrt(jnp.sum(w * y * y, axis=0) / jnp.where(n_obs > 0, n_obs, 1.0))
    mean_weight = jnp.sum(w, axis=0) / jnp.where(n_obs > 0, n_obs, 1.0)
    ratio = size / jnp.where(top > 0, top * jnp.sqrt(mean_weight), 1.0)
    ratio = jnp.where(ratio > ROUNDING, ratio, 0.0)
    size = jnp.where(size > 0, size, 1.0)
    y, fixed = y / size, fixed / size
    log_scale = jnp.log(peak) + jnp.log(size)
    common = {
        "n": n_obs,
        "rank": jnp.sum(kept, axis=0),
        "log_weights": jnp.sum(jnp.log(jnp.where(seen, w, 1.0)), axis=0),
        "kept": kept,
    }
    if not q:
        wy = w * y
        empty = jnp.zeros((0, 0, 0, 1))
        stats = Blocked(
            gram,
            arrays.a.T @ wy,
            jnp.sum(wy * y, axis=0),
            empty,
            empty,
            jnp.zeros((0, 0, 1)),
            **common,
        )
        return stats, fixed, log_scale, ratio
    levels, width = arrays.positions.shape
    padded = lambda v: jnp.concatenate([v, jnp.zeros_like(v[:1])])  # noqa: E731
    w_pad, wy_pad = padded(w), padded(w * y)
    z_pad, a_pad = padded(arrays.z), padded(arrays.a)

    def add_position(k, sums):
        zz, za, zy = sums
        rows = arrays.positions[:, k]
        weight, wy = w_pad[rows], wy_pad[rows]  # (L, B)
        z = z_pad[rows]  # (L, q)
        outer = (z[:, :, None] * z[:, None])[..., None]
        cross = (z[:, :, None] * a_pad[rows][:, None])[..., None]
        return (
            zz + outer * weight[:, None, None],
            za + cross * weight[:, None, None],
            zy + z[..., None] * wy[:, None],
        )

    batch = y.shape[1]
    sums = (
        jnp.zeros((levels, q, q, batch)),
        jnp.zeros((levels, q, m, batch)),
        jnp.zeros((levels, q, batch)),
    )
    zz, za, zy = lax.fori_loop(0, width, add_position, sums)
    root, inverse = _cholesky(jnp.moveaxis(zz, 0, 2))  # (q, q, L, B)
    rotated_y = jnp.stack(
        [sum(inverse[i, k] * zy[:, k] for k in range(i + 1)) for i in range(q)], axis=1
    )
    rotated_r = jnp.stack(
        [sum(inverse[i, k][:, None] * za[:, k] for k in range(i + 1)) for i in range(q)], axis=1
    )
    # level means (coefficients) of y taken out exactly, not by subtracting squares
    coefficients = jnp.stack(
        [sum(inverse[k, i] * rotated_y[:, k] for k in range(i, q)) for i in range(q)], axis=1
    )
    fitted = jnp.sum(arrays.z[..., None] * coefficients[arrays.row_level], axis=1)
    y = jnp.where(seen, y - fitted, 0.0)
    wy = w * y

    def take_out(level, within):
        r = rotated_r[level]
        for i in range(q):
            within = within - r[i][:, None] * r[i][None]
        return within

    stats = Blocked(
        lax.fori_loop(0, levels, take_out, gram),
        arrays.a.T @ wy,
        jnp.sum(wy * y, axis=0),
        jnp.moveaxis(root, 2, 0),
        rotated_r,
        rotated_y,
        **common,
    )
    return stats, fixed, log_scale, ratio
