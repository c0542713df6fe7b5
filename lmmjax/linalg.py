"""Batched operations on small symmetric matrices, the batch on the last axis.

Tiny matrices are slow through batched LAPACK; whole-array operations whose fastest axis
runs over the responses are not.  Every function takes arrays of shape (rows, columns,
...batch) and lets the batch axes broadcast, so one matrix shared by all responses (batch
axis of length 1) costs next to nothing.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from .array_library import is_numpy, jnp, lax
from .structure import MANY_COLUMNS

Array = jax.Array


#: Columns per pass over a batch of matrices: the passes are bound by memory.
PASS_WIDTH = 4


def part(array: Array, index: Array | int, axis: int) -> Array:
    """The sub-array at ``index``, known when the program is written or only when it runs."""
    if isinstance(index, int):
        return lax.index_in_dim(array, index, axis, keepdims=False)
    return lax.dynamic_index_in_dim(array, index, axis, keepdims=False)


def _row(matrix: Array, index: Array | int) -> Array:
    return part(matrix, index, 0)


def product(a: Array, b: Array) -> Array:
    """Matrix product of (i, j, batch) and (j, k, batch).

    Small ones by accumulating outer products, large ones by the matrix routines.
    """
    inner = a.shape[1]
    if inner >= MANY_COLUMNS:
        return jnp.einsum("ij...,jk...->ik...", a, b)
    batch = jnp.broadcast_shapes(a.shape[2:], b.shape[2:])
    columns = jnp.swapaxes(a, 0, 1)

    def accumulate(first, count, total):
        for j in range(count):
            total = total + _row(columns, first + j)[:, None] * _row(b, first + j)[None]
        return total

    zero = jnp.zeros((a.shape[0], b.shape[1], *batch), a.dtype)
    passes, rest = divmod(inner, PASS_WIDTH)
    if passes <= 1:
        return accumulate(0, inner, zero)
    total = lax.fori_loop(
        0, passes, lambda k, total: accumulate(k * PASS_WIDTH, PASS_WIDTH, total), zero
    )
    return accumulate(passes * PASS_WIDTH, rest, total)


def absorb(
    theta: Array, steps: tuple[np.ndarray, np.ndarray], rr: Array, ry: Array, yy: Array
) -> tuple[Array, Array, Array, Array]:
    """Add random effects to the covariance, one column of Z Lambda at a time.

    ``rr``, ``ry``, ``yy`` are cross-products A' V^-1 A, A' V^-1 y, y' V^-1 y.  Each step
    updates them for V + z z', where z is a column of Z Lambda (Sherman and Morrison); no
    step divides by theta, so theta = 0 is an ordinary point.  A few columns at a time are
    updated for each other first, so that ``rr`` is read and written once for all of them.

    Returns
    -------
    rr, ry, yy, logdet
        The updated cross-products and log|I + Lambda' Z' V^-1 Z Lambda|.
    """
    rows, entries = steps
    width = min(PASS_WIDTH, len(rows))
    spare = -len(rows) % width
    # steps that fill the last pass have no column: weight zero
    rows = jnp.asarray(np.pad(rows, ((0, spare), (0, 0))))
    entries = jnp.asarray(np.pad(entries, ((0, spare), (0, 0)), constant_values=len(theta)))
    padded = jnp.concatenate([theta, jnp.zeros_like(theta[:1])])

    def times_lambda(matrix, weight, row):
        """The combination of rows of ``matrix`` that one column of Lambda makes."""
        total = weight[0] * _row(matrix, row[0])
        for w, r in zip(weight[1:], row[1:], strict=True):
            total = total + w * _row(matrix, r)
        return total

    def several(index, carry):
        rr, ry, yy, logdet = carry
        done: list[tuple[Array, Array, Array, Array]] = []
        for step in range(width):
            slots = [(index * width + step, slot) for slot in range(rows.shape[1])]
            row = [rows[at] for at in slots]
            weight = [_row(padded, entries[at]) for at in slots]
            column, response = times_lambda(rr, weight, row), times_lambda(ry, weight, row)
            for earlier, scaled, _, shift in done:
                overlap = times_lambda(earlier, weight, row)
                column = column - overlap * scaled
                response = response - overlap * shift
            pivot = 1.0 + times_lambda(column, weight, row)
            scaled, shift = column / pivot, response / pivot
            # without the barrier every later step would compute the earlier ones again
            column, scaled, response, shift, pivot = lax.optimization_barrier(
                (column, scaled, response, shift, pivot)
            )
            done.append((column, scaled, response, shift))
            logdet = logdet + jnp.log(pivot)
        for column, scaled, response, shift in done:
            rr = rr - column[:, None] * scaled[None]
            ry = ry - scaled * response
            yy = yy - shift * response
        return rr, ry, yy, logdet

    start = (rr, ry, yy, jnp.zeros_like(rr[0, 0]))
    return lax.fori_loop(0, rows.shape[0] // width, several, start)


def sweep(
    first: int, rr: Array, ry: Array, yy: Array, kept: Array | None
) -> tuple[Array, Array, Array, Array]:
    """Sweep the pivots from ``first`` on (Goodnight 1979): the fixed effects.

    Afterwards the swept block of ``rr`` holds minus its inverse, the swept part of ``ry``
    the coefficients, and everything else its residual form.  Pivots with ``kept`` zero
    (columns that are collinear for this response) are left out: coefficient zero.

    Returns
    -------
    rr, ry, yy, logdet
        with the log-determinant of the swept block.
    """
    order = jnp.arange(rr.shape[0]).reshape(-1, *[1] * (rr.ndim - 2))

    def step(index, carry):
        rr, ry, yy, logdet = carry
        column = _row(rr, index)
        response = _row(ry, index)
        pivot = _row(column, index)
        if kept is not None:
            use = _row(kept, index - first) > 0
            pivot = jnp.where(use, pivot, 1.0)
            column = jnp.where(use, column, 0.0)
            response = jnp.where(use, response, 0.0)
        scaled = column / pivot
        here = order == index
        inverse = -1.0 / pivot if kept is None else jnp.where(use, -1.0 / pivot, 0.0)
        swept_row = jnp.where(here, inverse, scaled)
        update = rr - column[:, None] * scaled[None]
        rr = jnp.where(
            here[:, None], swept_row[None], jnp.where(here[None], swept_row[:, None], update)
        )
        ry = jnp.where(here, response / pivot, ry - scaled * response)
        yy = yy - response * response / pivot
        return rr, ry, yy, logdet + jnp.log(pivot)

    if first == rr.shape[0]:
        return rr, ry, yy, jnp.zeros_like(yy)
    start = (rr, ry, yy, jnp.zeros_like(rr[0, 0]))
    return lax.fori_loop(first, rr.shape[0], step, start)


def inverse_and_logdet(matrix: Array) -> tuple[Array, Array]:
    """Inverse and log-determinant of symmetric positive definite (q, q, batch) matrices."""
    q = matrix.shape[0]
    if q == 1:
        return 1.0 / matrix, jnp.log(matrix[0, 0])
    if q == 2:  # written out: no loop to compile
        factor = matrix[1, 0] / matrix[0, 0]
        rest = matrix[1, 1] - factor * matrix[1, 0]
        corner, side = 1.0 / rest, -factor / rest
        first = jnp.stack([1.0 / matrix[0, 0] - factor * side, side])
        return jnp.stack([first, jnp.stack([side, corner])]), jnp.log(matrix[0, 0] * rest)
    ry = jnp.zeros_like(matrix[0])
    swept, _, _, logdet = sweep(0, matrix, ry, jnp.zeros_like(matrix[0, 0]), None)
    return -swept, logdet


def solve_descent(matrix: Array, right: Array) -> Array:
    """Solve (k, k, batch) symmetric systems with every pivot of L D L' made positive.

    For a positive definite matrix that is the plain solution; otherwise the solution of a
    nearby positive definite system, so that -solution of a gradient still points downhill.
    """
    k = matrix.shape[0]
    lower = [[matrix[0, 0]] * k for _ in range(k)]
    pivots: list[Array] = []
    forward: list[Array] = []
    for j in range(k):
        pivot = matrix[j, j] - sum(
            (lower[j][i] * lower[j][i] * pivots[i] for i in range(j)), jnp.zeros_like(right[0])
        )
        floor = 1e-10 * jnp.abs(matrix[j, j]) + 1e-300
        pivots.append(jnp.maximum(jnp.abs(pivot), floor))
        for r in range(j + 1, k):
            rest = matrix[r, j] - sum(
                (lower[r][i] * lower[j][i] * pivots[i] for i in range(j)),
                jnp.zeros_like(right[0]),
            )
            lower[r][j] = rest / pivots[j]
        forward.append(
            right[j] - sum((lower[j][i] * forward[i] for i in range(j)), jnp.zeros_like(right[0]))
        )
    solution: list[Array] = [f / p for f, p in zip(forward, pivots, strict=True)]
    for j in reversed(range(k)):
        for r in range(j + 1, k):
            solution[j] = solution[j] - lower[r][j] * solution[r]
    return jnp.stack(solution)


def eigen(matrix: Array, rounds: int | None = None) -> tuple[Array, Array]:
    """Eigenvalues (k, batch) and eigenvectors (k, k, batch) by cyclic Jacobi rotations.

    Column ``[:, i]`` of the second belongs to entry i of the first; not sorted.  By NumPy
    LAPACK's are as good, and one call.
    """
    k = matrix.shape[0]
    if is_numpy():
        return _eigen_by_lapack(np.asarray(matrix))
    vectors = jnp.broadcast_to(
        jnp.eye(k).reshape(k, k, *[1] * (matrix.ndim - 2)), matrix.shape
    ).astype(matrix.dtype)
    if k == 1:
        return matrix[0], vectors
    pairs = [(i, j) for i in range(k) for j in range(i + 1, k)]
    first = jnp.array([i for i, _ in pairs])
    second = jnp.array([j for _, j in pairs])
    if rounds is None:
        rounds = 1 if k == 2 else 5 + k // 3
    scale = jnp.max(jnp.abs(matrix), axis=(0, 1))
    a = matrix / jnp.where(scale > 0, scale, 1.0)
    lane = jnp.arange(k).reshape(-1, *[1] * (matrix.ndim - 2))

    def rotate(step, carry):
        a, v = carry
        i, j = first[step % len(pairs)], second[step % len(pairs)]
        row_i, row_j = _row(a, i), _row(a, j)
        aii, ajj, aij = _row(row_i, i), _row(row_j, j), _row(row_i, j)
        half = 0.5 * (ajj - aii)
        root = jnp.sqrt(half * half + aij * aij)
        tangent = aij / jnp.where(root > 0, half + jnp.where(half >= 0, root, -root), 1.0)
        c = 1.0 / jnp.sqrt(1.0 + tangent * tangent)
        s = tangent * c
        new_i, new_j = c * row_i - s * row_j, s * row_i + c * row_j
        at_i, at_j = lane == i, lane == j
        a = jnp.where(at_i[:, None], new_i[None], jnp.where(at_j[:, None], new_j[None], a))
        col_i = part(a, i, 1)
        col_j = part(a, j, 1)
        new_i, new_j = c * col_i - s * col_j, s * col_i + c * col_j
        a = jnp.where(at_i[None], new_i[:, None], jnp.where(at_j[None], new_j[:, None], a))
        v_i = part(v, i, 1)
        v_j = part(v, j, 1)
        v = jnp.where(
            at_i[None],
            (c * v_i - s * v_j)[:, None],
            jnp.where(at_j[None], (s * v_i + c * v_j)[:, None], v),
        )
        return a, v

    a, vectors = lax.fori_loop(0, rounds * len(pairs), rotate, (a, vectors))
    values = jnp.stack([a[i, i] for i in range(k)]) * scale
    return values, vectors


def _eigen_by_lapack(matrix: np.ndarray) -> tuple[Any, Any]:
    known = np.isfinite(matrix).all(axis=(0, 1))
    values, vectors = np.linalg.eigh(np.moveaxis(np.where(known, matrix, 0.0), (0, 1), (-2, -1)))
    values = np.where(known, np.moveaxis(values, -1, 0), np.nan)
    return values, np.moveaxis(vectors, (-2, -1), (0, 1))
