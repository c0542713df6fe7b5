"""Sufficient statistics of responses that share every observation and weight.

Responses with weights or missing values of their own are the matter of
:mod:`lmmjax.weighted`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from . import linalg
from .array_library import jnp, lax
from .prepare import SharedArrays
from .sparse import SparseArrays, sparse_statistics
from .statistics import Blocked, Compressed, Statistics
from .structure import FEW_RESPONSES, Layout, triangle

Array = jax.Array

#: Residuals from the fixed effects below this fraction of the response are rounding.
ROUNDING = 16 * np.finfo(float).eps


def power_of_two(size: Array) -> Array:
    """The power of two at or below a size (1 for 0): dividing by it rounds nothing."""
    return jnp.ldexp(1.0, jnp.frexp(jnp.where(size > 0, size, 1.0))[1] - 1)


def _rank_one_sum(left: Array, right: Array) -> Array:
    """left @ right for few columns: as a sum of products it joins the operation around it."""
    if left.shape[1] > 6:
        return left @ right
    return sum(
        (left[:, j, None] * right[j] for j in range(left.shape[1])),
        jnp.zeros((left.shape[0], right.shape[1]), right.dtype),
    )


class Reduced(NamedTuple):
    """Responses with the fixed effects taken out, at unit mean square.

    ``y`` (n, B); ``fixed`` (p, B): least-squares coefficients in the basis, taken out of y
    before any cross-product; ``log_scale`` (B,): log of the factor that brought the residuals
    to unit mean square; ``residual_ratio`` (B,): root mean square of the residuals relative
    to the response, zero if that is rounding; ``size`` (B,): what ``y`` is still to be divided
    by.
    """

    y: Array
    size: Array
    fixed: Array
    log_scale: Array
    residual_ratio: Array


def reduce_responses(arrays: SharedArrays | SparseArrays, y: Array) -> Reduced:
    """Scale, centre and project responses y (n, B) that share all observations and weights."""
    largest = jnp.max(jnp.abs(y), axis=0, initial=0.0)
    peak = power_of_two(largest)
    top = largest / peak
    y = y / peak
    # a constant that X holds is taken out first, where subtraction is exact
    constant = arrays.constant[:, None]
    centre = jnp.where(jnp.any(constant != 0), y[:1], 0.0)
    y = (y - centre) * arrays.root_weight[:, None]
    if isinstance(arrays, SharedArrays) and arrays.rotate is not None:
        y = arrays.rotate @ y
    fixed = constant * centre
    for _ in range(2):  # the second pass removes what rounding left in the first
        part = arrays.basis.T @ y
        y, fixed = y - _rank_one_sum(arrays.basis, part), fixed + part
    size = jnp.sqrt(jnp.mean(y * y, axis=0))
    ratio = size / (jnp.where(top > 0, top, 1.0) * jnp.sqrt(jnp.mean(arrays.root_weight**2)))
    ratio = jnp.where(ratio > ROUNDING, ratio, 0.0)
    size = jnp.where(size > 0, size, 1.0)
    fixed = fixed / size
    log_scale = jnp.log(peak) + jnp.log(size)
    return Reduced(y, size, fixed, log_scale, ratio)


def shared_statistics(
    layout: Layout, arrays: SharedArrays | SparseArrays, y: Array
) -> tuple[Statistics, Array, Array, Array]:
    """Statistics of responses y (n, B) that share all observations and weights.

    Returns
    -------
    statistics, fixed, log_scale, residual_ratio
        The last three as in :class:`Reduced`.
    """
    reduced = reduce_responses(arrays, y)
    common = {
        "n": jnp.full((1,), float(y.shape[0])),
        "rank": jnp.full((1,), float(layout.p)),
        "log_weights": arrays.log_weights[None],
        "kept": None,
    }
    if isinstance(arrays, SparseArrays):
        statistics = sparse_statistics(layout, arrays, reduced.y, reduced.size, common)
    else:
        statistics = _dense_statistics(layout, arrays, reduced.y, reduced.size, common)
    return statistics, reduced.fixed, reduced.log_scale, reduced.residual_ratio


def _dense_statistics(
    layout: Layout, arrays: SharedArrays, y: Array, size: Array, common: dict[str, Any]
) -> Compressed | Blocked:
    n, m, q = y.shape[0], layout.m, layout.q
    if not q:
        return Compressed(
            arrays.within_rr[..., None],
            arrays.within_r @ y / size,
            jnp.sum(y * y, axis=0) / size**2,
            jnp.zeros((0, 0, 0, 1)),
            jnp.zeros((0, 1)),
            jnp.zeros((0, m, m, 1)),
            jnp.zeros((0, m, y.shape[1])),
            jnp.zeros((0, y.shape[1])),
            **common,
        )
    # where positions are padded, the rotation is zero
    positions = jnp.minimum(arrays.positions, n - 1)
    rotated_y = jnp.zeros((arrays.positions.shape[0], q, y.shape[1]))

    def add_position(k, total):
        rows = y[linalg.part(positions, k, 1)]
        rotation = linalg.part(arrays.rotation, k, 1)
        return total + rotation[:, :, None] * rows[:, None]

    width = arrays.positions.shape[1]
    if y.shape[1] <= FEW_RESPONSES:  # in one operation, without a loop
        rotated_y = jnp.sum(arrays.rotation[..., None] * y[positions][:, :, None], axis=1)
    elif width <= 32:
        for k in range(width):
            rotated_y = add_position(k, rotated_y)
    else:  # unrolled, the program would grow with the largest level
        rotated_y = lax.fori_loop(0, width, add_position, rotated_y)
    fitted = jnp.sum(arrays.row_rotation[:, :, None] * rotated_y[arrays.row_level], axis=1)
    y = y - fitted
    within_ry, within_yy = arrays.within_r @ y / size, jnp.sum(y * y, axis=0) / size**2
    rotated_y = rotated_y / size
    if arrays.between_rr.shape[0] == 0:
        return Blocked(
            arrays.within_rr[..., None],
            within_ry,
            within_yy,
            arrays.root[..., None],
            arrays.rotated_r[..., None],
            rotated_y,
            **common,
        )
    classes = arrays.count.shape[0]
    member = (arrays.class_of[None] == jnp.arange(classes)[:, None]).astype(y.dtype)  # (D, L)
    between_ry, between_yy = [], []
    for i, j in triangle(q):
        weight = member[:, None] * arrays.rotated_r[None, :, i].swapaxes(1, 2)  # (D, m, L)
        ry = weight.reshape(classes * m, member.shape[1]) @ rotated_y[:, j]
        yy = member @ (rotated_y[:, i] * rotated_y[:, j])
        if i != j:
            weight = member[:, None] * arrays.rotated_r[None, :, j].swapaxes(1, 2)
            ry = ry + weight.reshape(classes * m, member.shape[1]) @ rotated_y[:, i]
            yy = 2.0 * yy
        between_ry.append(ry.reshape(classes, m, y.shape[1]))
        between_yy.append(yy)
    return Compressed(
        arrays.within_rr[..., None],
        within_ry,
        within_yy,
        arrays.class_root[..., None],
        arrays.count[:, None],
        arrays.between_rr[..., None],
        jnp.stack(between_ry, axis=1).reshape(arrays.between_rr.shape[0], m, y.shape[1]),
        jnp.stack(between_yy, axis=1).reshape(-1, y.shape[1]),
        **common,
    )
