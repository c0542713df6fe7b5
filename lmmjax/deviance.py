"""The profiled deviance, its exact derivatives, and the quantities that fall out with them.

This is the only place where the objective is written down.  :func:`evaluate` computes, in
one pass, the deviance of every response at its theta and, on request, the exact gradient and
Hessian; :func:`deviance` wraps it as a scalar JAX function whose ``jax.grad`` and
``jax.hessian`` *are* those derivatives.

Notation (design matrices already reduced, see :mod:`lmmjax.statistics`): V = I + Z Psi Z',
P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1, r2 = y'P y, nu = n (ML) or n - rank X (REML),

    deviance = log|V| [+ log|X'V^-1 X| if REML] + nu log r2 .

With K = Z'PZ (REML) or Z'V^-1 Z (ML) and u = Z'P y, for a parameter of Psi with pattern E:
d log = tr(K E), d r2 = -u'E u, d2 log = -tr(K E K E'), d2 r2 = 2 u'E (Z'PZ) E' u.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from . import covariance, linalg
from .statistics import Statistics, combine, level_count, traces
from .structure import Layout, triangle

Array = jax.Array


class Evaluation(NamedTuple):
    """Everything known at one theta; the response axis is last.

    ``fixed`` (p, B) and ``fixed_cov`` (p, p, B) are coefficients and (X'V^-1 X)^-1 in the
    orthonormal basis of X and per unit sigma^2; ``dense_u`` = Z'P y of the dense terms.
    """

    value: Array
    rss: Array
    logdet_x: Array
    fixed: Array
    fixed_cov: Array
    dense_u: Array
    gradient: Array | None = None
    hessian: Array | None = None


def _pattern_trace(x: Array, y: Array, a: tuple[int, int], b: tuple[int, int]) -> Array:
    """tr(x E_a y E_b) for symmetric x, y and E_(ij) = (e_i e_j' + e_j e_i') / (1 + [i=j])."""
    (i, j), (k, l) = a, b
    total = x[l, i] * y[j, k]
    if i == j and k == l:
        return total
    if i == j:
        return total + x[k, i] * y[j, l]
    if k == l:
        return total + x[l, j] * y[i, k]
    return total + x[l, j] * y[i, k] + x[k, i] * y[j, l] + x[k, j] * y[i, l]


def _pattern_dot(x: Array, a: tuple[int, int]) -> Array:
    """tr(x E_a)."""
    i, j = a
    return x[i, i] if i == j else 2.0 * x[i, j]


class _Eliminated(NamedTuple):
    """The eliminated block at one Psi: (q, q, D, B) matrices."""

    inverse: Array  # H = (I + R Psi R')^-1
    root_inverse: Array  # P = H R
    inner: Array  # F = R' H R
    logdet: Array  # (B,) summed over levels


def _eliminate(layout: Layout, stats: Statistics, theta: Array) -> _Eliminated:
    root = jnp.moveaxis(stats.root, 0, 2)  # (q, q, D, .)
    psi = covariance.eliminated_psi(layout, theta)[:, :, None]
    if layout.q == 1:
        inverse = 1.0 / (1.0 + root * root * psi)
        log = jnp.log1p((root * root * psi)[0, 0])
        hr = inverse * root
        inner = hr * root
    else:
        root_t = jnp.swapaxes(root, 0, 1)
        omega = linalg.product(linalg.product(root, psi), root_t)
        eye = jnp.eye(layout.q)[:, :, None, None]
        inverse, log = linalg.inverse_and_logdet(eye + omega)
        hr = linalg.product(inverse, root)
        inner = linalg.product(root_t, hr)
    return _Eliminated(inverse, hr, inner, jnp.sum(level_count(stats) * log, axis=0))


def _triangle_weights(matrix: Array) -> Array:
    """Lower triangle of symmetric (q, q, D, B) as (D, a, B), for ``combine``."""
    return jnp.stack([matrix[i, j] for i, j in triangle(matrix.shape[0])], axis=1)


def _symmetric(entries: Array, q: int) -> Array:
    """Undo ``traces``' doubling of off-diagonals: (D, a, B) to symmetric (q, q, D, B)."""
    rows: list[list[Array | None]] = [[None] * q for _ in range(q)]
    for a, (i, j) in enumerate(triangle(q)):
        value = entries[:, a] if i == j else 0.5 * entries[:, a]
        rows[i][j] = rows[j][i] = value
    return jnp.stack([jnp.stack(row) for row in rows])


def _psi_times(layout: Layout, theta: Array, rows: Array) -> Array:
    """Psi of the dense terms times (n_dense, ..., B) rows."""
    out = []
    start = 0
    n_eliminated = len(layout.eliminated)
    for (q, levels), part in zip(layout.dense, layout.theta_slices[n_eliminated:], strict=True):
        block = rows[start : start + q * levels]
        psi = covariance.psi(theta[part], q)
        if q == 1:
            out.append(psi[0, 0] * block)
        else:
            block = block.reshape(levels, q, *block.shape[1:])
            psi = psi.reshape(q, q, *[1] * (block.ndim - 3), psi.shape[-1])
            new = [sum(psi[i, j] * block[:, j] for j in range(q)) for i in range(q)]
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


def evaluate(
    layout: Layout, reml: bool, stats: Statistics, theta: Array, derivatives: bool = False
) -> Evaluation:
    """Deviance at theta (k, B or 1), engine order.

    On request also gradient and Hessian, in the lower triangles of Psi (see
    :mod:`lmmjax.covariance` for the way from there to theta).  The value leaves out the
    constants of :func:`objective_constant`.
    """
    n_dense, m = layout.n_dense, layout.m
    eliminated = _eliminate(layout, stats, theta) if layout.q else None
    if eliminated is None:
        rr, ry, yy = stats.within_rr, stats.within_ry, stats.within_yy
        logdet = jnp.zeros_like(yy)
    else:
        rr, ry, yy = combine(stats, _triangle_weights(eliminated.inverse), True)
        logdet = eliminated.logdet
    if n_dense:
        rr, ry, yy, part = linalg.absorb(theta, layout.absorb_steps, rr, ry, yy)
        logdet = logdet + part
    k_ml = rr[:n_dense, :n_dense]
    rr, ry, yy, logdet_x = linalg.sweep(n_dense, rr, ry, yy, stats.kept)
    nu = stats.n - stats.rank if reml else stats.n
    if reml:
        logdet = logdet + logdet_x
    value = logdet + nu * jnp.log(yy)
    result = Evaluation(
        value, yy, logdet_x, ry[n_dense:], -rr[n_dense:, n_dense:], ry[:n_dense]
    )
    if not derivatives:
        return result
    gradient, hessian = _psi_derivatives(
        layout, reml, stats, theta, eliminated, k_ml, rr, ry, yy, nu
    )
    return result._replace(gradient=gradient, hessian=hessian)


def _psi_derivatives(layout, reml, stats, theta, eliminated, k_ml, rr, ry, yy, nu):
    """Gradient (k, B) and Hessian (k, k, B) in the lower triangles of Psi."""
    n_dense, m, p = layout.n_dense, layout.m, layout.p
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
            layout, reml, stats, theta, eliminated, k_log, rr, ry,
            pattern_u, d_log, d_rss, h_log, h_rss,
        )
    gradient = jnp.stack([d_log[a] + nu * d_rss[a] / yy for a in range(k)]) if k else None
    if not k:
        batch = yy.shape[-1]
        return jnp.zeros((0, batch)), jnp.zeros((0, 0, batch))
    rows = []
    for a in range(k):
        row = []
        for b in range(k):
            hi, lo = max(a, b), min(a, b)
            key = (hi, lo) if (hi, lo) in h_log else (lo, hi)
            row.append(
                h_log[key] + nu * (h_rss[key] / yy - d_rss[a] * d_rss[b] / (yy * yy))
            )
        rows.append(jnp.stack(row))
    return gradient, jnp.stack(rows)


def _eliminated_derivatives(
    layout, reml, stats, theta, eliminated, k_log, rr, ry, pattern_u, d_log, d_rss, h_log, h_rss
):
    """Derivatives in the eliminated covariance, alone and crossed with the dense terms."""
    n_dense, q = layout.n_dense, layout.q
    pairs = layout.eliminated_pairs
    n_elim = len(pairs)
    k_p, u = rr[:n_dense, :n_dense], ry[:n_dense]

    # d(reduced system) moves the residual weights w and the generalised inverses:
    # R with P = V_e^-1 - V_e^-1 A R A' V_e^-1, and T = I - R (A'V_e^-1 A)
    w = jnp.concatenate([-_psi_times(layout, theta, u), -ry[n_dense:]])
    eye = jnp.eye(n_dense)[:, :, None]
    psi_k = _psi_times(layout, theta, k_p)
    psi_diag = _psi_times(layout, theta, eye * jnp.ones_like(theta[:1]))
    zx = -_psi_times(layout, theta, rr[:n_dense, n_dense:])
    r_zz = psi_diag - _psi_times(layout, theta, jnp.swapaxes(psi_k, 0, 1))
    r_p = jnp.concatenate([
        jnp.concatenate([r_zz, zx], axis=1),
        jnp.concatenate([jnp.swapaxes(zx, 0, 1), -rr[n_dense:, n_dense:]], axis=1),
    ])
    t_p = jnp.concatenate([eye - psi_k, -rr[n_dense:, :n_dense]])
    if reml:
        r_log, t_log = r_p, t_p
    else:
        psi_k = _psi_times(layout, theta, k_log)
        r_zz = psi_diag - _psi_times(layout, theta, jnp.swapaxes(psi_k, 0, 1))
        r_log = jnp.zeros_like(r_p).at[:n_dense, :n_dense].set(r_zz)
        t_log = jnp.zeros_like(t_p).at[:n_dense].set(eye - psi_k)

    trace, quad = traces(stats, r_log, w)
    count = level_count(stats)
    hr, inner = eliminated.root_inverse, eliminated.inner
    hr_t = jnp.swapaxes(hr, 0, 1)
    trace_in = linalg.product(hr_t, linalg.product(_symmetric(trace, q), hr))
    quad_in = linalg.product(hr_t, linalg.product(_symmetric(quad, q), hr))
    over = partial(jnp.sum, axis=0)
    moved = []  # d(reduced system) as (rr, ry, yy), then products with R and w
    for a, pair in enumerate(pairs):
        d_log[a] = over(count * _pattern_dot(inner, pair)) - over(_pattern_dot(trace_in, pair))
        d_rss[a] = -over(_pattern_dot(quad_in, pair))
        i, j = pair
        d_inverse = -hr[:, i][:, None] * hr[:, j][None]
        if i != j:
            d_inverse = d_inverse + jnp.swapaxes(d_inverse, 0, 1)
        g_rr, g_ry, _ = combine(stats, _triangle_weights(d_inverse), False)
        moved_w = jnp.sum(g_rr * w[None], axis=1) + g_ry
        r_moved_w = jnp.sum(r_p * moved_w[None], axis=1)
        moved.append((g_rr, linalg.product(r_log, g_rr), moved_w, r_moved_w))
    for a in range(n_elim):
        for b in range(a + 1):
            same = -over(count * _pattern_trace(inner, inner, pairs[a], pairs[b]))
            bent = 2.0 * over(_pattern_trace(trace_in, inner, pairs[a], pairs[b]))
            cross = jnp.sum(moved[a][1] * jnp.swapaxes(moved[b][1], 0, 1), axis=(0, 1))
            h_log[a, b] = same + bent - cross
            bent = 2.0 * over(_pattern_trace(quad_in, inner, pairs[a], pairs[b]))
            h_rss[a, b] = bent - 2.0 * jnp.sum(moved[a][2] * moved[b][3], axis=0)
    if not n_dense:
        return
    for a in range(n_elim):
        g_rr, _, moved_w, _ = moved[a]
        moved_t = linalg.product(g_rr, t_log)  # (m, n_dense, B)
        moved_u = jnp.sum(t_p * moved_w[:, None], axis=0)
        for b, ((ci, cj), _) in enumerate(layout.dense_columns):
            factor = 1.0 if ci == cj else 2.0
            h_log[n_elim + b, a] = factor * jnp.sum(t_log[:, ci] * moved_t[:, cj], axis=(0, 1))
            h_rss[n_elim + b, a] = -2.0 * sum(
                jnp.sum(left * moved_u[rows], axis=0) for rows, left in pattern_u[b]
            )


def objective_constant(reml: bool, stats: Statistics, log_scale: Array) -> Array:
    """What turns :func:`evaluate`'s value into lme4's objective.

    ``log_scale``: log of the factor each response was divided by; with REML, twice the log
    determinant of the basis change of X is added by the caller.
    """
    nu = stats.n - stats.rank if reml else stats.n
    return nu * (1.0 + jnp.log(2.0 * jnp.pi / nu) + 2.0 * log_scale) - stats.log_weights


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def deviance(layout: Layout, reml: bool, stats: Statistics, theta: Array) -> Array:
    """Deviance (without constants) of the responses in ``stats`` at theta (k, B)."""
    return evaluate(layout, reml, stats, theta).value


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def gradient(layout: Layout, reml: bool, stats: Statistics, theta: Array) -> Array:
    """Exact gradient (k, B) of :func:`deviance` in theta."""
    return theta_derivatives(layout, reml, stats, theta)[0]


def theta_derivatives(
    layout: Layout, reml: bool, stats: Statistics, theta: Array
) -> tuple[Array, Array]:
    """Exact gradient (k, B) and Hessian (k, k, B) of :func:`deviance` in theta."""
    result = evaluate(layout, reml, stats, theta, derivatives=True)
    assert result.gradient is not None and result.hessian is not None
    return covariance.chain_to_theta(layout, theta, result.gradient, result.hessian)


def hessian(layout: Layout, reml: bool, stats: Statistics, theta: Array) -> Array:
    """Exact Hessian (k, k, B) of :func:`deviance` in theta."""
    return theta_derivatives(layout, reml, stats, theta)[1]


@deviance.defjvp
def _deviance_jvp(layout, reml, primals, tangents):
    stats, theta = primals
    d_stats, d_theta = tangents
    value, from_stats = jax.jvp(
        lambda s: evaluate(layout, reml, s, theta).value, (stats,), (d_stats,)
    )
    slope = gradient(layout, reml, stats, theta)
    return value, from_stats + jnp.sum(slope * d_theta, axis=0)


@gradient.defjvp
def _gradient_jvp(layout, reml, primals, tangents):
    stats, theta = primals
    d_stats, d_theta = tangents

    def plain(s):
        return theta_derivatives(layout, reml, s, theta)[0]

    value, from_stats = jax.jvp(plain, (stats,), (d_stats,))
    curvature = hessian(layout, reml, stats, theta)
    return value, from_stats + jnp.sum(curvature * d_theta[None], axis=1)
