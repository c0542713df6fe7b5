"""Exact gradient and Hessian of the deviance, in the lower triangles of Psi.

Notation as in :mod:`lmmjax.deviance`.  For a parameter of Psi with pattern E (ones where the
parameter stands), K = Z'PZ with REML and Z'V^-1 Z with ML, u = Z'P y:

    d log = tr(K E),  d r2 = -u'E u,
    d2 log = -tr(K E K E'),  d2 r2 = 2 u'E (Z'PZ) E' u .

For the dense terms K and u stand in the swept system.  The eliminated term enters through the
reduced system, whose derivatives are sums over classes of levels.
"""

from __future__ import annotations

from functools import partial

import jax

from . import covariance, linalg
from .array_library import jnp
from .elimination import triangle_weights
from .statistics import between_image, between_times, contract, level_count
from .structure import Layout, triangle

Array = jax.Array


def _pattern_trace(x: Array, y: Array, a: tuple[int, int], b: tuple[int, int]) -> Array:
    """tr(x E_a y E_b) for symmetric x, y and E_(ij) = (e_i e_j' + e_j e_i') / (1 + [i=j])."""
    (i, j), (k, n) = a, b
    total = x[n, i] * y[j, k]
    if i == j and k == n:
        return total
    if i == j:
        return total + x[k, i] * y[j, n]
    if k == n:
        return total + x[n, j] * y[i, k]
    return total + x[n, j] * y[i, k] + x[k, i] * y[j, n] + x[k, j] * y[i, n]


def _pattern_dot(x: Array, a: tuple[int, int]) -> Array:
    """tr(x E_a)."""
    i, j = a
    return x[i, i] if i == j else 2.0 * x[i, j]


def _symmetric(entries: Array, q: int) -> Array:
    """Undo ``traces``' doubling of off-diagonals: (D, a, B) to symmetric (q, q, D, B)."""
    rows = [[entries[:, 0]] * q for _ in range(q)]
    for a, (i, j) in enumerate(triangle(q)):
        value = entries[:, a] if i == j else 0.5 * entries[:, a]
        rows[i][j] = rows[j][i] = value
    return jnp.stack([jnp.stack(row) for row in rows])


def psi_times(layout: Layout, theta: Array, rows: Array) -> Array:
    """Psi of the dense terms times (n_dense, ..., B) rows."""
    return _by_dense_term(covariance.psi, layout, theta, rows)


def lambda_transpose_times(layout: Layout, theta: Array, rows: Array) -> Array:
    """Lambda' of the dense terms times (n_dense, ..., B) rows."""

    def transposed(theta, q):
        return jnp.swapaxes(covariance.factor(theta, q), 0, 1)

    return _by_dense_term(transposed, layout, theta, rows)


def _by_dense_term(matrix_of, layout: Layout, theta: Array, rows: Array) -> Array:
    """The block-diagonal matrix of each dense term's ``matrix_of(theta, q)`` times rows."""
    out = []
    start = 0
    n_eliminated = len(layout.eliminated)
    for (q, levels), part in zip(layout.dense, layout.theta_slices[n_eliminated:], strict=True):
        block = rows[start : start + q * levels]
        matrix = matrix_of(theta[part], q)
        if q == 1:
            out.append(matrix[0, 0] * block)
        else:
            block = block.reshape(levels, q, *block.shape[1:])
            matrix = matrix.reshape(q, q, *[1] * (block.ndim - 3), matrix.shape[-1])
            new = [sum(matrix[i, j] * block[:, j] for j in range(q)) for i in range(q)]
            out.append(jnp.stack(new, axis=1).reshape(q * levels, *block.shape[2:]))
        start += q * levels
    return jnp.concatenate(out) if out else rows


def _dense_parts(matrix: Array, layout: Layout, a: int, b: int) -> Array:
    """tr(matrix E_a matrix E_b) over the levels of two dense parameters."""
    (ai, aj), _ = layout.dense_columns[a]
    (bi, bj), _ = layout.dense_columns[b]
    total = jnp.sum(matrix[ai, bi] * matrix[aj, bj], axis=(0, 1))
    diagonal = (ai == aj) + (bi == bj)
    if diagonal == 2:
        return total
    total = total + jnp.sum(matrix[ai, bj] * matrix[aj, bi], axis=(0, 1))
    return total if diagonal == 1 else 2.0 * total


def psi_derivatives(layout, reml, stats, theta, eliminated, k_ml, rr, ry, yy, nu):
    """Gradient (k, B) and Hessian (k, k, B) in the lower triangles of Psi.

    Third and fourth come those of the log-determinants alone.
    """
    n_dense = layout.n_dense
    k_p = rr[:n_dense, :n_dense]
    k_log = k_p if reml else k_ml
    u = ry[:n_dense]
    pairs = layout.eliminated_pairs
    n_elim, k = len(pairs), layout.n_theta
    dense = layout.dense_columns
    d_log: list = [None] * k
    d_rss: list = [None] * k
    h_log: dict = {}
    h_rss: dict = {}

    # dense x dense: entries of K and u
    pattern_u = []  # E_a u, one (n_dense, B) per parameter
    for a, ((ci, cj), _) in enumerate(dense):
        if ci == cj:
            d_log[n_elim + a] = jnp.sum(jnp.diagonal(k_log[ci, ci]), axis=-1)
            d_rss[n_elim + a] = -jnp.sum(u[ci] * u[ci], axis=0)
            pattern_u.append(((ci, u[ci]),))
        else:
            d_log[n_elim + a] = 2.0 * jnp.sum(jnp.diagonal(k_log[ci, cj]), axis=-1)
            d_rss[n_elim + a] = -2.0 * jnp.sum(u[ci] * u[cj], axis=0)
            pattern_u.append(((ci, u[cj]), (cj, u[ci])))
    for a in range(len(dense)):
        for b in range(a + 1):
            h_log[n_elim + a, n_elim + b] = -_dense_parts(k_log, layout, a, b)
            total = 0.0
            for rows, left in pattern_u[a]:
                for cols, right in pattern_u[b]:
                    total = total + jnp.sum(
                        left * jnp.sum(k_p[rows, cols] * right[None], axis=1), axis=0
                    )
            h_rss[n_elim + a, n_elim + b] = 2.0 * total

    if n_elim:
        _eliminated_derivatives(
            layout,
            reml,
            stats,
            theta,
            eliminated,
            k_ml,
            rr,
            ry,
            pattern_u,
            d_log,
            d_rss,
            h_log,
            h_rss,
        )
    if not k:
        none = jnp.zeros((0, 0, yy.shape[-1]))
        return none[0], none, none[0], none
    order = [[(max(a, b), min(a, b)) for b in range(k)] for a in range(k)]
    order = [[key if key in h_log else key[::-1] for key in row] for row in order]
    curvature = jnp.stack([jnp.stack([h_log[key] for key in row]) for row in order])
    bend = jnp.stack([jnp.stack([h_rss[key] for key in row]) for row in order])
    slope = jnp.stack(d_rss) / yy
    log_slope = jnp.stack(d_log)
    outer = slope[:, None] * slope[None]
    if stats.variance is None:  # of nu log r2
        gradient, hessian = log_slope + nu * slope, curvature + nu * (bend / yy - outer)
    else:  # of r2 / sigma^2
        size = yy / stats.variance
        gradient, hessian = log_slope + size * slope, curvature + size * bend / yy
    return gradient, hessian, log_slope, curvature


def _eliminated_derivatives(
    layout, reml, stats, theta, eliminated, k_ml, rr, ry, pattern_u, d_log, d_rss, h_log, h_rss
):
    """Derivatives in the eliminated covariance, alone and crossed with the dense terms."""
    n_dense, q = layout.n_dense, layout.q
    pairs = layout.eliminated_pairs
    n_elim = len(pairs)

    # P = V_e^-1 - V_e^-1 A R A' V_e^-1; R = T Gamma, where Gamma is Psi on the dense random
    # effects and one on the fixed ones; [T's dense columns; w] = I - R (A'V_e^-1 A)
    def gamma(rows):
        fixed = rows[n_dense:]
        return jnp.concatenate([psi_times(layout, theta, rows[:n_dense]), fixed])

    def times_gamma(matrix):
        return jnp.swapaxes(gamma(jnp.swapaxes(matrix, 0, 1)), 0, 1)

    random = (jnp.arange(layout.m) < n_dense).astype(rr.dtype)
    eye = jnp.diag(random)[:, :, None]
    w = -gamma(ry)
    t_p = eye - gamma(rr)
    t_log = t_p if reml else eye[:n_dense, :n_dense] - gamma(k_ml)
    parts = contract(stats, times_gamma(t_log), w)

    count = level_count(stats)
    hr, inner = eliminated.root_inverse, eliminated.inner
    hr_t = jnp.swapaxes(hr, 0, 1)
    trace_in = linalg.product(hr_t, linalg.product(_symmetric(parts.trace, q), hr))
    quad_in = linalg.product(hr_t, linalg.product(_symmetric(parts.quad, q), hr))
    over = partial(jnp.sum, axis=0)
    moved = []  # per parameter: d(reduced system) times T, and times [w; 1]
    for a, pair in enumerate(pairs):
        d_log[a] = over(count * _pattern_dot(inner, pair)) - over(_pattern_dot(trace_in, pair))
        d_rss[a] = -over(_pattern_dot(quad_in, pair))
        i, j = pair
        d_inverse = -hr[:, i][:, None] * hr[:, j][None]
        if i != j:
            d_inverse = d_inverse + jnp.swapaxes(d_inverse, 0, 1)
        weights = triangle_weights(d_inverse)
        moved_t = between_times(stats, weights, t_log)
        moved_w = between_image(stats, weights, parts.image)
        moved.append((moved_t, times_gamma(moved_t), gamma(moved_w),
                      jnp.sum(t_p * moved_w[:, None], axis=0)))  # fmt: skip
    for a in range(n_elim):
        for b in range(a + 1):
            same = -over(count * _pattern_trace(inner, inner, pairs[a], pairs[b]))
            bent = 2.0 * over(_pattern_trace(trace_in, inner, pairs[a], pairs[b]))
            cross = jnp.sum(moved[a][1] * jnp.swapaxes(moved[b][1], 0, 1), axis=(0, 1))
            h_log[a, b] = same + bent - cross
            bent = 2.0 * over(_pattern_trace(quad_in, inner, pairs[a], pairs[b]))
            h_rss[a, b] = bent - 2.0 * jnp.sum(moved[a][2] * moved[b][3], axis=0)
    for a in range(n_elim):
        moved_t, _, _, moved_u = moved[a]
        for b, ((ci, cj), _) in enumerate(layout.dense_columns):
            factor = 1.0 if ci == cj else 2.0
            h_log[n_elim + b, a] = factor * jnp.sum(t_log[:, ci] * moved_t[:, cj], axis=(0, 1))
            h_rss[n_elim + b, a] = -2.0 * sum(
                jnp.sum(left * moved_u[rows], axis=0) for rows, left in pattern_u[b]
            )
