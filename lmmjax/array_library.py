"""The array functions that the mathematics is written in: JAX's, or NumPy's for small work.

The deviance, its derivatives and the optimiser exist once.  Traced by JAX they become compiled
programs for many responses.  One response of a small model would wait seconds for a compiler
and then be fitted in milliseconds: within :func:`by_numpy` the same functions call NumPy, and
nothing is traced or compiled.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

if TYPE_CHECKING:
    import jax.numpy as jnp
    from jax import lax

__all__ = ["by_numpy", "is_numpy", "jnp", "lax"]


class _Chosen(threading.local):
    """Whether this thread computes with NumPy."""

    numpy = False


_chosen = _Chosen()


@contextmanager
def by_numpy() -> Iterator[None]:
    """Within, this thread's array functions are NumPy's; numbers may overflow silently."""
    before = _chosen.numpy
    _chosen.numpy = True
    try:
        with np.errstate(all="ignore"):
            yield
    finally:
        _chosen.numpy = before


def is_numpy() -> bool:
    """Whether array functions are NumPy's, in this thread and now."""
    return _chosen.numpy


class _Library:
    """A module's functions by name, or their stand-ins for NumPy."""

    def __init__(self, module: Any, stand_ins: Any) -> None:
        self._module, self._stand_ins = module, stand_ins

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stand_ins if _chosen.numpy else self._module, name)


# ---- JAX's control flow and indexing, on NumPy's arrays ------------------------------------


def _fori_loop(lower: int, upper: int, body: Callable[[int, Any], Any], carry: Any) -> Any:
    for index in range(int(lower), int(upper)):
        carry = body(index, carry)
    return carry


def _while_loop(go_on: Callable[[Any], Any], body: Callable[[Any], Any], carry: Any) -> Any:
    while go_on(carry):
        carry = body(carry)
    return carry


def _map(function: Callable[[Any], Any], items: Any) -> Any:
    leaves, tree = jax.tree.flatten(items)
    done = [
        function(jax.tree.unflatten(tree, [leaf[k] for leaf in leaves]))
        for k in range(len(leaves[0]))
    ]
    return jax.tree.map(lambda *parts: np.stack(parts), *done)


def _index_in_dim(array: np.ndarray, index: int, axis: int, keepdims: bool) -> np.ndarray:
    assert not keepdims
    return array[(slice(None),) * axis + (index,)]


def _top_k(array: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(-array, axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(array, order, axis=-1), order


def _argsort(array: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.argsort(array, axis=axis, kind="stable")


_JNP = SimpleNamespace(**{**vars(np), "argsort": _argsort})
_LAX = SimpleNamespace(
    fori_loop=_fori_loop,
    while_loop=_while_loop,
    map=_map,
    cond=lambda chosen, first, second: first() if chosen else second(),
    index_in_dim=_index_in_dim,
    dynamic_index_in_dim=_index_in_dim,
    top_k=_top_k,
    optimization_barrier=lambda values: values,
)

if not TYPE_CHECKING:
    jnp = _Library(jax.numpy, _JNP)
    lax = _Library(jax.lax, _LAX)
