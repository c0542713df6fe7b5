"""Batched minimisation of the deviance over unconstrained theta.

The deviance is even under sign flips of Lambda's columns, so theta needs no bounds and a
variance of zero is an ordinary stationary point.  Each lane takes trust-region Newton steps
with the exact Hessian; negative curvature is followed downhill with its sign reversed
(saddle-free Newton), so saddles, among them theta = 0 of a positive variance, repel.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from . import covariance, linalg
from .deviance import Evaluation, evaluate
from .statistics import Statistics
from .structure import Layout

Array = jax.Array

#: A lane stops when a Newton step promises less than this decrease of the deviance; the step
#: is still taken, which leaves the error quadratically smaller.
DECREMENT_TOLERANCE = 1e-7
#: Every optimum is evaluated again; it counts as converged if no step promises more than this.
VERIFIED_DECREASE = 1e-9
START_RADIUS = 2.0
#: Coordinates beyond this (theta of about 1e17) mean that the residual variance has vanished.
COORDINATE_LIMIT = 80.0


class Point(NamedTuple):
    """Where a lane stands: coordinates, derivatives in them, and the evaluation there."""

    x: Array
    gradient: Array
    hessian: Array
    evaluation: Evaluation


class Lanes(NamedTuple):
    """State of the optimiser, one lane per response (last axis)."""

    point: Point
    radius: Array
    active: Array
    n_iter: Array


def start_grid(layout: Layout) -> np.ndarray:
    """Shared starting points (points, k): spread over the scale of each term."""
    scales = (0.1, 0.4, 0.9, 2.5)
    diagonal = layout.is_diagonal
    terms = len(layout.term_sizes)
    if terms == 0:
        return np.zeros((1, 0))
    if terms == 1 and layout.n_theta == 1:
        combos = [(s,) for s in (0.05, 0.3, 0.7, 1.5, 4.0)]
    elif terms == 1:
        combos = [(s,) for s in scales]
    else:
        # Latin-square style cover: neighbours differ in every term, size grows linearly
        rng = np.random.default_rng(20)
        combos = [(s,) * terms for s in scales]
        want = min(4**terms, 4 + 4 * terms)
        while len(combos) < want:
            pick = tuple(rng.choice(scales, terms))
            if pick not in combos:
                combos.append(pick)
    grid = np.zeros((len(combos), layout.n_theta))
    for row, combo in enumerate(combos):
        for part, s in zip(layout.theta_slices, combo, strict=True):
            grid[row, part] = np.where(diagonal[part], s, 0.0)
    if any(q > 1 for q in layout.term_sizes):
        # a vector-valued term may have one large and one negligible direction
        extra = []
        for part, q in zip(layout.theta_slices, layout.term_sizes, strict=True):
            if q == 1:
                continue
            place = np.flatnonzero(diagonal[part]) + part.start
            for one in place:
                for big, small in ((1.5, 0.1), (0.1, 1.0)):
                    row = np.where(diagonal, 0.5, 0.0)
                    row[place] = small
                    row[one] = big
                    extra.append(row)
        grid = np.concatenate([grid, np.array(extra)])
    return grid


def choose_start(
    layout: Layout, reml: bool, stats: Statistics, grid: np.ndarray, n_starts: int = 1
) -> Array:
    """Best points of the shared grid for every response: (k, n_starts, B)."""
    points = jnp.asarray(grid)

    def value(point):
        out = evaluate(layout, reml, stats, point[:, None]).value
        return jnp.where(jnp.isfinite(out), out, jnp.inf)

    values = lax.map(value, points)  # (points, B)
    if n_starts == 1:
        best = jnp.argmin(values, axis=0)[None]
    else:
        _, best = lax.top_k(-values.T, min(n_starts, len(grid)))
        best = best.T
    return jnp.moveaxis(points[best], -1, 0)


def newton_step(
    x: Array, gradient: Array, hessian: Array, radius: Array, bounded: np.ndarray
) -> tuple[Array, Array]:
    """Saddle-free Newton step within a trust radius and the bounds x >= 0.

    Coordinates that sit on their bound with a gradient pointing outwards stay; the step is
    computed among the others, twice where the first one would cross further bounds.

    Returns
    -------
    step, decrease
        (k, B), and (B,) what the quadratic model promises; infinite where the step leaves a
        saddle along negative curvature.
    """
    held = bounded[:, None]
    on_bound = held & (x <= 0.0) & (gradient > 0.0)

    def among(free, fixed_step):
        """Newton step of the free coordinates when the others move by ``fixed_step``."""
        pair = free[:, None] & free[None]
        eye = jnp.eye(len(bounded))[:, :, None]
        target = gradient + jnp.sum(hessian * fixed_step[None], axis=1)
        values, vectors = linalg.eigen(
            jnp.where(pair, hessian, eye * ~free[None]), rounds=len(bounded)
        )
        size = jnp.abs(values)
        top = jnp.max(size, axis=0)
        floor = jnp.maximum(top * 1e-10, 1e-300)
        along = jnp.sum(vectors * jnp.where(free, target, 0.0)[:, None], axis=0)
        coefficient = -along / jnp.maximum(size, floor)
        stuck = (values < -1e-6 * top) & (jnp.abs(coefficient) < 1e-4)
        coefficient = jnp.where(stuck, jnp.where(coefficient < 0, -0.05, 0.05), coefficient)
        step = jnp.sum(vectors * coefficient[None], axis=1)
        return jnp.where(free, step, fixed_step), jnp.any(stuck, axis=0)

    step, stuck = among(~on_bound, jnp.zeros_like(x))
    if bounded.any():
        crossing = held & (x + step < 0.0)
        again, stuck_again = among(~on_bound & ~crossing, jnp.where(crossing, -x, 0.0))
        step = jnp.where(jnp.any(crossing, axis=0), again, step)
        stuck = stuck & (stuck_again | ~jnp.any(crossing, axis=0))
    length = jnp.sqrt(jnp.sum(step**2, axis=0))
    step = step * jnp.minimum(1.0, radius / jnp.where(length > 0, length, 1.0))
    step = jnp.where(held, jnp.maximum(x + step, 0.0) - x, step)
    decrease = jnp.abs(jnp.sum(gradient * step, axis=0))
    return step, jnp.where(stuck, jnp.inf, decrease)


def minimise(
    layout: Layout,
    reml: bool,
    stats: Statistics,
    size: Array,
    start: Array,
    radius: Array,
    alive: Array,
    max_iter: Array,
) -> Lanes:
    """Newton iterations from coordinates ``start`` (k, B), at most ``max_iter``.

    A lane's path depends on its own data, start and radius only; stopping at ``max_iter``
    and resuming from the returned coordinates and radius continues it exactly.
    """
    bounded = layout.is_scalar

    def at(x):
        theta = covariance.from_coordinates(layout, x, size)
        result = evaluate(layout, reml, stats, theta, derivatives=True)
        gradient, hessian = covariance.chain_to_coordinates(
            layout, theta, size, result.gradient, result.hessian
        )
        value = jnp.where(jnp.isfinite(result.value), result.value, jnp.inf)
        return Point(x, gradient, hessian, result._replace(value=value))

    def body(carry):
        lanes, trip = carry
        point = lanes.point
        old = point.evaluation.value
        step, decrease = newton_step(
            point.x, point.gradient, point.hessian, lanes.radius, bounded
        )
        new = at(point.x + jnp.where(lanes.active, step, 0.0))
        value = new.evaluation.value
        # near the optimum the decrease drowns in rounding: allow for it
        better = value <= old + 1e-12 * (1.0 + jnp.abs(old))
        accept = lanes.active & better
        length = jnp.sqrt(jnp.sum(step**2, axis=0))
        done = decrease < DECREMENT_TOLERANCE
        far = jnp.max(jnp.abs(new.x), axis=0) > COORDINATE_LIMIT
        gone = ~better & (length < 1e-12)
        radius = jnp.where(better, jnp.maximum(lanes.radius, 2.0 * length), 0.25 * length)
        return (
            Lanes(
                point=jax.tree.map(lambda a, b: jnp.where(accept, a, b), new, point),
                radius=jnp.where(lanes.active, radius, lanes.radius),
                active=lanes.active & ~done & ~far & ~gone,
                n_iter=lanes.n_iter + lanes.active,
            ),
            trip + 1,
        )

    batch = start.shape[-1]
    lanes = Lanes(
        at(start),
        radius=jnp.broadcast_to(radius, (batch,)),
        active=alive,
        n_iter=jnp.zeros(batch, dtype=jnp.int32),
    )
    lanes, _ = lax.while_loop(
        lambda carry: jnp.any(carry[0].active) & (carry[1] < max_iter), body, (lanes, 0)
    )
    return lanes


def evaluate_only(layout: Layout, reml: bool, stats: Statistics, batch: int) -> Lanes:
    """The lanes of a model without random effects: nothing to optimise."""
    nothing = jnp.zeros((0, batch))
    result = evaluate(layout, reml, stats, nothing)
    return Lanes(
        Point(nothing, nothing, jnp.zeros((0, 0, batch)), result),
        radius=jnp.ones(batch),
        active=jnp.zeros(batch, dtype=bool),
        n_iter=jnp.zeros(batch, dtype=jnp.int32),
    )


def positive_diagonal(layout: Layout, theta: Array) -> Array:
    """Flip columns of Lambda so that its diagonal is not negative."""
    out = []
    for part, q in zip(layout.theta_slices, layout.term_sizes, strict=True):
        start = part.start
        for column in range(q):
            sign = jnp.where(theta[start] < 0, -1.0, 1.0)
            out += [sign * theta[start + row] for row in range(q - column)]
            start += q - column
    return jnp.stack(out) if out else theta
