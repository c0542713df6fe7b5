"""Residuals, leverages and influence of the observations of a linear model.

Formulas: Belsley, Kuh & Welsch (1980), Regression Diagnostics; Cook (1977).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmmjax.errors import LmmError

if TYPE_CHECKING:
    from lmmjax.linear.results import LmFit

_TYPES = ("response", "pearson", "deviance", "scaled", "standardized", "studentized")


def leverages(fit: LmFit) -> np.ndarray:
    """Diagonal of the hat matrix, (n,); 1 to rounding is 1."""
    h = np.sum(fit.solution.basis**2, axis=1)
    return np.where(h > 1.0 - 10.0 * np.finfo(np.float64).eps, 1.0, h)


def residuals(fit: LmFit, kind: str) -> np.ndarray:
    """See :meth:`lmmjax.linear.results.LmFit.residuals`."""
    if kind not in _TYPES:
        raise LmmError(f"type={kind!r}: residuals are of type {', '.join(map(repr, _TYPES))}")
    if kind == "response":
        return fit.solution.residuals.copy()
    pearson = _pearson(fit)
    if kind in ("pearson", "deviance"):
        return pearson
    if kind == "scaled":
        return pearson / fit.sigma
    rest = _rest(fit)
    if kind == "standardized":
        return pearson / (fit.sigma * np.sqrt(rest))
    if fit.df_resid < 2:
        return np.full(fit.n_obs, np.nan)
    without = np.maximum(fit.rss - pearson**2 / rest, 0.0) / (fit.df_resid - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return pearson / np.sqrt(without * rest)


def cooks_distances(fit: LmFit) -> np.ndarray:
    """See :meth:`lmmjax.linear.results.LmFit.cooks_distance`."""
    h = leverages(fit)
    return (_pearson(fit) / (fit.sigma * _rest(fit))) ** 2 * h / max(fit.rank, 1)


def _pearson(fit: LmFit) -> np.ndarray:
    root = 1.0 if fit.weights is None else np.sqrt(fit.weights)
    return fit.solution.residuals * root


def _rest(fit: LmFit) -> np.ndarray:
    """1 - leverage, NaN where that is 0: such an observation determines its own fitted value."""
    rest = 1.0 - leverages(fit)
    return np.where(rest > 0.0, rest, np.nan)
