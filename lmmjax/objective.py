"""The objective of one response at any theta, as users and JAX's transformations call it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.core import Tracer

from . import deviance
from .array_library import by_numpy, is_numpy, jnp
from .crossproducts import shared_statistics
from .errors import LmmError, ShapeError
from .small_work import is_small

if TYPE_CHECKING:
    from .model import Model

Array = jax.Array


def objective(model: Model, theta: Any, y: Any, reml: bool) -> Array:
    """See :meth:`lmmjax.model.Model.deviance`.

    A plain call for a small model is computed by NumPy: operation by operation, JAX would
    compile each of them first.
    """
    traced = any(isinstance(a, Tracer) for a in (theta, y))
    if traced and not jax.config.jax_enable_x64:
        raise LmmError(
            "model.deviance is in double precision, and JAX transforms it in single: call "
            "jit, grad, hessian or vmap inside `with jax.enable_x64(True):`"
        )
    with jax.enable_x64(True):
        if traced or not is_small(model.layout, model.prepared.arrays, 1):
            return _at(model, theta, y, reml)
        with by_numpy():
            value = _at(model, np.asarray(theta), np.asarray(y), reml)
        return jnp.asarray(value)


def _at(model: Model, theta: Any, y: Any, reml: bool) -> Array:
    layout, prepared, sigma = model.layout, model.prepared, model.design.sigma
    theta, y = jnp.asarray(theta, dtype=float), jnp.asarray(y, dtype=float)
    if theta.shape != (layout.n_theta,):
        raise ShapeError(f"theta has shape {theta.shape}, the model {layout.n_theta} entries")
    if y.shape != (model.n,):
        raise ShapeError(f"y has shape {y.shape}, the model {model.n} observations")
    if model.design.offset is not None:
        y = y - model.design.offset
    engine = (theta[model.order.theta] * model.theta_unit(prepared.z_scale))[:, None]
    stats, _, log_scale, _ = shared_statistics(layout, prepared.arrays, y[:, None])
    if sigma is not None:
        stats = stats._replace(variance=(sigma / jnp.exp(log_scale)) ** 2)
    if is_numpy():
        value = deviance.evaluate(layout, reml, stats, engine).value
    else:  # with its own derivatives
        value = deviance.deviance(layout, reml, stats, engine)
    value = value + deviance.objective_constant(reml, stats, log_scale)
    if reml:
        value = value + 2.0 * np.sum(np.log(np.diag(prepared.x_transform)))
    return value[0]
