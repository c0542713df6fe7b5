"""The eliminated grouping factor at one value of its covariance."""

from __future__ import annotations

from typing import NamedTuple

import jax

from . import covariance, linalg
from .array_library import jnp
from .statistics import Statistics, level_count
from .structure import Layout, triangle

Array = jax.Array


class Eliminated(NamedTuple):
    """The eliminated block at one Psi: (q, q, D, B) matrices."""

    inverse: Array  # H = (I + R Psi R')^-1
    root_inverse: Array  # P = H R
    inner: Array  # F = R' H R
    logdet: Array  # (B,) summed over levels


def eliminate(layout: Layout, stats: Statistics, theta: Array) -> Eliminated:
    root = jnp.moveaxis(stats.root, 0, 2)  # (q, q, D, .)
    psi = covariance.eliminated_psi(layout, theta)[:, :, None]
    if layout.q == 1:
        inverse = 1.0 / (1.0 + root * root * psi)
        log = jnp.log1p((root * root * psi)[0, 0])
        hr = inverse * root
        inner = hr * root
    else:
        root_t = jnp.swapaxes(root, 0, 1)
        omega = linalg.product(linalg.product(root, psi), root_t)
        eye = jnp.eye(layout.q)[:, :, None, None]
        inverse, log = linalg.inverse_and_logdet(eye + omega)
        hr = linalg.product(inverse, root)
        inner = linalg.product(root_t, hr)
    return Eliminated(inverse, hr, inner, jnp.sum(level_count(stats) * log, axis=0))


def triangle_weights(matrix: Array) -> Array:
    """Lower triangle of symmetric (q, q, D, B) as (D, a, B), for ``combine``."""
    return jnp.stack([matrix[i, j] for i, j in triangle(matrix.shape[0])], axis=1)
