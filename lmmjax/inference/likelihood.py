"""The likelihood of one response in all its parameters, for profiles.

The engine's deviance has beta and sigma profiled out.  With what it computes on the way,
log|V|, r2, beta and its unit covariance C as functions of theta, the others follow:

    -2 log L(theta, sigma)  = log|V| + n log(2 pi sigma^2) + r2 / sigma^2
    -2 log L(theta, beta_j) = log|V| + n (1 + log(2 pi r2_j / n)),
                              r2_j = r2 + (beta_j - b)^2 / C_jj .
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lmmjax.compiled import compiled
from lmmjax.crossproducts import shared_statistics
from lmmjax.deviance import evaluate
from lmmjax.modes import common_weights, seen_cells
from lmmjax.prepare import Leaf, SharedArrays
from lmmjax.statistics import Statistics
from lmmjax.structure import Layout
from lmmjax.weighted import WeightedArrays, weighted_statistics

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit


class Pieces(NamedTuple):
    """At one theta: log|V|, r2, coefficients (p,) and their unit variances (p,).

    As ``slope`` each entry has the derivative in theta as a further last axis.
    """

    logdet: Leaf
    rss: Leaf
    beta: Leaf
    unit_variance: Leaf


@compiled("layout")
def _statistics(
    layout: Layout,
    arrays: SharedArrays | WeightedArrays,
    y: jax.Array,
    weights: jax.Array | None,
):
    if isinstance(arrays, WeightedArrays):
        assert weights is not None
        return weighted_statistics(layout, arrays, y, weights)[:3]
    return shared_statistics(layout, arrays, y)[:3]


@compiled("layout")
def _pieces(
    layout: Layout,
    stats: Statistics,
    fixed: jax.Array,
    back: jax.Array,
    order: jax.Array,
    unit: jax.Array,
    theta: jax.Array,
) -> tuple[Pieces, Pieces]:
    """Pieces and their derivatives in theta (k,), user order and units."""

    def at(theta):
        out = evaluate(layout, False, stats, (theta[order] * unit)[:, None])
        rss = out.rss[0]
        return Pieces(
            out.value[0] - stats.n[0] * jnp.log(rss),
            rss,
            back @ (fixed + out.fixed)[:, 0],
            jnp.einsum("ij,jk,ik->i", back, out.fixed_cov[..., 0], back),
        )

    slope = jax.jacfwd(at)(theta)
    return at(theta), slope


class Likelihood:
    """-2 log-likelihood of one response; ``theta`` in the design's order and units.

    Parameters
    ----------
    fit
        The fit whose response, weights and design it is.
    """

    def __init__(self, fit: LmmFit) -> None:
        fits, model, index = fit.fits, fit.model, fit.index
        columns = np.array([index])
        seen = seen_cells(fits, columns)
        weights = common_weights(fits.take(columns))
        with jax.enable_x64(True):
            if seen.all():
                prepared = model._prepare(weights)
                arrays, transform = prepared.arrays, prepared.x_transform
                z_scale, used = prepared.z_scale, None
                y = fits.values[:, columns]
            else:
                arrays, transform, z_scale = model.prepared_weighted
                used = np.where(seen, 1.0 if fits.weights is None else fits.weights[:, columns], 0)
                y = np.where(seen, fits.values[:, columns], 0.0)
            arrays = jax.device_put(arrays)
            stats, fixed, log_scale = _statistics(model.layout, arrays, y, used)
            self._scale = float(np.exp(log_scale[0]))
            self._log_weights = float(np.broadcast_to(stats.log_weights, (1,))[0])
            # everything in units of the response from here on
            back = np.linalg.inv(transform) if len(transform) else transform
            unit = model.theta_unit(z_scale)
            self._arguments = jax.device_put((stats, fixed, back, model.order.theta, unit))
        self._layout = model.layout
        self.n = int(fits._n_obs[index])
        self._last: tuple[bytes, tuple[Pieces, Pieces]] | None = None

    def pieces(self, theta: np.ndarray) -> tuple[Pieces, Pieces]:
        """Pieces in units of the response, and their derivatives in theta."""
        key = np.asarray(theta, dtype=float).tobytes()
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        with jax.enable_x64(True):
            out = _pieces(self._layout, *self._arguments, np.asarray(theta, dtype=float))
            value, slope = (Pieces(*(np.asarray(leaf) for leaf in part)) for part in out)
        s = self._scale
        value, slope = (
            part._replace(rss=part.rss * s**2, beta=part.beta * s) for part in (value, slope)
        )
        value = value._replace(logdet=value.logdet - self._log_weights)
        self._last = key, (value, slope)
        return value, slope

    def with_sigma(self, theta: np.ndarray, log_sigma: float) -> tuple[float, np.ndarray, float]:
        """Value at (theta, sigma), derivatives in theta (k,) and in log sigma."""
        at, slope = self.pieces(theta)
        ratio = at.rss * np.exp(-2.0 * log_sigma)
        value = at.logdet + self.n * (np.log(2.0 * np.pi) + 2.0 * log_sigma) + ratio
        gradient = slope.logdet + slope.rss * np.exp(-2.0 * log_sigma)
        return float(value), gradient, float(2.0 * self.n - 2.0 * ratio)

    def with_coefficient(self, theta: np.ndarray, j: int, beta: float) -> tuple[float, np.ndarray]:
        """Value at theta with one coefficient held, the others profiled out."""
        at, slope = self.pieces(theta)
        off, variance = beta - at.beta[j], at.unit_variance[j]
        rss = at.rss + off**2 / variance
        d_rss = (
            slope.rss
            - 2.0 * off * slope.beta[j] / variance
            - off**2 * slope.unit_variance[j] / variance**2
        )
        value = at.logdet + self.n * (1.0 + np.log(2.0 * np.pi * rss / self.n))
        return float(value), slope.logdet + self.n * d_rss / rss
