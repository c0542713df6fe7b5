"""Where the optimiser starts: from shared points of the theta space.

At a theta that all responses share, everything that does not involve the response is computed
once, so a point costs next to nothing per response.  Models whose terms are all scalar take
one scoring step from the best of a few such points; vector-valued terms start from the best
points of a fixed cover.
"""

from __future__ import annotations

import jax
import numpy as np

from .array_library import jnp, lax
from .deviance import degrees_of_freedom, evaluate
from .optimize import newton_step
from .statistics import Sparse, Statistics, is_alone, side_by_side
from .structure import Layout

Array = jax.Array

#: Low and high node of a scalar term: log(1 + theta^2 times observations per level).
LOW, HIGH = 0.5, 2.6
#: No start lies beyond this on the same scale.
TOP = 6.0


def choose_start(
    layout: Layout, reml: bool, stats: Statistics, size: Array, n_starts: int = 1
) -> Array:
    """Starting points for every response: theta (k, n_starts, B), best first.

    ``size`` (k, 1) is the number of observations per level behind each entry of theta.
    """
    if layout.is_scalar.all() and n_starts == 1:
        return _scored(layout, reml, stats, size)[:, None]
    points = cover(layout)

    def value(stats, theta):
        out = evaluate(layout, reml, stats, theta).value
        return jnp.where(jnp.isfinite(out), out, jnp.inf)

    if is_alone(stats):
        values = value(side_by_side(stats, len(points)), points.T)[:, None]
    else:
        values = lax.map(lambda point: value(stats, point[:, None]), points)  # (points, B)
    _, best = lax.top_k(-values.T, min(n_starts, len(points)))
    return jnp.moveaxis(points[best.T], -1, 0)


def nodes(layout: Layout, size: Array) -> Array:
    """Shared points (points, k) of scalar terms: all low, all high, one high at a time."""
    k = layout.n_theta
    rows = [np.full(k, LOW), np.full(k, HIGH)]
    if k > 1:
        rows += list(np.where(np.eye(k, dtype=bool), HIGH, LOW))
    return jnp.sqrt(jnp.expm1(np.array(rows)) / size[:, 0])


def _scored(layout: Layout, reml: bool, stats: Statistics, size: Array) -> Array:
    """Minimum norm quadratic estimates of the variances from the best shared point: (k, B).

    The quadratic forms y'P V_a P y (V_0 = I) have expectations sum_b tr(P V_a P V_b) s_b,
    linear in the variances s (Rao 1971); with P at the truth this is a scoring step.  Solved
    within s >= 0.
    """
    k = layout.n_theta
    nu = degrees_of_freedom(reml, stats)
    ceiling = jnp.expm1(TOP) / size

    def scored(point):
        theta = point[:, None]
        psi = theta * theta
        out = evaluate(layout, reml, stats, theta, derivatives=True)
        assert out.gradient is not None
        assert out.log_gradient is not None and out.log_curvature is not None
        # tr(P V_a P V_b) and the quadratic forms, those of I from V = I + sum psi_a V_a
        cross = -out.log_curvature
        first = out.log_gradient - jnp.sum(cross * psi[None], axis=1)
        corner = nu - jnp.sum(psi * (out.log_gradient + first), axis=0)
        residual = out.rss / nu if stats.variance is None else stats.variance
        quad = (out.log_gradient - out.gradient) * residual
        rest = out.rss - jnp.sum(psi * quad, axis=0)
        system = jnp.concatenate(
            [
                jnp.concatenate([corner[None, None], first[None]], axis=1),
                jnp.concatenate([first[:, None], cross], axis=1),
            ]
        )
        forms = jnp.concatenate([rest[None], quad])
        unit = jnp.sqrt(jnp.maximum(jnp.stack([system[a, a] for a in range(k + 1)]), 1e-300))
        system = system / (unit[:, None] * unit[None])
        here = jnp.concatenate([jnp.ones_like(psi[:1]), psi]) * unit * residual
        slope = jnp.sum(system * here[None], axis=1) - forms / unit
        step, _ = newton_step(
            here, slope, system, jnp.full_like(out.rss, jnp.inf), np.ones(k + 1, dtype=bool)
        )
        variance = (here + step) / unit
        ratio = variance[1:] / jnp.maximum(variance[0], 1e-3 * residual)
        ratio = jnp.where(jnp.isfinite(ratio), jnp.minimum(ratio, ceiling), psi)
        return jnp.where(jnp.isfinite(out.value), out.value, jnp.inf), jnp.sqrt(ratio)

    points = nodes(layout, size)
    if isinstance(stats, Sparse):  # where an evaluation is what costs, one has to do
        return scored(points[0])[1]
    values, theta = lax.map(scored, points)
    best = jnp.argmin(values, axis=0)
    return jnp.take_along_axis(theta, best[None, None], axis=0)[0]


def cover(layout: Layout) -> Array:
    """Shared points (points, k) of any model: a fixed cover of its terms' scales."""
    k = layout.n_theta
    scales = (0.1, 0.4, 0.9, 2.5)
    terms = len(layout.term_sizes)
    rng = np.random.default_rng(20)
    combos = [(s,) * terms for s in scales]
    while len(combos) < min(4**terms, 4 + 4 * terms):
        pick = tuple(float(s) for s in rng.choice(scales, terms))
        if pick not in combos:
            combos.append(pick)
    diagonal = layout.is_diagonal
    rows = []
    for combo in combos:
        row = np.zeros(k)
        for part, s in zip(layout.theta_slices, combo, strict=True):
            row[part] = np.where(diagonal[part], s, 0.0)
        rows.append(row)
    for part, q in zip(layout.theta_slices, layout.term_sizes, strict=True):
        if q == 1:
            continue
        # a vector-valued term may have one large and one negligible direction
        place = np.flatnonzero(diagonal[part]) + part.start
        for one in place:
            for big, small in ((1.5, 0.1), (0.1, 1.0)):
                row = np.where(diagonal, 0.5, 0.0)
                row[place] = small
                row[one] = big
                rows.append(row)
    return jnp.asarray(np.array(rows))
