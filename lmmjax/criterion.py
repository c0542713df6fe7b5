"""REML or ML, settled when a program is written or only when it runs."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .statistics import Statistics

Array = jax.Array


def choose(reml: bool | Array, restricted: Any, plain: Any) -> Any:
    """What belongs to the criterion: one program can serve both if it finds out as it runs."""
    if isinstance(reml, bool):
        return restricted if reml else plain
    return jnp.where(reml, restricted, plain)


def degrees_of_freedom(reml: bool | Array, stats: Statistics) -> Array:
    """nu: observations, less the rank of X with REML."""
    return choose(reml, stats.n - stats.rank, stats.n)
