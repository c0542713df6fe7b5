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
DECREMENT_TOLERANCE = 1e-6
#: Every optimum is evaluated again; it counts as converged if no step promises more than this.
VERIFIED_DECREASE = 1e-12
START_RADIUS = 2.0
#: Coordinates beyond this (theta of about 1e17) mean that the residual variance has vanished.
COORDINATE_LIMIT = 80.0
#: The same for the entries of a vector-valued term, which are coordinates themselves.
THETA_LIMIT = 1e8


class Point(NamedTuple):
    """Where a lane stands: theta and the evaluation there (derivatives in Psi)."""

    theta: Array
    evaluation: Evaluation


class Move(NamedTuple):
    """A proposed step: where to, its length and promise, and whether it leaves the range."""

    theta: Array
    decrease: Array
    length: Array
    far: Array


class Lanes(NamedTuple):
    """State of the optimiser, one lane per response (last axis)."""

    point: Point  # best so far
    move: Move  # proposed from it
    radius: Array
    active: Array
    n_iter: Array


#: Nodes of the start grid per term, by number of scalar terms.
NODES = {1: 7, 2: 5, 3: 3}
#: Largest node: variance ratio times observations per level, on the log scale.
TOP_NODE = 4.5


def _nodes(count: int) -> np.ndarray:
    """Nodes of one term in the optimiser's coordinates, denser towards zero."""
    return np.linspace(0.0, 1.0, count) ** 1.5 * TOP_NODE


def start_grid(layout: Layout, size: Array) -> tuple[Array, tuple[int, ...]]:
    """Shared starting points (points, k) and the shape of the lattice they form.

    Up to three scalar terms get a full lattice in the optimiser's coordinates; otherwise the
    points are a fixed random cover and the shape is ``(points,)``.
    """
    k = layout.n_theta
    if bool(layout.is_scalar.all()) and k in NODES:
        nodes = _nodes(NODES[k])
        mesh = np.stack(np.meshgrid(*[nodes] * k, indexing="ij"), axis=-1).reshape(-1, k)
        return jnp.sqrt(jnp.expm1(mesh) / size[:, 0]), (NODES[k],) * k
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
    return jnp.asarray(np.array(rows)), (len(rows),)


def choose_start(
    layout: Layout, reml: bool, stats: Statistics, size: Array, n_starts: int = 1
) -> Array:
    """Best points of the shared grid for every response: theta (k, n_starts, B)."""
    points, shape = start_grid(layout, size)

    def value(point):
        out = evaluate(layout, reml, stats, point[:, None]).value
        return jnp.where(jnp.isfinite(out), out, jnp.inf)

    values = lax.map(value, points)  # (points, B)
    if n_starts > 1:
        _, best = lax.top_k(-values.T, min(n_starts, len(points)))
        return jnp.moveaxis(points[best.T], -1, 0)
    best = jnp.argmin(values, axis=0)
    if len(shape) != layout.n_theta:
        return points[best].T[:, None]
    return _between_nodes(layout, values, best, shape, size)[:, None]


def _between_nodes(
    layout: Layout, values: Array, best: Array, shape: tuple[int, ...], size: Array
) -> Array:
    """Refine the best node by a parabola through its neighbours along each axis: (k, B)."""
    nodes = jnp.asarray(_nodes(shape[0]))
    out = []
    stride = int(np.prod(shape))
    lane = jnp.arange(values.shape[1])
    for axis in range(len(shape)):
        stride //= shape[axis]
        here = (best // stride) % shape[axis]
        middle = jnp.clip(here, 1, shape[axis] - 2)
        centre = best + (middle - here) * stride
        x0, x1, x2 = nodes[middle - 1], nodes[middle], nodes[middle + 1]
        f0, f1, f2 = (values[centre + step * stride, lane] for step in (-1, 0, 1))
        d1, d2 = (f1 - f0) / (x1 - x0), (f2 - f1) / (x2 - x1)
        bend = (d2 - d1) / (x2 - x0)
        low = 0.5 * (x0 + x1) - d1 / (2.0 * jnp.where(bend > 0, bend, 1.0))
        x = jnp.where(bend > 0, jnp.clip(low, x0, x2), nodes[here])
        out.append(jnp.where(jnp.isfinite(x), x, nodes[here]))
    return jnp.sqrt(jnp.expm1(jnp.stack(out)) / size)


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
        target = jnp.where(free, target, 0.0)
        system = jnp.where(pair, hessian, eye * ~free[None])
        if bounded.all():
            # a bound is left by the sign of the gradient: no saddle can hold a lane
            step = -linalg.solve_descent(system, target)
            return jnp.where(free, step, fixed_step), jnp.zeros(x.shape[1:], dtype=bool)
        values, vectors = linalg.eigen(system, rounds=len(bounded))
        size = jnp.abs(values)
        top = jnp.max(size, axis=0)
        floor = jnp.maximum(top * 1e-10, 1e-300)
        along = jnp.sum(vectors * target[:, None], axis=0)
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


def propose(layout: Layout, size: Array, point: Point, radius: Array) -> Move:
    """Newton step from a point, in the coordinates of :mod:`lmmjax.covariance`."""
    result = point.evaluation
    assert result.gradient is not None and result.hessian is not None
    frame = covariance.to_frame(layout, point.theta)
    x = covariance.to_coordinates(layout, frame, size)
    gradient, hessian = covariance.chain_to_coordinates(
        layout, frame, size, result.gradient, result.hessian
    )
    step, decrease = newton_step(x, gradient, hessian, radius, layout.is_scalar)
    limit = np.where(layout.is_scalar, COORDINATE_LIMIT, THETA_LIMIT)[:, None]
    return Move(
        covariance.from_coordinates(layout, x + step, frame, size),
        decrease,
        jnp.sqrt(jnp.sum(step**2, axis=0)),
        jnp.any(jnp.abs(x + step) > limit, axis=0),
    )


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
    """Newton iterations from theta = ``start`` (k, B), at most ``max_iter``.

    A lane's path depends on its own data, start and radius only; stopping at ``max_iter``
    and resuming from the returned theta and radius continues it exactly.
    """

    def at(theta):
        result = evaluate(layout, reml, stats, theta, derivatives=True)
        value = jnp.where(jnp.isfinite(result.value), result.value, jnp.inf)
        return Point(
            theta, result._replace(value=value, dense_u=result.dense_u[:0], log_curvature=None)
        )

    def body(carry):
        lanes, trip = carry
        old = lanes.point.evaluation.value
        new = at(lanes.move.theta)
        value = new.evaluation.value
        # near the optimum the decrease drowns in rounding: allow for it
        better = value <= old + 1e-12 * (1.0 + jnp.abs(old))
        accept = lanes.active & better
        length = lanes.move.length
        radius = jnp.where(better, jnp.maximum(lanes.radius, 2.0 * length), 0.25 * length)
        radius = jnp.where(lanes.active, radius, lanes.radius)
        point = jax.tree.map(lambda a, b: jnp.where(accept, a, b), new, lanes.point)
        last = (trip > 0) & (lanes.move.decrease < DECREMENT_TOLERANCE)
        gone = ~better & (length < 1e-12)
        move = propose(layout, size, point, radius)
        hopeless = move.far | ~jnp.isfinite(point.evaluation.value)
        return (
            Lanes(
                point,
                move,
                radius,
                active=lanes.active & ~last & ~gone & ~hopeless,
                n_iter=lanes.n_iter + (lanes.active & (trip > 0)),
            ),
            trip + 1,
        )

    batch = start.shape[-1]
    # the loop makes the first evaluation too: the program holds one copy of it
    shape = jax.eval_shape(at, start)
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    worst = nothing.evaluation._replace(value=jnp.full(batch, jnp.inf))
    lanes = Lanes(
        nothing._replace(evaluation=worst),
        Move(start, jnp.zeros(batch), jnp.zeros(batch), jnp.zeros(batch, dtype=bool)),
        radius=jnp.broadcast_to(radius, (batch,)),
        active=alive,
        n_iter=jnp.zeros(batch, dtype=jnp.int32),
    )
    lanes, _ = lax.while_loop(
        lambda carry: jnp.any(carry[0].active) & (carry[1] <= max_iter), body, (lanes, 0)
    )
    return lanes


def evaluate_only(layout: Layout, reml: bool, stats: Statistics, batch: int) -> Lanes:
    """The lanes of a model without random effects: nothing to optimise."""
    nothing = jnp.zeros((0, batch))
    result = evaluate(layout, reml, stats, nothing)
    return Lanes(
        Point(nothing, result),
        Move(nothing, jnp.zeros(batch), jnp.zeros(batch), jnp.zeros(batch, dtype=bool)),
        radius=jnp.ones(batch),
        active=jnp.zeros(batch, dtype=bool),
        n_iter=jnp.zeros(batch, dtype=jnp.int32),
    )
