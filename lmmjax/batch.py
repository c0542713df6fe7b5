"""Many responses through one compiled program: padding, threads, devices, compaction.

Every chunk has the same padded size, so there is one compilation and a response's result
does not depend on which others are fitted.  A chunk makes a few Newton trips; responses
that need more are gathered, with the optimiser's exact state, into new chunks.
"""

from __future__ import annotations

import os
import queue
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from . import optimize
from .program import Outcome
from .structure import MANY_COLUMNS, Layout

Device = Any  # jax.Device, which jax declares as a variable

#: Newton trips a chunk makes before what is left of it is gathered with other chunks'.
FIRST_TRIPS_SCALAR = 6
FIRST_TRIPS_VECTOR = 7
MORE_TRIPS = 25
MAX_ITER = 200
#: Most blocks of a chunk, measured; and chunks that every core should have to itself.
BLOCKS_SCALAR, BLOCKS_VECTOR = 8, 4
CHUNKS_PER_CORE = 2


def block_size(layout: Layout, n: int, per_response_doubles: int, memory: float | None) -> int:
    """Responses that are worked on together, a power of two.

    On a CPU what keeps the working set in cache, on a GPU what keeps all of it busy; never
    more than a share of ``memory`` bytes.
    """
    k, m = layout.n_theta, layout.m
    if layout.n_dense >= MANY_COLUMNS:  # one such system fills the cores
        return 1
    doubles = per_response_doubles + (6 + 3 * k) * m * m + 2 * n + 4 * k * k
    if jax.default_backend() == "cpu":
        budget, low, high = 4e6, 32, 256
    else:
        budget, low, high = 4e9, 256, 131072
    if memory is not None:
        budget, low = min(budget, memory / 8), 1
    size = int(np.clip(budget / (8 * doubles), low, high))
    return 1 << (size.bit_length() - 1)


def chunk_size(layout: Layout, block: int, memory: float | None, total: int) -> int:
    """Responses, of ``total``, per call of the compiled program: blocks share its overhead.

    On a CPU a call brings several blocks, so that those that converge late can be packed
    together, if that leaves work for every core; on a GPU, or where memory is limited, a call
    is one block.
    """
    if memory is not None or jax.default_backend() != "cpu":
        return block
    share = total // (CHUNKS_PER_CORE * _cores() * block)
    most = BLOCKS_SCALAR if layout.is_scalar.all() else BLOCKS_VECTOR
    return block << min(max(share, 1), most).bit_length() - 1


def padded_size(count: int, size: int) -> int:
    """``size``, or for smaller jobs the smallest power of two that holds ``count`` responses."""
    return min(size, 1 << max(count - 1, 0).bit_length())


def worker_devices() -> list[Device]:
    """Device of each host thread that runs chunks.

    XLA uses one core for a program this small, so on a CPU every core gets a thread; with
    accelerators every device gets one.
    """
    devices = jax.local_devices()
    if devices[0].platform != "cpu":
        return devices
    return devices[:1] * _cores()


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass
class BatchResult:
    """Host copies of :class:`~lmmjax.program.Outcome` for all responses, and what it took."""

    outcome: Outcome
    finished: np.ndarray
    chunk_size: int
    compile_seconds: float


@dataclass
class Batches:
    """Driver of the compiled program over the columns of a table.

    Attributes
    ----------
    program
        :func:`lmmjax.program.fit_chunk` with everything bound up to ``scaling``.
    y, weights
        (n, G); weights are ``None`` on the shared path.
    columns
        Which columns to fit.
    size
        Responses per chunk.
    hopeful
        Which columns are to be fitted; the others are carried along as idle lanes.
    start
        (k,) theta in engine order and units from which all responses start, or ``None``.
    sigma
        Residual standard deviation of each response, like ``columns``, where it is known.
    """

    program: Callable[..., Outcome]
    layout: Layout
    y: np.ndarray
    weights: np.ndarray | None
    columns: np.ndarray
    size: int
    progress: Callable[[int], object]
    hopeful: np.ndarray | None = None
    start: np.ndarray | None = None
    sigma: np.ndarray | None = None
    results: list[np.ndarray] = field(default_factory=list)

    def run(self) -> BatchResult:
        """Fit everything."""
        total = len(self.columns)
        scalar = bool(self.layout.is_scalar.all())
        trips = FIRST_TRIPS_SCALAR if scalar else FIRST_TRIPS_VECTOR
        chunks = [np.arange(s, min(s + self.size, total)) for s in range(0, total, self.size)]
        devices = worker_devices()
        began = time.perf_counter()
        self._chunk(chunks[0], False, trips, devices[0])  # compiles
        first = time.perf_counter() - began
        self.progress(len(chunks[0]))
        began = time.perf_counter()
        self._side_by_side(chunks[1:], False, trips, devices)
        hot = (time.perf_counter() - began) / max(len(chunks) - 1, 1) * len(devices)
        self._finish(devices)
        outcome = Outcome(*self.results)
        return BatchResult(outcome, self._finished(), self.size, max(first - hot, 0.0))

    def _finished(self) -> np.ndarray:
        return Outcome(*self.results).decrease < optimize.VERIFIED_DECREASE

    def _finish(self, devices: list[Device]) -> None:
        """Resume what has not converged, gathered into full chunks, until all has."""
        while True:
            out = Outcome(*self.results)
            # a lane that is not a number has nowhere to go; one on a saddle (decrease
            # infinite) has
            open_ = ~self._finished() & ~np.isnan(out.decrease) & (out.n_iter > 0)
            left = np.flatnonzero(open_ & (out.n_iter < MAX_ITER))
            if not len(left):
                return
            before = out.n_iter[left]
            chunks = [left[s : s + self.size] for s in range(0, len(left), self.size)]
            self._side_by_side(chunks, True, MORE_TRIPS, devices)
            if np.array_equal(before, Outcome(*self.results).n_iter[left]):
                return  # what is left (a vanishing residual variance, say) has nowhere to go

    def _side_by_side(
        self, chunks: list[np.ndarray], resume: bool, trips: int, devices: list[Device]
    ) -> None:
        free: queue.SimpleQueue[Device] = queue.SimpleQueue()
        for device in devices:
            free.put(device)

        def job(which: np.ndarray) -> None:
            device = free.get()
            try:
                self._chunk(which, resume, trips, device)
            finally:
                free.put(device)
            if not resume:
                self.progress(len(which))

        if len(devices) == 1 or len(chunks) <= 1:
            for which in chunks:
                job(which)
            return
        pool = ThreadPoolExecutor(len(devices))
        try:
            list(pool.map(job, chunks))
        finally:  # on Ctrl-C do not work through the queue
            pool.shutdown(wait=True, cancel_futures=True)

    def _chunk(self, which: np.ndarray, resume: bool, trips: int, device: Device) -> None:
        """Fit the columns at positions ``which`` of ``columns`` and store the outcome."""
        source = self.columns[which]
        there = np.arange(self.size) < len(which)
        alive = there.copy()
        if self.hopeful is not None:
            alive[there] = self.hopeful[which]
        theta0 = np.zeros((self.layout.n_theta, self.size))
        radius0 = np.full(self.size, optimize.START_RADIUS)
        if self.start is not None:
            theta0[:] = self.start[:, None]
        if resume:
            so_far = Outcome(*self.results)
            theta0[:, there], radius0[there] = so_far.theta[:, which], so_far.radius[which]
        weights = None if self.weights is None else self._padded(self.weights, source)
        sigma = None
        if self.sigma is not None:
            sigma = np.ones(self.size)
            sigma[there] = self.sigma[which]
        with jax.enable_x64(True), jax.default_device(device):
            given = resume or self.start is not None
            out = self.program(
                self._padded(self.y, source), weights, alive, theta0, radius0, given, trips, sigma
            )
            host = Outcome(*(np.asarray(leaf)[..., : len(which)] for leaf in out))
        if resume:
            host = host._replace(n_iter=host.n_iter + Outcome(*self.results).n_iter[which])
        if not self.results:
            total = len(self.columns)
            self.results = [np.empty((*leaf.shape[:-1], total), leaf.dtype) for leaf in host]
        for target, leaf in zip(self.results, host, strict=True):
            target[..., which] = leaf

    def _padded(self, matrix: np.ndarray, columns: np.ndarray) -> np.ndarray:
        if columns[-1] - columns[0] + 1 == len(columns):  # consecutive: no gather
            part = matrix[:, columns[0] : columns[-1] + 1]
        else:
            part = matrix[:, columns]
        if len(columns) == self.size:
            return np.ascontiguousarray(part)
        out = np.zeros((matrix.shape[0], self.size))
        out[:, : len(columns)] = part
        return out
