"""Sufficient statistics of the responses and the reduced system they assemble to.

With A = [dense random effects, fixed effects, response], eliminating the largest grouping
factor with relative covariance Psi leaves the reduced system

    A' V_e^-1 A = W + sum_l  At_l' (I + R_l Psi R_l')^-1 At_l ,

where, within level l, Z_l = Q_l R_l, At_l = Q_l' A, and W collects the cross-products of
what is left of A within levels.  Every summand is positive semi-definite, so nothing cancels,
however large Psi.  Levels with equal R_l share their inverse and are summed beforehand
(:class:`Compressed`); otherwise the At_l are kept (:class:`Blocked`), where A has very many
columns only their entries that are not zero (:class:`Sparse`).

``variance`` is the residual variance where it is known, in squared units of the response as
the statistics have it.  Arrays have the response axis last; that axis has length 1 where
responses share the value.
"""

from __future__ import annotations

from typing import NamedTuple

import jax

from .array_library import jnp, lax
from .linalg import _row, product
from .structure import triangle

Array = jax.Array


class Compressed(NamedTuple):
    """Statistics summed over levels with equal within-level cross-product.

    ``within_*``: W; ``root`` (D, q, q, 1): R of each class; ``count`` (D, 1): its levels;
    ``between_rr`` (D a, m, m, 1), ``between_ry`` (D a, m, B), ``between_yy`` (D a, B): sums
    of At' At over the class, one per entry a of the lower triangle of its q x q inverse.
    """

    within_rr: Array
    within_ry: Array
    within_yy: Array
    root: Array
    count: Array
    between_rr: Array
    between_ry: Array
    between_yy: Array
    n: Array
    rank: Array
    log_weights: Array
    kept: Array | None
    variance: Array | None = None


class Blocked(NamedTuple):
    """Statistics level by level: ``root`` (L, q, q, .), ``rotated_r`` (L, q, m, .),
    ``rotated_y`` (L, q, B) hold R_l and the rows of At_l."""

    within_rr: Array
    within_ry: Array
    within_yy: Array
    root: Array
    rotated_r: Array
    rotated_y: Array
    n: Array
    rank: Array
    log_weights: Array
    kept: Array | None
    variance: Array | None = None


class Sparse(NamedTuple):
    """Level by level, of the rows of At_l only what is not zero: for many dense columns.

    ``entry_*`` (E, .): level, column and the q entries of At_l that stand there.  ``pair_*``
    (N, .): for every two columns that meet in a level, row >= column, the entries of At' At,
    one per entry a of the lower triangle of the level's q x q inverse.
    """

    within_rr: Array
    within_ry: Array
    within_yy: Array
    root: Array
    entry_level: Array
    entry_column: Array
    entry_value: Array
    pair_level: Array
    pair_row: Array
    pair_column: Array
    pair_value: Array
    rotated_y: Array
    n: Array
    rank: Array
    log_weights: Array
    kept: Array | None
    variance: Array | None = None


Statistics = Compressed | Blocked | Sparse


#: Numbers in the statistics of one response that may be repeated for every start.
FEW_NUMBERS = 1 << 17


def is_alone(stats: Statistics) -> bool:
    """Whether there is one response only, small enough to stand in several lanes."""
    numbers = sum(leaf.size for leaf in jax.tree.leaves(stats))
    return stats.within_yy.shape[-1] == 1 and numbers <= FEW_NUMBERS


def side_by_side(stats: Statistics, count: int) -> Statistics:
    """``count`` lanes of the statistics of one response."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*leaf.shape[:-1], count)), stats)


def level_count(stats: Statistics) -> Array:
    """Levels behind each class, (D, 1)."""
    if isinstance(stats, Compressed):
        return stats.count
    return jnp.ones((stats.root.shape[0], 1))


def _outer_parts(stats: Blocked, level, i: int, j: int):
    """Symmetrised products of rows i and j of At_l: (rr, ry, yy)."""
    r, y = _row(stats.rotated_r, level), _row(stats.rotated_y, level)
    rr = r[i][:, None] * r[j][None]
    ry = r[i] * y[j]
    yy = y[i] * y[j]
    if i != j:
        rr = rr + r[j][:, None] * r[i][None]
        ry = ry + r[j] * y[i]
        yy = 2.0 * yy
    return rr, ry, yy


def combine(stats: Statistics, weights: Array, include_within: bool) -> tuple[Array, Array, Array]:
    """Weighted sum of the between-level matrices: (m, m, .), (m, B), (B).

    ``weights`` (D, a, batch) are lower triangles of symmetric q x q matrices, one per class.
    """
    if isinstance(stats, Sparse):
        return _combine_sparse(stats, weights, include_within)
    classes, entries = weights.shape[:2]
    m = stats.within_rr.shape[0]
    batch = weights.shape[-1]
    zero_rr = jnp.zeros((m, m, max(batch, stats.within_rr.shape[-1])))
    if include_within:
        start = (stats.within_rr + zero_rr, stats.within_ry, stats.within_yy)
    else:
        start = (zero_rr, jnp.zeros_like(stats.within_ry), jnp.zeros_like(stats.within_yy))
    if classes == 0:
        return start
    if isinstance(stats, Compressed):
        flat = weights.reshape(classes * entries, batch)

        def add(c, total):
            rr, ry, yy = total
            w = _row(flat, c)
            return (
                rr + w * _row(stats.between_rr, c),
                ry + w * _row(stats.between_ry, c),
                yy + w * _row(stats.between_yy, c),
            )

        if classes * entries <= 4:
            for c in range(classes * entries):
                start = add(c, start)
            return start
        return lax.fori_loop(0, classes * entries, add, start)

    pairs = triangle(stats.root.shape[1])

    def add_level(level, total):
        rr, ry, yy = total
        w = _row(weights, level)
        for a, (i, j) in enumerate(pairs):
            part = _outer_parts(stats, level, i, j)
            rr, ry, yy = rr + w[a] * part[0], ry + w[a] * part[1], yy + w[a] * part[2]
        return rr, ry, yy

    return lax.fori_loop(0, classes, add_level, start)


def _combine_sparse(
    stats: Sparse, weights: Array, include_within: bool
) -> tuple[Array, Array, Array]:
    q, m = stats.root.shape[1], stats.within_rr.shape[0]
    at_pair = weights[stats.pair_level[:, 0]]  # (N, a, B)
    lower = jnp.zeros((m, m, weights.shape[-1]))
    lower = lower.at[stats.pair_row[:, 0], stats.pair_column[:, 0]].add(
        jnp.sum(at_pair * stats.pair_value, axis=1)
    )
    diagonal = jnp.eye(m)[:, :, None] * lower
    rr = lower + jnp.swapaxes(lower, 0, 1) - diagonal
    y = stats.rotated_y
    ry = _into_columns(stats, _weighted(weights, y, q))
    yy = jnp.zeros_like(stats.within_yy)
    for a, (i, j) in enumerate(triangle(q)):
        yy = yy + (1.0 if i == j else 2.0) * jnp.sum(weights[:, a] * y[:, i] * y[:, j], axis=0)
    if include_within:
        return rr + stats.within_rr, ry + stats.within_ry, yy + stats.within_yy
    return rr, ry, yy


def _weighted(weights: Array, rows: Array, q: int) -> Array:
    """The symmetric q x q matrices with lower triangles ``weights`` times (L, q, B) rows."""
    out = [jnp.zeros_like(rows[:, 0])] * q
    for a, (i, j) in enumerate(triangle(q)):
        out[i] = out[i] + weights[:, a] * rows[:, j]
        if i != j:
            out[j] = out[j] + weights[:, a] * rows[:, i]
    return jnp.stack(out, axis=1)


def _into_columns(stats: Sparse, rows: Array) -> Array:
    """sum_l At_l' rows_l: (m, B) from (L, q, B)."""
    terms = jnp.sum(stats.entry_value * rows[stats.entry_level[:, 0]], axis=1)
    out = jnp.zeros((stats.within_rr.shape[0], rows.shape[-1]))
    return out.at[stats.entry_column[:, 0]].add(terms)


def level_images(stats: Blocked | Sparse, w: Array) -> Array:
    """At_l w for every level: (L, q, B), without the response's column."""
    if isinstance(stats, Sparse):
        terms = stats.entry_value * w[stats.entry_column[:, 0]][:, None]
        out = jnp.zeros((stats.root.shape[0], *terms.shape[1:]))
        return out.at[stats.entry_level[:, 0]].add(terms)
    if stats.rotated_r.shape[-1] == 1:
        return stats.rotated_r[..., 0] @ w
    return jnp.einsum("lqmb,mb->lqb", stats.rotated_r, w)


class Contracted(NamedTuple):
    """Contractions of every between-level matrix S (symmetrised over its entry a).

    ``trace`` (D, a, B): tr(inner S_rr); ``quad`` (D, a, B): [w; 1]' S [w; 1]; ``image``
    (D, a, m, B): S [w; 1] without its last row, or for :class:`Sparse` (L, q, B) what its
    levels make of [w; 1] (see :func:`between_image`).
    """

    trace: Array
    quad: Array
    image: Array


def between_image(stats: Statistics, weights: Array, image: Array) -> Array:
    """(sum of weights S) [w; 1] without its last row, (m, B), from ``Contracted.image``."""
    if isinstance(stats, Sparse):
        return _into_columns(stats, _weighted(weights, image, stats.root.shape[1]))
    return jnp.sum(weights[:, :, None] * image, axis=(0, 1))


def _contract_sparse(stats: Sparse, inner: Array, w: Array) -> Contracted:
    q, rows = stats.root.shape[1], inner.shape[0]
    row, column = stats.pair_row[:, 0], stats.pair_column[:, 0]
    double = jnp.where(row == column, 1.0, 2.0) * (row < rows)
    met = inner[jnp.minimum(row, rows - 1), jnp.minimum(column, rows - 1)]
    terms = stats.pair_value * (double[:, None] * met)[:, None]
    trace = jnp.zeros((stats.root.shape[0], *terms.shape[1:]))
    trace = trace.at[stats.pair_level[:, 0]].add(terms)
    residual = level_images(stats, w) + stats.rotated_y
    quad = [(1.0 if i == j else 2.0) * residual[:, i] * residual[:, j] for i, j in triangle(q)]
    return Contracted(trace, jnp.stack(quad, axis=1), residual)


def contract(stats: Statistics, inner: Array, w: Array) -> Contracted:
    """Contract every S with a symmetric ``inner`` (r, r, B), r <= m leading columns, and w.

    ``w`` (m, B) multiplies the first m columns, 1 the response.  Entries a off the diagonal
    stand for both triangles.
    """
    if isinstance(stats, Sparse):
        return _contract_sparse(stats, inner, w)
    q = stats.root.shape[1]
    pairs = triangle(q)
    rows = inner.shape[0]
    if isinstance(stats, Compressed):
        total, m, _, _ = stats.between_rr.shape
        flat = stats.between_rr[..., 0]  # shared by all responses: true matrix products
        trace = flat[:, :rows, :rows].reshape(total, rows**2) @ inner.reshape(
            rows**2, inner.shape[-1]
        )
        image = (flat.reshape(total * m, m) @ w).reshape(total, m, w.shape[-1])
        quad = jnp.sum(w * (image + 2.0 * stats.between_ry), axis=1) + stats.between_yy
        image = image + stats.between_ry
        shape = (total // len(pairs), len(pairs))
        return Contracted(
            trace.reshape(*shape, -1),
            quad.reshape(*shape, -1),
            image.reshape(*shape, m, image.shape[-1]),
        )

    def level(part):
        r, y = part  # (q, m, .), (q, B)
        residual = [jnp.sum(w * r[i], axis=0) + y[i] for i in range(q)]
        shadow = [jnp.sum(inner * r[i, :rows][:, None], axis=0) for i in range(q)]
        trace, quad, image = [], [], []
        for i, j in pairs:
            double = 1.0 if i == j else 2.0
            trace.append(double * jnp.sum(shadow[i] * r[j, :rows], axis=0))
            quad.append(double * residual[i] * residual[j])
            one = r[i] * residual[j]
            image.append(one if i == j else one + r[j] * residual[i])
        return jnp.stack(trace), jnp.stack(quad), jnp.stack(image)

    return Contracted(*lax.map(level, (stats.rotated_r, stats.rotated_y)))


#: Up to this many shared matrices are multiplied one by one instead of summed per response.
FEW_MATRICES = 3


def between_times(stats: Statistics, weights: Array, right: Array) -> Array:
    """(sum of weights S_rr) right, for ``right`` (r, c, B) and the leading r columns of S."""
    rows, columns, batch = right.shape
    if rows == 0:
        return right
    if isinstance(stats, Compressed) and stats.between_rr.shape[0] <= FEW_MATRICES:
        total = stats.between_rr.shape[0]
        flat = stats.between_rr[:, :rows, :rows, 0].reshape(total * rows, rows)
        each = (flat @ right.reshape(rows, -1)).reshape(total, rows, columns, batch)
        w = weights.reshape(total, 1, 1, -1)
        return sum((w[c] * each[c] for c in range(1, total)), w[0] * each[0])
    summed, _, _ = combine(stats, weights, False)
    return product(summed[:rows, :rows], right)
