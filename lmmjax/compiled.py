"""``jax.jit`` for programs of which a process may meet any number.

Every structure of model is a program of its own, and on a CPU a program holds some hundred
memory mappings.  Linux allows a process 65,530: a session that fits a few hundred different
models would be ended by the compiler.  So only so many programs are kept; one that is needed
again is compiled again, or comes from JAX's persistent cache.

For small arrays the compiler's work is what takes the time: it is then asked to optimise
little, which saves a third of it and costs nothing that could be noticed.  The smallest work
is done by NumPy before a compiler has begun (:mod:`lmmjax.array_library`).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import jax
import numpy as np
from jax.core import Tracer

from .array_library import by_numpy

R = TypeVar("R")

#: Programs kept per function; all go when one more is needed.
PROGRAMS_KEPT = 48
#: Calls with fewer numbers than this in their arrays are not worth a compiler's full effort.
SMALL_INPUT = 1 << 15
_LITTLE_EFFORT = {"xla_backend_optimization_level": 0}


def compiled(
    *static: str, unless: Callable[..., bool] | None = None
) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """Decorator: ``jax.jit`` with the named arguments static and a bounded cache.

    Where ``unless``, called with the arguments, is true, NumPy computes the function instead:
    it then returns NumPy arrays.
    """

    def decorate(function: Callable[..., R]) -> Callable[..., R]:
        program: Any = jax.jit(function, static_argnames=static)
        quick: Any = jax.jit(function, static_argnames=static, compiler_options=_LITTLE_EFFORT)
        kept: set[Hashable] = set()
        lock = threading.Lock()

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> R:
            leaves, tree = jax.tree.flatten((args, kwargs))
            alone = not any(isinstance(leaf, Tracer) for leaf in leaves)
            if alone and unless is not None and unless(*args, **kwargs):
                args, kwargs = jax.tree.map(_on_host, (args, kwargs))
                with by_numpy():
                    return function(*args, **kwargs)
            signature = tree, _signature(leaves)
            with lock:
                if signature not in kept:
                    if len(kept) >= PROGRAMS_KEPT:
                        program.clear_cache()
                        quick.clear_cache()
                        kept.clear()
                    kept.add(signature)
            hurry = alone and jax.default_backend() == "cpu" and _few_numbers(leaves)
            return (quick if hurry else program)(*args, **kwargs)

        return call

    return decorate


def _few_numbers(leaves: list[Any]) -> bool:
    return sum(np.size(leaf) for leaf in leaves if hasattr(leaf, "dtype")) < SMALL_INPUT


def _on_host(leaf: Any) -> Any:
    return np.asarray(leaf) if isinstance(leaf, jax.Array) else leaf


def _signature(leaves: list[Any]) -> Hashable:
    """What decides whether calls share a program (or a little more: numbers by value)."""
    return tuple((leaf.shape, leaf.dtype) if hasattr(leaf, "dtype") else leaf for leaf in leaves)
