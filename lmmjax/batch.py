"""Many responses through one compiled program: padding, threads, devices, compaction.

Every chunk has the same padded size, so there is one compilation and a response's result
does not depend on which others are fitted.  A chunk runs a few Newton trips; responses
that need more are gathered, with the optimiser's exact state, into new chunks.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from . import covariance, linalg, optimize
from .crossproducts import shared_statistics
from .deviance import objective_constant
from .prepare import SharedArrays
from .structure import Layout
from .weighted import WeightedArrays, weighted_statistics

Array = jax.Array

#: Newton trips a chunk makes before what is left of it is gathered with other chunks'.
FIRST_TRIPS_SCALAR = 4
FIRST_TRIPS_VECTOR = 7
MORE_TRIPS = 25
MAX_ITER = 200


class Outcome(NamedTuple):
    """What the compiled program returns per response (last axis, B).

    theta is in engine units; ``fixed`` and ``fixed_cov`` refer to the basis of X, in units
    of the response and of sigma^2.
    """

    theta: Array
    objective: Array
    sigma: Array
    rss_fraction: Array
    residual_ratio: Array
    fixed: Array
    fixed_cov: Array
    gradient_norm: Array
    lowest_eigenvalue: Array
    n: Array
    rank: Array
    kept: Array
    decrease: Array
    radius: Array
    n_iter: Array


@partial(jax.jit, static_argnames=("layout", "reml", "n_starts"))
def fit_chunk(
    layout: Layout,
    reml: bool,
    n_starts: int,
    arrays: SharedArrays | WeightedArrays,
    scaling: dict[str, Array],
    y: Array,
    weights: Array | None,
    alive: Array,
    theta0: Array,
    radius0: Array,
    resume: Array,
    max_trips: Array,
) -> Outcome:
    """Fit the columns of y (n, B): statistics, start, Newton, results.

    ``resume`` (scalar) continues from ``theta0`` and trust radius ``radius0``
    instead of the grid.  Columns with ``alive`` false are carried along untouched.
    """
    if isinstance(arrays, WeightedArrays):
        assert weights is not None
        stats, fixed, log_scale, residual_ratio = weighted_statistics(layout, arrays, y, weights)
    else:
        stats, fixed, log_scale, residual_ratio = shared_statistics(layout, arrays, y)
    size = scaling["level_size"]
    batch = y.shape[1]
    if layout.n_theta:
        starts = jax.lax.cond(
            resume,
            lambda: jnp.broadcast_to(theta0[:, None], (layout.n_theta, n_starts, batch)),
            lambda: optimize.choose_start(layout, reml, stats, size, n_starts),
        )
        radius = jnp.where(resume, radius0, optimize.START_RADIUS)

        def run(start):
            return optimize.minimise(layout, reml, stats, size, start, radius, alive, max_trips)

        if n_starts == 1:
            lanes = run(starts[:, 0])
        else:
            # a resumed lane has one start only: the loop ends after it
            lanes = _best_of(run, starts, jnp.where(resume, 1, n_starts))
        point = lanes.point
        result = point.evaluation
        gradient, hessian = covariance.chain_to_theta(
            layout, point.theta, result.gradient, result.hessian
        )
        unit = scaling["theta_unit"]
        values, _ = linalg.eigen(hessian * (unit[:, None] * unit[None]))
        gradient_norm = jnp.max(jnp.abs(gradient * unit), axis=0)
        lowest = jnp.min(values, axis=0)
        decrease = optimize.propose(layout, size, point, lanes.radius).decrease
    else:
        lanes = optimize.evaluate_only(layout, reml, stats, batch)
        point = lanes.point
        result = point.evaluation
        gradient_norm, lowest = jnp.zeros(batch), jnp.full(batch, jnp.nan)
        decrease = jnp.zeros(batch)
    nu = stats.n - stats.rank if reml else stats.n
    objective = result.value + objective_constant(reml, stats, log_scale)
    kept = jnp.ones((layout.p, 1)) if stats.kept is None else stats.kept
    if reml:
        objective = objective + 2.0 * jnp.sum(kept * scaling["log_x_scale"], axis=0)
    scale = jnp.exp(log_scale)
    wide = partial(jnp.broadcast_to, shape=(batch,))
    return Outcome(
        theta=point.theta,
        objective=objective,
        sigma=jnp.sqrt(result.rss / nu) * scale,
        rss_fraction=result.rss / stats.n,
        residual_ratio=residual_ratio,
        fixed=(fixed + result.fixed) * scale,
        fixed_cov=result.fixed_cov,
        gradient_norm=gradient_norm,
        lowest_eigenvalue=lowest,
        n=wide(stats.n),
        rank=wide(stats.rank),
        kept=jnp.broadcast_to(kept, (layout.p, batch)),
        decrease=decrease,
        radius=lanes.radius,
        n_iter=lanes.n_iter,
    )


def _best_of(run: Callable[[Array], optimize.Lanes], starts: Array, count: Array) -> optimize.Lanes:
    """Lanes of the best among the first ``count`` starts (k, n_starts, B)."""

    shape = jax.eval_shape(run, starts[:, 0])
    none = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shape)
    worst = none.point.evaluation._replace(value=none.point.evaluation.value + jnp.inf)

    def better(index, best):
        lanes = run(jax.lax.dynamic_index_in_dim(starts, index, 1, keepdims=False))
        value, old = lanes.point.evaluation.value, best.point.evaluation.value
        # a clear margin, so that rounding does not pick among equal minima
        wins = value - old < -1e-9 * (1.0 + jnp.abs(value))
        return jax.tree.map(lambda a, b: jnp.where(wins | (index == 0), a, b), lanes, best)

    return jax.lax.fori_loop(
        0, count, better, none._replace(point=none.point._replace(evaluation=worst))
    )


@dataclass
class BatchResult:
    """Host copies of :class:`Outcome` for all responses, and what it took."""

    outcome: Outcome
    finished: np.ndarray
    chunk_size: int
    compile_seconds: float


def chunk_size(layout: Layout, n: int, per_response_doubles: int, memory: float | None) -> int:
    """Responses per chunk: what keeps the working set in cache (CPU) or memory (GPU)."""
    k, m = layout.n_theta, layout.m
    doubles = per_response_doubles + (6 + 3 * k) * m * m + 2 * n + 4 * k * k
    if jax.default_backend() == "cpu":
        budget = 3e6 if memory is None else min(3e6, memory / 8)
        size = int(budget / (8 * doubles))
        low, high = 32, 256
    else:
        budget = 4e9 if memory is None else memory / 4
        size = int(budget / (8 * doubles))
        low, high = 256, 131072
    size = int(np.clip(size, low, high))
    return 1 << (size.bit_length() - 1)


def workers() -> list[jax.Device]:
    """Device of each host thread that runs chunks.

    XLA uses one core for a program this small, so on a CPU every core gets a thread; with
    accelerators every device gets one.
    """
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        return devices
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return devices[:1] * (cores or 1)


def run_batches(
    program: Callable[..., Outcome],
    y: np.ndarray,
    weights: np.ndarray | None,
    columns: np.ndarray,
    layout: Layout,
    size: int,
    progress: Callable[[int], None],
) -> BatchResult:
    """Fit the given columns of y (n, G); weights (n, G) are optional.

    ``program`` is :func:`fit_chunk` with everything bound up to ``scaling``.
    """
    total = len(columns)
    n_theta = layout.n_theta
    first_trips = FIRST_TRIPS_SCALAR if layout.is_scalar.all() else FIRST_TRIPS_VECTOR
    compile_seconds = [0.0]
    results: list[np.ndarray] | None = None
    lock = threading.Lock()
    pool_devices = workers()

    def run(which, state, trips, device):
        nonlocal results
        pad = size - len(which)
        source = columns[which]
        block = np.zeros((y.shape[0], size))
        block[:, : len(which)] = _take(y, source)
        wblock = None
        if weights is not None:
            wblock = np.zeros((y.shape[0], size))
            wblock[:, : len(which)] = _take(weights, source)
        alive = np.arange(size) < len(which)
        theta0, radius0 = np.zeros((n_theta, size)), np.ones(size)
        if state is not None:
            theta0[:, : len(which)], radius0[: len(which)] = state[0], state[1]
        with jax.enable_x64(True), jax.default_device(device):
            out = program(block, wblock, alive, theta0, radius0, state is not None, trips)
            host = [np.asarray(leaf) for leaf in out]
        with lock:
            if results is None:
                results = [np.empty((*leaf.shape[:-1], total), leaf.dtype) for leaf in host]
            for target, leaf, field in zip(results, host, Outcome._fields, strict=True):
                kept = leaf[..., : len(which)] if pad else leaf
                if field == "n_iter" and state is not None:
                    kept = kept + target[..., which]
                target[..., which] = kept

    chunks = [np.arange(start, min(start + size, total)) for start in range(0, total, size)]
    began = time.perf_counter()
    run(chunks[0], None, first_trips, pool_devices[0])
    first = time.perf_counter() - began
    progress(len(chunks[0]))

    def in_parallel(jobs: list, trips: int, count: bool) -> None:
        free = queue.SimpleQueue()
        for device in pool_devices:
            free.put(device)

        def job(args):
            device = free.get()
            try:
                run(*args, trips, device)
            finally:
                free.put(device)
            if count:
                progress(len(args[0]))

        if len(pool_devices) == 1 or len(jobs) <= 1:
            for args in jobs:
                job(args)
            return
        with ThreadPoolExecutor(len(pool_devices)) as pool:
            list(pool.map(job, jobs))

    began = time.perf_counter()
    in_parallel([(chunk, None) for chunk in chunks[1:]], first_trips, True)
    if len(chunks) > 1:
        typical = (time.perf_counter() - began) / (len(chunks) - 1) * len(pool_devices)
        compile_seconds[0] = max(first - typical, 0.0)
    else:
        compile_seconds[0] = first
    assert results is not None
    names = Outcome._fields
    finished = np.zeros(total, dtype=bool)
    trips = MORE_TRIPS
    while True:
        out = Outcome(*results)
        finished = out.decrease < optimize.VERIFIED_DECREASE
        left = np.flatnonzero(
            ~finished & (out.n_iter < MAX_ITER) & np.isfinite(out.decrease)
            | (~finished & np.isposinf(out.decrease) & (out.n_iter < MAX_ITER))
        )
        left = left[out.n_iter[left] > 0]
        if not len(left):
            break
        theta, radius = results[names.index("theta")], results[names.index("radius")]
        before = out.n_iter[left].copy()
        jobs = [
            (left[s : s + size], (theta[:, left[s : s + size]], radius[left[s : s + size]]))
            for s in range(0, len(left), size)
        ]
        in_parallel(jobs, trips, False)
        after = results[names.index("n_iter")][left]
        if np.array_equal(before, after):  # nothing moves any more
            break
    return BatchResult(Outcome(*results), finished, size, compile_seconds[0])


def _take(matrix: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Columns of a matrix; a slice where they are consecutive (no gather)."""
    if len(columns) and columns[-1] - columns[0] + 1 == len(columns):
        return matrix[:, columns[0] : columns[-1] + 1]
    return matrix[:, columns]
