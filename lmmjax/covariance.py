"""theta, the relative covariance factor Lambda and the relative covariance Psi.

For one term, theta fills the lower triangle T of its factor column by column, and
Psi = T T'.  The deviance is a function of Psi; its derivatives in theta follow by the chain
rule, which is polynomial and therefore regular at the boundary theta = 0.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from .structure import Layout, triangle

Array = jax.Array


def factor(theta: Array, q: int) -> Array:
    """Lower-triangular T (q, q, batch) from the q(q+1)/2 entries of one term."""
    rows: list[list[Array]] = [[jnp.zeros_like(theta[0])] * q for _ in range(q)]
    for k, (i, j) in enumerate(triangle(q)):
        rows[i][j] = theta[k]
    return jnp.stack([jnp.stack(row) for row in rows])


def psi(theta: Array, q: int) -> Array:
    """Relative covariance T T' (q, q, batch) of one term."""
    if q == 1:
        return (theta[0] * theta[0])[None, None]
    t = factor(theta, q)
    return jnp.sum(t[:, None] * t[None], axis=2)


def eliminated_psi(layout: Layout, theta: Array) -> Array:
    """Block-diagonal relative covariance of all eliminated terms, (q, q, batch)."""
    blocks = [
        psi(theta[part], q)
        for q, part in zip(layout.eliminated, layout.theta_slices, strict=False)
    ]
    if len(blocks) == 1:
        return blocks[0]
    out = jnp.zeros((layout.q, layout.q, *theta.shape[1:]), theta.dtype)
    start = 0
    for block in blocks:
        q = block.shape[0]
        out = out.at[start : start + q, start : start + q].set(block)
        start += q
    return out


def to_coordinates(layout: Layout, theta: Array, size: Array) -> Array:
    """Coordinates in which the optimiser moves, (k, B).

    A scalar term moves in x = log(1 + size theta^2) >= 0, ``size`` (k, 1) the observations
    per level: there the deviance of a balanced one-way layout is convex.  Entries of a
    vector-valued term are their own, unbounded coordinates.
    """
    bounded = layout.is_scalar[:, None]
    return jnp.where(bounded, jnp.log1p(size * theta * theta), theta)


def from_coordinates(layout: Layout, x: Array, size: Array) -> Array:
    """Inverse of :func:`to_coordinates`."""
    bounded = layout.is_scalar[:, None]
    return jnp.where(bounded, jnp.sqrt(jnp.expm1(jnp.where(bounded, x, 0.0)) / size), x)


def chain_to_coordinates(
    layout: Layout, theta: Array, size: Array, gradient: Array, hessian: Array
) -> tuple[Array, Array]:
    """Gradient and Hessian in the optimiser's coordinates from those in Psi."""
    slope = theta * theta + 1.0 / size  # dPsi/dx, and its own derivative, of a scalar term
    return _chain(layout, theta, gradient, hessian, slope, slope)


def chain_to_theta(
    layout: Layout, theta: Array, gradient: Array, hessian: Array
) -> tuple[Array, Array]:
    """Gradient (k, B) and Hessian (k, k, B) in theta from those in the triangles of Psi."""
    return _chain(layout, theta, gradient, hessian, 2.0 * theta, jnp.full_like(theta, 2.0))


def _chain(layout, theta, gradient, hessian, first, bend):
    """Chain rule with dPsi = ``first`` and d2Psi = ``bend`` for scalar terms."""
    if bool(layout.is_scalar.all()):
        curved = first[:, None] * first[None] * hessian
        eye = jnp.eye(layout.n_theta)[:, :, None]
        return first * gradient, curved + eye * (bend * gradient)[None]
    k = layout.n_theta
    zero = jnp.zeros_like(theta[0])
    jacobian = [[zero] * k for _ in range(k)]  # [psi entry][coordinate]
    second = [[zero] * k for _ in range(k)]
    for q, part in zip(layout.term_sizes, layout.theta_slices, strict=True):
        if q == 1:
            a = part.start
            jacobian[a][a] = first[a]
            second[a][a] = bend[a] * gradient[a]
            continue
        index = {pair: part.start + n for n, pair in enumerate(triangle(q))}
        for (i, j), a in index.items():
            for c in range(j + 1):  # Psi_ij = sum_c T_ic T_jc, c <= j <= i
                ic, jc = index[i, c], index[j, c]
                if ic == jc:
                    jacobian[a][ic] = jacobian[a][ic] + 2.0 * theta[ic]
                    second[ic][ic] = second[ic][ic] + 2.0 * gradient[a]
                else:
                    jacobian[a][ic] = jacobian[a][ic] + theta[jc]
                    jacobian[a][jc] = jacobian[a][jc] + theta[ic]
                    second[ic][jc] = second[ic][jc] + gradient[a]
                    second[jc][ic] = second[jc][ic] + gradient[a]
    j = jnp.stack([jnp.stack(row) for row in jacobian])
    extra = jnp.stack([jnp.stack(row) for row in second])
    hj = jnp.sum(hessian[:, :, None] * j[None], axis=1)
    new_hessian = jnp.sum(j[:, :, None] * hj[:, None], axis=0) + extra
    return jnp.sum(j * gradient[:, None], axis=0), new_hessian
