"""The profiled deviance, its exact derivatives, and the quantities that fall out with them.

This is the only place where the objective is written down.  :func:`evaluate` computes, in
one pass, the deviance of every response at its theta and, on request, the exact gradient and
Hessian; :func:`deviance` wraps it as a scalar JAX function whose ``jax.grad`` and
``jax.hessian`` *are* those derivatives.

Notation (design matrices already reduced, see :mod:`lmmjax.statistics`): V = I + Z Psi Z',
P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1, r2 = y'P y, nu = n (ML) or n - rank X (REML),

    deviance = log|V| [+ log|X'V^-1 X| if REML] + nu log r2 ,

or + r2 / sigma^2 in place of the last term where sigma is known.

With K = Z'PZ (REML) or Z'V^-1 Z (ML) and u = Z'P y, for a parameter of Psi with pattern E:
d log = tr(K E), d r2 = -u'E u, d2 log = -tr(K E K E'), d2 r2 = 2 u'E (Z'PZ) E' u.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax

from . import covariance, linalg
from .array_library import jnp
from .derivatives import psi_derivatives
from .elimination import eliminate, triangle_weights
from .sparse import absorb_at_once
from .statistics import Sparse, Statistics, combine
from .structure import MANY_COLUMNS, Layout

Array = jax.Array


class Evaluation(NamedTuple):
    """Everything known at one theta; the response axis is last.

    ``fixed`` (p, B) and ``fixed_cov`` (p, p, B) are coefficients and (X'V^-1 X)^-1 in the
    orthonormal basis of X and per unit sigma^2; ``dense_u`` = Z'P y of the dense terms.
    ``log_gradient`` and ``log_curvature`` are the derivatives of the log-determinants alone.
    """

    value: Array
    rss: Array
    logdet_x: Array
    fixed: Array
    fixed_cov: Array
    dense_u: Array
    gradient: Array | None = None
    hessian: Array | None = None
    log_gradient: Array | None = None
    log_curvature: Array | None = None


def evaluate(
    layout: Layout,
    reml: bool,
    stats: Statistics,
    theta: Array,
    derivatives: bool = False,
) -> Evaluation:
    """Deviance at theta (k, B or 1), engine order.

    On request also gradient and Hessian, in the lower triangles of Psi (see
    :mod:`lmmjax.covariance` for the way from there to theta).  The value leaves out the
    constants of :func:`objective_constant`.
    """
    n_dense = layout.n_dense
    eliminated = eliminate(layout, stats, theta) if layout.q else None
    if eliminated is None:
        rr, ry, yy = stats.within_rr, stats.within_ry, stats.within_yy
        rr = jnp.broadcast_to(rr, (*rr.shape[:2], max(rr.shape[-1], theta.shape[-1])))
        logdet = jnp.zeros_like(yy)
    else:
        rr, ry, yy = combine(stats, triangle_weights(eliminated.inverse), True)
        logdet = eliminated.logdet
    if n_dense:
        if isinstance(stats, Sparse) or n_dense >= MANY_COLUMNS:
            rr, ry, yy, part = absorb_at_once(layout, theta, rr, ry, yy)
        else:
            rr, ry, yy, part = linalg.absorb(theta, layout.absorb_steps, rr, ry, yy)
        logdet = logdet + part
    k_ml = rr[:n_dense, :n_dense]
    rr, ry, yy, logdet_x = linalg.sweep(n_dense, rr, ry, yy, stats.kept)
    nu = degrees_of_freedom(reml, stats)
    if reml:
        logdet = logdet + logdet_x
    if stats.variance is None:
        value = logdet + nu * jnp.log(yy)
    else:
        value = logdet + yy / stats.variance
    result = Evaluation(value, yy, logdet_x, ry[n_dense:], -rr[n_dense:, n_dense:], ry[:n_dense])
    if not derivatives:
        return result
    gradient, hessian, log_gradient, log_curvature = psi_derivatives(
        layout, reml, stats, theta, eliminated, k_ml, rr, ry, yy, nu
    )
    return result._replace(
        gradient=gradient,
        hessian=hessian,
        log_gradient=log_gradient,
        log_curvature=log_curvature,
    )


def degrees_of_freedom(reml: bool, stats: Statistics) -> Array:
    """nu: observations, less the rank of X with REML."""
    return stats.n - stats.rank if reml else stats.n


def objective_constant(reml: bool, stats: Statistics, log_scale: Array) -> Array:
    """What turns :func:`evaluate`'s value into lme4's objective.

    ``log_scale``: log of the factor each response was divided by; with REML, twice the log
    determinant of the basis change of X is added by the caller.
    """
    nu = degrees_of_freedom(reml, stats)
    if stats.variance is None:
        size = 1.0 + jnp.log(2.0 * jnp.pi / nu)
    else:
        size = jnp.log(2.0 * jnp.pi * stats.variance)
    return nu * (size + 2.0 * log_scale) - stats.log_weights


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


#: Correlation of two covariance patterns above which they count as the same.
ALIASED = 1e-8


def identified(layout: Layout, stats: Statistics) -> Array:
    """Whether the observations identify all variance components: bool (B,).

    The matrices M V_a M (M projects on the residuals of X, V_a is the derivative of V in
    component a) have to be linearly independent; at theta = 0 their Gram matrix is minus the
    Hessian of the log-determinants.
    """
    k = layout.n_theta
    batch = stats.within_yy.shape[-1]
    if k == 0:
        return jnp.ones(batch, dtype=bool)
    zero = jnp.zeros((k, batch))
    curvature = evaluate(layout, True, stats, zero, derivatives=True).log_curvature
    assert curvature is not None
    size = jnp.stack([-curvature[a, a] for a in range(k)])
    some = jnp.min(size, axis=0) > 1e-10 * stats.n
    root = jnp.sqrt(jnp.where(size > 0, size, 1.0))
    values, _ = linalg.eigen(-curvature / (root[:, None] * root[None]))
    return some & (jnp.min(values, axis=0) > ALIASED)
