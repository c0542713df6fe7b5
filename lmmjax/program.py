"""The compiled program: statistics, start, Newton and results of one chunk of responses."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax

from . import covariance, deviance, linalg, optimize
from .array_library import jnp, lax
from .compiled import compiled
from .crossproducts import shared_statistics
from .prepare import Leaf, SharedArrays
from .small_work import is_small
from .start import choose_start
from .statistics import is_alone, side_by_side
from .structure import Layout
from .weighted import WeightedArrays, weighted_statistics

Array = jax.Array


class Outcome(NamedTuple):
    """What the compiled program returns per response (last axis, B).

    theta is in engine units; ``fixed`` and ``fixed_cov`` refer to the basis of X, in units
    of the response and of sigma^2.
    """

    theta: Leaf
    objective: Leaf
    sigma: Leaf
    rss_fraction: Leaf
    residual_ratio: Leaf
    identified: Leaf
    fixed: Leaf
    fixed_cov: Leaf
    gradient_norm: Leaf
    lowest_eigenvalue: Leaf
    n: Leaf
    rank: Leaf
    kept: Leaf
    decrease: Leaf
    radius: Leaf
    n_iter: Leaf


def _is_small(layout, reml, n_starts, block, arrays, scaling, y, *rest) -> bool:
    return is_small(layout, arrays, y.shape[1])


@compiled("layout", "reml", "n_starts", "block", unless=_is_small)
def fit_chunk(
    layout: Layout,
    reml: bool,
    n_starts: int,
    block: int,
    arrays: SharedArrays | WeightedArrays,
    scaling: dict[str, Array],
    y: Array,
    weights: Array | None,
    alive: Array,
    theta0: Array,
    radius0: Array,
    resume: Array,
    max_trips: Array,
    sigma: Array | None = None,
) -> Outcome:
    """Fit the columns of y (n, B), ``block`` at a time: statistics, start, Newton, results.

    ``sigma`` (B,): the residual standard deviations where they are known.
    ``resume`` (scalar) continues from ``theta0`` and trust radius ``radius0``
    instead of the grid.  Columns with ``alive`` false are carried along untouched.
    """
    identified = jnp.ones(y.shape[1], dtype=bool)
    if isinstance(arrays, WeightedArrays):
        assert weights is not None
        stats, fixed, log_scale, residual_ratio = weighted_statistics(layout, arrays, y, weights)
        identified = deviance.identified(layout, stats)
    else:
        stats, fixed, log_scale, residual_ratio = shared_statistics(layout, arrays, y)
    if sigma is not None:
        stats = stats._replace(variance=(sigma / jnp.exp(log_scale)) ** 2)
    size = scaling["level_size"]
    batch = y.shape[1]
    if layout.n_theta:
        starts = lax.cond(
            resume,
            lambda: jnp.broadcast_to(theta0[:, None], (layout.n_theta, n_starts, batch)),
            lambda: choose_start(layout, reml, stats, size, n_starts),
        )
        radius = jnp.where(resume, radius0, optimize.START_RADIUS)

        def run(start, stats=stats, alive=alive, block=block):
            return optimize.minimise(
                layout, reml, stats, size, start, radius, alive, max_trips, block
            )

        if n_starts == 1:
            lanes = run(starts[:, 0])
        elif is_alone(stats):
            several = side_by_side(stats, n_starts)
            lanes = _best_lane(
                run(starts[..., 0], several, jnp.broadcast_to(alive, (n_starts,)), n_starts)
            )
        else:
            # a resumed lane has one start only: the loop ends after it
            nothing = optimize.blank_lanes(layout, batch)
            lanes = _best_of(run, starts, jnp.where(resume, 1, n_starts), nothing)
        point = lanes.point
        result = point.evaluation
        assert result.gradient is not None and result.hessian is not None
        gradient, hessian = covariance.chain_to_theta(
            layout, point.theta, result.gradient, result.hessian
        )
        unit = scaling["theta_unit"]
        values, _ = linalg.eigen(hessian * (unit[:, None] * unit[None]))
        gradient_norm = jnp.max(jnp.abs(gradient * unit), axis=0)
        lowest = jnp.min(values, axis=0)
    else:
        lanes = optimize.evaluate_only(layout, reml, stats, batch)
        point = lanes.point
        result = point.evaluation
        gradient_norm, lowest = jnp.zeros(batch), jnp.full(batch, jnp.nan)
    nu = deviance.degrees_of_freedom(reml, stats)
    objective = result.value + deviance.objective_constant(reml, stats, log_scale)
    kept = jnp.ones((layout.p, 1)) if stats.kept is None else stats.kept
    if reml:
        objective = objective + 2.0 * jnp.sum(kept * scaling["log_x_scale"], axis=0)
    scale = jnp.exp(log_scale)
    wide = partial(jnp.broadcast_to, shape=(batch,))
    return Outcome(
        theta=point.theta,
        objective=objective,
        sigma=jnp.sqrt(result.rss / nu) * scale if sigma is None else sigma,
        rss_fraction=result.rss / stats.n,
        residual_ratio=residual_ratio,
        identified=identified,
        fixed=(fixed + result.fixed) * scale,
        fixed_cov=result.fixed_cov,
        gradient_norm=gradient_norm,
        lowest_eigenvalue=lowest,
        n=wide(stats.n),
        rank=wide(stats.rank),
        kept=jnp.broadcast_to(kept, (layout.p, batch)),
        decrease=lanes.move.decrease,
        radius=lanes.radius,
        n_iter=lanes.n_iter,
    )


def _best_lane(lanes: optimize.Lanes) -> optimize.Lanes:
    """As :func:`_best_of` for one response, whose starts are the lanes."""
    value = lanes.point.evaluation.value
    best = 0
    for index in range(1, len(value)):
        best = jnp.where(_is_lower(value[index], linalg.part(value, best, 0)), index, best)
    return jax.tree.map(lambda leaf: linalg.part(leaf, best, leaf.ndim - 1)[..., None], lanes)


def _is_lower(value: Array, old: Array) -> Array:
    """By a clear margin, so that rounding does not pick among equal minima."""
    return value - old < -1e-9 * (1.0 + jnp.abs(value))


def _best_of(
    run: Callable[[Array], optimize.Lanes],
    starts: Array,
    count: Array,
    nothing: optimize.Lanes,
) -> optimize.Lanes:
    """Lanes of the best among the first ``count`` starts (k, n_starts, B)."""

    def better(index, best):
        lanes = run(linalg.part(starts, index, 1))
        value, old = lanes.point.evaluation.value, best.point.evaluation.value
        wins = _is_lower(value, old) | (index == 0)
        return jax.tree.map(lambda a, b: jnp.where(wins, a, b), lanes, best)

    return lax.fori_loop(0, count, better, nothing)
