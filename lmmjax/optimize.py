"""Batched minimisation of the deviance over unconstrained theta.

The deviance is even under sign flips of Lambda's columns, so theta needs no bounds and a
variance of zero is an ordinary stationary point.  Each lane takes trust-region Newton steps
with the exact Hessian; negative curvature is followed downhill with its sign reversed
(saddle-free Newton), so saddles, among them theta = 0 of a positive variance, repel.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

from . import covariance, linalg
from .array_library import jnp, lax
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
#: Rounds in which a step may change which coordinates it holds at their bounds.
SETTLING_ROUNDS = 4
#: Evaluations of every lane before those still active are packed together.
FIRST_ROUND = 3
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


def newton_step(
    x: Array, gradient: Array, hessian: Array, radius: Array, bounded: np.ndarray
) -> tuple[Array, Array]:
    """Saddle-free Newton step within a trust radius and the bounds x >= 0.

    Coordinates that sit on their bound with a gradient pointing outwards stay; which others
    end on theirs is settled in a few rounds.

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

    def settle(carry):
        """Hold what crosses its bound there, let go what the others' steps drive inwards."""
        at_bound, _, _, _, rounds = carry
        step, stuck = among(~at_bound, jnp.where(at_bound, -x, 0.0))
        crossing = held & ~at_bound & (x + step < 0.0)
        slope = gradient + jnp.sum(hessian * step[None], axis=1)
        inwards = at_bound & (slope < 0.0) & ~jnp.any(crossing, axis=0)
        return (at_bound | crossing) & ~inwards, step, stuck, crossing | inwards, rounds + 1

    if bounded.any():
        nothing = jnp.zeros_like(x), jnp.zeros(x.shape[1:], dtype=bool)
        _, step, stuck, _, _ = lax.while_loop(
            lambda carry: jnp.any(carry[3]) & (carry[4] < SETTLING_ROUNDS),
            settle,
            (on_bound, *nothing, jnp.ones_like(on_bound), 0),
        )
        step = jnp.where(held, jnp.maximum(x + step, 0.0) - x, step)
        # if that leads uphill, each coordinate by itself does not
        curvature = jnp.abs(jnp.stack([hessian[i, i] for i in range(len(bounded))]))
        alone = -gradient / jnp.maximum(curvature, 1e-300)
        alone = jnp.where(held, jnp.maximum(x + alone, 0.0) - x, alone)
        uphill = ~stuck & (jnp.sum(gradient * step, axis=0) > 0.0)
        step = jnp.where(uphill, alone, step)
    else:
        step, stuck = among(~on_bound, jnp.zeros_like(x))
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
    block: int,
) -> Lanes:
    """Newton iterations from theta = ``start`` (k, B), at most ``max_iter``.

    A lane's path depends on its own data, start and radius only; stopping at ``max_iter``
    and resuming from the returned theta and radius continues it exactly.  ``block`` lanes
    are worked on at a time: after each round the lanes still active are packed together,
    and blocks without any are left out.
    """
    batch = start.shape[-1]
    # a block makes the first evaluation too: the program holds one copy of it
    lanes = blank_lanes(layout, batch)
    lanes = lanes._replace(
        move=lanes.move._replace(theta=start),
        radius=jnp.broadcast_to(radius, (batch,)),
        active=alive,
    )
    if batch <= block:
        lanes = _advance(layout, reml, stats, size, lanes, max_iter + 1)
        return lanes._replace(n_iter=jnp.maximum(lanes.n_iter, 0))

    def round_of_blocks(carry):
        lanes, done = carry
        order = _active_first(lanes.active)
        # no lane is finished before its third evaluation, apart from the luckiest
        trips = jnp.minimum(jnp.where(done == 0, FIRST_ROUND, 1), max_iter + 1 - done)

        def one_block(index, lanes):
            which = lax.dynamic_slice_in_dim(order, index * block, block)
            part = jax.tree.map(lambda leaf: leaf[..., which], lanes)
            own = jax.tree.map(
                lambda leaf: leaf if leaf.shape[-1] == 1 else leaf[..., which], stats
            )
            part = _advance(layout, reml, own, size, part, trips)
            return jax.tree.map(lambda whole, new: whole.at[..., which].set(new), lanes, part)

        blocks = (jnp.sum(lanes.active) + block - 1) // block
        return lax.fori_loop(0, blocks, one_block, lanes), done + trips

    lanes, _ = lax.while_loop(
        lambda carry: jnp.any(carry[0].active) & (carry[1] <= max_iter),
        round_of_blocks,
        (lanes, 0),
    )
    return lanes._replace(n_iter=jnp.maximum(lanes.n_iter, 0))


def blank_lanes(layout: Layout, batch: int) -> Lanes:
    """Lanes that have not been evaluated: zeros, an infinite value, -1 iterations."""
    k, p, none = layout.n_theta, layout.p, jnp.zeros(batch)
    evaluation = Evaluation(
        value=none + jnp.inf,
        rss=none,
        logdet_x=none,
        fixed=jnp.zeros((p, batch)),
        fixed_cov=jnp.zeros((p, p, batch)),
        dense_u=jnp.zeros((0, batch)),
        gradient=jnp.zeros((k, batch)),
        hessian=jnp.zeros((k, k, batch)),
    )
    theta = jnp.zeros((k, batch))
    idle = jnp.zeros(batch, dtype=bool)
    count = jnp.full(batch, -1, dtype=jnp.int32)
    return Lanes(Point(theta, evaluation), Move(theta, none, none, idle), none, idle, count)


def _active_first(active: Array) -> Array:
    """Positions of the active lanes in their order, then those of the others."""
    ahead = jnp.cumsum(active)
    place = jnp.where(active, ahead - 1, ahead[-1] + jnp.cumsum(~active) - 1)
    return jnp.zeros_like(place).at[place].set(jnp.arange(len(active)))


def _point(layout: Layout, reml: bool, stats: Statistics, theta: Array) -> Point:
    result = evaluate(layout, reml, stats, theta, derivatives=True)
    value = jnp.where(jnp.isfinite(result.value), result.value, jnp.inf)
    none = {"dense_u": result.dense_u[:0], "log_gradient": None, "log_curvature": None}
    return Point(theta, result._replace(value=value, **none))


def _advance(
    layout: Layout, reml: bool, stats: Statistics, size: Array, lanes: Lanes, trips: Array
) -> Lanes:
    """Up to ``trips`` evaluations of every active lane, each at the move proposed last."""

    def body(carry):
        lanes, trip = carry
        old = lanes.point.evaluation.value
        new = _point(layout, reml, stats, lanes.move.theta)
        value = new.evaluation.value
        # near the optimum the decrease drowns in rounding: allow for it
        better = value <= old + 1e-12 * (1.0 + jnp.abs(old))
        accept = lanes.active & better
        length = lanes.move.length
        radius = jnp.where(better, jnp.maximum(lanes.radius, 2.0 * length), 0.25 * length)
        radius = jnp.where(lanes.active, radius, lanes.radius)
        point = jax.tree.map(lambda a, b: jnp.where(accept, a, b), new, lanes.point)
        last = (lanes.n_iter >= 0) & (lanes.move.decrease < DECREMENT_TOLERANCE)
        gone = ~better & (length < 1e-12)
        move = propose(layout, size, point, radius)
        hopeless = move.far | ~jnp.isfinite(point.evaluation.value)
        return (
            Lanes(
                point,
                move,
                radius,
                active=lanes.active & ~last & ~gone & ~hopeless,
                n_iter=lanes.n_iter + lanes.active,
            ),
            trip + 1,
        )

    lanes, _ = lax.while_loop(
        lambda carry: jnp.any(carry[0].active) & (carry[1] < trips), body, (lanes, 0)
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
