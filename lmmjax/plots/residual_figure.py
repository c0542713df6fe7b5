"""Residuals against fitted values, and normal quantile-quantile figures of one fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmmjax.design_rows import listed
from lmmjax.errors import FormulaError, LmmError
from lmmjax.linear.results import LmFit
from lmmjax.lmm_fit import LmmFit
from lmmjax.plots.axes import COLOURS, INK, plain
from lmmjax.plots.panels import check_estimates, effect_names, panel_grid, spread_ranks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_TYPES = {
    "pearson": "Pearson residual",
    "response": "residual",
    "scaled": "scaled residual",
}
_SMOOTHED = 4_000  # observations that the smooth line looks at
_SHOWN = 5_000  # order statistics drawn in a quantile-quantile figure


def plot_residuals(fit: LmmFit | LmFit, type: str = "pearson") -> Figure:
    """Draw residuals against fitted values, with a smooth line.

    Parameters
    ----------
    fit : LmmFit or LmFit
    type : {"pearson", "response", "scaled"}
        Residuals times the root of their weights (of equal variance sigma^2), response minus
        fitted values, or Pearson residuals divided by sigma.

    Returns
    -------
    matplotlib Figure
        In units of the response; without a unit for ``"scaled"``. The line is a robust local
        regression over two thirds of the observations; it is left out where fewer than 5
        fitted values differ.

    Raises
    ------
    LmmError
        Another type, or something else than a fit of one response.
    ResponseError
        The fit has no estimates.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)", data)
    >>> plot_residuals(fit, type="scaled").axes[0].get_ylabel()
    'scaled residual'
    """
    _check(fit, "plot_residuals")
    values = _residuals(fit, type).to_numpy()
    fitted = fit.fitted().to_numpy()
    figure, (axes,) = panel_grid(1, 4.6, 3.4)
    many = len(values) > 2_000
    axes.axhline(0.0, color=INK, linewidth=0.8, zorder=1)
    axes.plot(
        fitted, values, "o", color=COLOURS[0], markersize=2.0 if many else 4.0,
        alpha=0.25 if many else 0.6, markeredgewidth=0, rasterized=many,
    )  # fmt: skip
    at, smooth = local_regression(fitted, values)
    if at.size:
        axes.plot(at, smooth, color="#d55e00", linewidth=1.8, label="local regression")
        figure.legend(loc="outside lower center", frameon=False, fontsize=8)
    axes.set_xlabel(f"fitted {fit.response}")
    axes.set_ylabel(_TYPES[type])
    plain(axes)
    return figure


def plot_qq(fit: LmmFit | LmFit, what: str = "residuals", *, type: str = "pearson") -> Figure:
    """Draw residuals, or conditional modes, against the quantiles of a normal distribution.

    Parameters
    ----------
    fit : LmmFit or LmFit
    what : str
        ``"residuals"``, or a grouping factor: one panel per effect. ``"ranef"`` is the grouping
        factor of a model that has one only.
    type : {"pearson", "response", "scaled"}
        Kind of residuals, as for :func:`plot_residuals`.

    Returns
    -------
    matplotlib Figure
        Observed against standard normal quantiles, in units of the response (per unit of the
        covariate). The line passes through the quartiles; the envelope holds each order
        statistic with probability 0.95 if the values are independent and normal with the mean
        and standard deviation of the line. Neither residuals nor modes are independent, and
        modes are shrunken: read the envelope as a guide.

    Raises
    ------
    FormulaError
        `what` is neither ``"residuals"`` nor a grouping factor, or ``"ranef"`` of several.
    LmmError
        Another type of residuals, or something else than a fit of one response.
    ResponseError
        The fit has no estimates.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)", data)
    >>> [axes.get_title() for axes in plot_qq(fit, "Subject").axes]
    ['(Intercept)', 'Days']
    """
    _check(fit, "plot_qq")
    groups = []
    if isinstance(fit, LmmFit):
        groups = list(dict.fromkeys(term.group for term in fit.model.design.terms))
    if what == "ranef" and len(groups) == 1:
        what = groups[0]
    if what == "residuals":
        columns = {"": _residuals(fit, type).to_numpy()}
        figure, panels = panel_grid(1, 3.8, 3.4)
    elif isinstance(fit, LmmFit) and what in groups:
        table = fit.ranef()[what]
        columns = {name: table[name].to_numpy() for name in effect_names(fit, what)}
        figure, panels = panel_grid(len(columns), 2.9, 2.8)
    else:
        raise FormulaError(f"what is one of {listed(['residuals', *groups])}, not {what!r}")
    for axes, (name, values) in zip(panels, columns.items(), strict=True):
        _normal_qq(axes, np.sort(values))
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("standard normal quantile", fontsize=9)
        axes.tick_params(labelsize=8)
        plain(axes)
    label = _TYPES[type] if what == "residuals" else f"conditional mode of {what}"
    figure.supylabel(label, fontsize=9)
    handles, texts = panels[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", frameon=False, fontsize=8, ncols=2)
    return figure


def local_regression(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Robust local linear regression: (at most 100,) places and values; empty for few places.

    Each value is a line fitted to the nearest two thirds of the observations with tricube
    weights; observations far from a first curve then weigh less (bisquare), twice.

    Examples
    --------
    >>> x = np.arange(20.0)
    >>> at, values = local_regression(x, 3 * x)
    >>> bool(np.allclose(values, 3 * at))
    True
    """
    order = np.argsort(x, kind="stable")
    order = order[spread_ranks(len(x), _SMOOTHED)]
    x, y = x[order], y[order]
    distinct = np.unique(x)
    if len(distinct) < 5:
        return np.empty(0), np.empty(0)
    at = distinct[spread_ranks(len(distinct), 100)]
    near = max(int(np.ceil(2 * len(x) / 3)), 3)
    distance = np.abs(x - at[:, None])
    reach = np.partition(distance, near - 1, axis=1)[:, near - 1 : near]
    tied = np.maximum(reach, (distinct[1:] - distinct[:-1]).min())  # most x may be equal
    tricube = np.clip(1 - (distance / (1.0001 * tied)) ** 3, 0, None) ** 3
    trust = np.ones(len(x))
    values = np.zeros(len(at))
    for _ in range(3):
        w = tricube * trust
        w /= np.maximum(w.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        centre = (w @ x)[:, None]
        spread = np.sum(w * (x - centre) ** 2, axis=1)
        slope = np.sum(w * (x - centre) * y, axis=1)
        flat = spread <= 1e-12 * np.ptp(x) ** 2
        slope = np.where(flat, 0.0, slope / np.where(flat, 1.0, spread))
        values = w @ y + slope * (at - centre[:, 0])
        left = np.abs(y - np.interp(x, at, values))
        scale = 6 * np.median(left)
        trust = np.clip(1 - (left / scale) ** 2, 0, None) ** 2 if scale > 0 else trust
    return at, values


def _check(fit: LmmFit | LmFit, figure: str) -> None:
    if not isinstance(fit, LmFit):
        check_estimates(fit, figure, "lmer or lm")


def _residuals(fit: LmmFit | LmFit, kind: str) -> pd.Series:
    if kind not in _TYPES:
        raise LmmError(f"type is one of {listed(list(_TYPES))}, not {kind!r}")
    if isinstance(fit, LmFit):
        return fit.residuals(kind)
    if kind == "response":
        return fit.residuals()
    return fit.scaled_residuals() * (fit.sigma if kind == "pearson" else 1.0)


def _normal_qq(axes: Axes, values: np.ndarray) -> None:
    """Sorted values against normal quantiles."""
    from scipy.stats import beta, norm

    n = len(values)
    ranks = spread_ranks(n, _SHOWN) + 1
    expected = norm.ppf((ranks - 0.5) / n)
    quartiles = np.quantile(values, [0.25, 0.75])
    slope = np.diff(quartiles)[0] / np.diff(norm.ppf([0.25, 0.75]))[0]
    middle = quartiles.mean()
    low, high = (
        middle + slope * norm.ppf(beta.ppf(p, ranks, n - ranks + 1)) for p in (0.025, 0.975)
    )
    axes.fill_between(expected, low, high, color="#dedede", linewidth=0, label="95% envelope")
    axes.plot(expected, middle + slope * expected, color=INK, linewidth=0.9, label="normal")
    axes.plot(expected, values[ranks - 1], "o", color=COLOURS[0], markersize=3.2 if n > 60 else 4.5,
              markeredgewidth=0, alpha=0.8)  # fmt: skip
