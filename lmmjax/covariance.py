"""theta, the relative covariance factor Lambda and the relative covariance Psi.

For one term, theta fills the lower triangle T of its factor column by column, and
Psi = T T'.  The deviance is a function of Psi; its derivatives in theta follow by the chain
rule, which is polynomial and therefore regular at the boundary theta = 0.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from .array_library import jnp
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
        psi(theta[part], q) for q, part in zip(layout.eliminated, layout.theta_slices, strict=False)
    ]
    if len(blocks) == 1:
        return blocks[0]
    nothing = jnp.zeros_like(theta[0])
    rows = []
    before = 0
    for block in blocks:
        q = block.shape[0]
        after = layout.q - before - q
        rows += [
            jnp.stack([nothing] * before + list(block[i]) + [nothing] * after) for i in range(q)
        ]
        before += q
    return jnp.stack(rows)


class Frame(NamedTuple):
    """theta in the factor whose columns are ordered by variance.

    ``order`` (one (q, B) per vector-valued term, else ``None``): which column of Psi comes
    first, second, ...  ``theta`` (k, B): lower triangle of the factor of the permuted Psi.
    """

    theta: Array
    order: tuple[Array | None, ...]


def to_frame(layout: Layout, theta: Array) -> Frame:
    """Reorder every vector-valued term so that the largest variance leads its factor.

    Where a leading variance is (nearly) zero, the deviance in theta has a curved valley of
    factors that all give the same Psi; in the ordered factor it has none.
    """
    if bool(layout.is_scalar.all()):
        return Frame(theta, (None,) * len(layout.term_sizes))
    parts, orders = [], []
    for q, part in zip(layout.term_sizes, layout.theta_slices, strict=True):
        if q == 1:
            parts.append(theta[part])
            orders.append(None)
            continue
        t = factor(theta[part], q)
        order = jnp.argsort(-jnp.sum(t * t, axis=1), axis=0)
        parts.append(_triangle_of(jnp.take_along_axis(t, order[:, None], axis=0)))
        orders.append(order)
    return Frame(jnp.concatenate(parts), tuple(orders))


def from_frame(layout: Layout, frame: Frame) -> Array:
    """Inverse of :func:`to_frame` (up to signs of Lambda's columns)."""
    if all(order is None for order in frame.order):
        return frame.theta
    parts = []
    for q, part, order in zip(layout.term_sizes, layout.theta_slices, frame.order, strict=True):
        if order is None:
            parts.append(frame.theta[part])
            continue
        t = factor(frame.theta[part], q)
        back = jnp.argsort(order, axis=0)
        parts.append(_triangle_of(jnp.take_along_axis(t, back[:, None], axis=0)))
    return jnp.concatenate(parts)


def _triangle_of(t: Array) -> Array:
    """Rotate the columns of t (q, q, B) until it is lower triangular; its theta."""
    q = t.shape[0]
    rows = [[t[i, j] for j in range(q)] for i in range(q)]
    for i in range(q):
        for j in range(i + 1, q):
            length = jnp.hypot(rows[i][i], rows[i][j])
            some = length > 0
            c = jnp.where(some, rows[i][i] / jnp.where(some, length, 1.0), 1.0)
            s = jnp.where(some, rows[i][j] / jnp.where(some, length, 1.0), 0.0)
            for r in range(i, q):
                left, right = rows[r][i], rows[r][j]
                rows[r][i], rows[r][j] = c * left + s * right, c * right - s * left
    return jnp.stack([rows[i][j] for i, j in triangle(q)])


def _permuted(layout: Layout, frame: Frame, gradient: Array, hessian: Array) -> tuple[Array, Array]:
    """Gradient and Hessian in Psi with every term's columns in the frame's order."""
    if all(order is None for order in frame.order):
        return gradient, hessian
    where = []
    for q, part, order in zip(layout.term_sizes, layout.theta_slices, frame.order, strict=True):
        if order is None:
            where.append(jnp.full((1, gradient.shape[-1]), part.start))
            continue
        entry = np.zeros((q, q), dtype=np.int32)
        for slot, (i, j) in enumerate(triangle(q)):
            entry[i, j] = entry[j, i] = part.start + slot
        table = jnp.asarray(entry)
        where.append(jnp.stack([table[order[i], order[j]] for i, j in triangle(q)]))
    index = jnp.concatenate(where)
    gradient = jnp.take_along_axis(gradient, index, axis=0)
    hessian = jnp.take_along_axis(hessian, index[:, None], axis=0)
    return gradient, jnp.take_along_axis(hessian, index[None], axis=1)


def to_coordinates(layout: Layout, frame: Frame, size: Array) -> Array:
    """Coordinates in which the optimiser moves, (k, B).

    A scalar term moves in x = log(1 + size theta^2) >= 0, ``size`` (k, 1) the observations
    per level: there the deviance of a balanced one-way layout is convex.  Entries of a
    vector-valued term are their own, unbounded coordinates.
    """
    bounded = layout.is_scalar[:, None]
    return jnp.where(bounded, jnp.log1p(size * frame.theta**2), frame.theta)


def from_coordinates(layout: Layout, x: Array, frame: Frame, size: Array) -> Array:
    """theta at coordinates x in the given frame's order."""
    bounded = layout.is_scalar[:, None]
    theta = jnp.where(bounded, jnp.sqrt(jnp.expm1(jnp.where(bounded, x, 0.0)) / size), x)
    return from_frame(layout, frame._replace(theta=theta))


def chain_to_coordinates(
    layout: Layout, frame: Frame, size: Array, gradient: Array, hessian: Array
) -> tuple[Array, Array]:
    """Gradient and Hessian in the optimiser's coordinates from those in Psi."""
    slope = frame.theta**2 + 1.0 / size  # dPsi/dx, and its own derivative, of a scalar term
    gradient, hessian = _permuted(layout, frame, gradient, hessian)
    return _chain(layout, frame.theta, gradient, hessian, slope, slope)


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
