"""Batched operations on small symmetric matrices, the batch on the last axis.

Tiny matrices are slow through batched LAPACK; whole-array operations whose fastest axis
runs over the responses are not.  Every function takes arrays of shape (rows, columns,
...batch) and lets the batch axes broadcast, so one matrix shared by all responses (batch
axis of length 1) costs next to nothing.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

Array = jax.Array


def _row(matrix: Array, index: Array | int) -> Array:
    return lax.dynamic_index_in_dim(matrix, index, 0, keepdims=False)


def product(a: Array, b: Array) -> Array:
    """Matrix product of (i, j, batch) and (j, k, batch), by accumulating outer products."""
    inner = a.shape[1]
    if not inner:
        return jnp.zeros((a.shape[0], b.shape[1], *b.shape[2:]), a.dtype)
    if inner <= 4:
        total = a[:, 0][:, None] * b[0][None]
        for j in range(1, inner):
            total = total + a[:, j][:, None] * b[j][None]
        return total
    batch = jnp.broadcast_shapes(a.shape[2:], b.shape[2:])
    zero = jnp.zeros((a.shape[0], b.shape[1], *batch), a.dtype)
    columns = jnp.swapaxes(a, 0, 1)

    def accumulate(j, total):
        return total + _row(columns, j)[:, None] * _row(b, j)[None]

    return lax.fori_loop(0, inner, accumulate, zero)


def absorb(
    theta: Array, steps: tuple[np.ndarray, np.ndarray], rr: Array, ry: Array, yy: Array
) -> tuple[Array, Array, Array, Array]:
    """Add random effects to the covariance, one column of Z Lambda at a time.

    ``rr``, ``ry``, ``yy`` are cross-products A' V^-1 A, A' V^-1 y, y' V^-1 y.  Each step
    updates them for V + z z', where z is a column of Z Lambda (Sherman and Morrison); no
    step divides by theta, so theta = 0 is an ordinary point.

    Returns
    -------
    rr, ry, yy, logdet
        The updated cross-products and log|I + Lambda' Z' V^-1 Z Lambda|.
    """
    rows, entries = (jnp.asarray(x) for x in steps)
    padded = jnp.concatenate([theta, jnp.zeros_like(theta[:1])])
    q_max = rows.shape[1]

    def step(index, carry):
        rr, ry, yy, logdet = carry
        column = jnp.zeros_like(rr[0])
        response = jnp.zeros_like(ry[0])
        weights = [_row(padded, entries[index, slot]) for slot in range(q_max)]
        for slot in range(q_max):
            column = column + weights[slot] * _row(rr, rows[index, slot])
            response = response + weights[slot] * _row(ry, rows[index, slot])
        pivot = 1.0
        for slot in range(q_max):
            pivot = pivot + weights[slot] * _row(column, rows[index, slot])
        scaled = column / pivot
        rr = rr - column[:, None] * scaled[None]
        ry = ry - scaled * response
        yy = yy - response * response / pivot
        return rr, ry, yy, logdet + jnp.log(pivot)

    start = (rr, ry, yy, jnp.zeros_like(rr[0, 0]))
    return lax.fori_loop(0, rows.shape[0], step, start)


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

    Column ``[:, i]`` of the second belongs to entry i of the first; not sorted.
    """
    k = matrix.shape[0]
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
        col_i = lax.dynamic_index_in_dim(a, i, 1, keepdims=False)
        col_j = lax.dynamic_index_in_dim(a, j, 1, keepdims=False)
        new_i, new_j = c * col_i - s * col_j, s * col_i + c * col_j
        a = jnp.where(at_i[None], new_i[:, None], jnp.where(at_j[None], new_j[:, None], a))
        v_i = lax.dynamic_index_in_dim(v, i, 1, keepdims=False)
        v_j = lax.dynamic_index_in_dim(v, j, 1, keepdims=False)
        v = jnp.where(
            at_i[None],
            (c * v_i - s * v_j)[:, None],
            jnp.where(at_j[None], (s * v_i + c * v_j)[:, None], v),
        )
        return a, v

    a, vectors = lax.fori_loop(0, rounds * len(pairs), rotate, (a, vectors))
    values = jnp.stack([a[i, i] for i in range(k)]) * scale
    return values, vectors
