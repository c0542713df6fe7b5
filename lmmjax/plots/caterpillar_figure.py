"""Conditional modes with their intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmmjax.design_rows import listed
from lmmjax.errors import FormulaError, LmmError
from lmmjax.lmm_fit import LmmFit
from lmmjax.plots.axes import COLOURS
from lmmjax.plots.panels import (
    check_estimates,
    chosen_group,
    effect_names,
    level_axis,
    panel_grid,
    spread_ranks,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_APART = "#6e6e6e"  # intervals that hold zero: of another lightness, not only of another hue
_LABELLED = 45  # levels with a label each; of more, only some are labelled


def plot_caterpillar(
    fit: LmmFit,
    group: str | None = None,
    level: float = 0.95,
    *,
    order_by: str | None = None,
    max_levels: int = 300,
) -> Figure:
    """Draw the conditional modes of a grouping factor, sorted, with intervals.

    Parameters
    ----------
    fit : LmmFit
    group : str, optional
        Grouping factor; default: the one with the most levels.
    level : float
        Coverage of the intervals, mode +- normal quantile * conditional standard deviation.
        They are conditional on the estimates: the uncertainty of fixed effects and variances
        is not in them.
    order_by : str, optional
        Effect whose modes order the levels of all panels; default: the first.
    max_levels : int
        Of more levels than this, so many are drawn, evenly spread in their order; the title
        says so.

    Returns
    -------
    matplotlib Figure
        One panel per effect, in units of the response per unit of the covariate; the lowest
        mode at the bottom.

    Raises
    ------
    FormulaError
        No such grouping factor or effect.
    LmmError
        `level` does not lie between 0 and 1, `max_levels` is less than 2, or something else
        than a fit of one response.
    ResponseError
        The fit has no estimates.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)", data)
    >>> [axes.get_title() for axes in plot_caterpillar(fit).axes]
    ['(Intercept)', 'Days']
    """
    from scipy.stats import norm

    if not 0 < level < 1:
        raise LmmError(f"level has to lie between 0 and 1, not {level}; 0.95 is 95%")
    if max_levels < 2:
        raise LmmError(f"max_levels has to be 2 or more, not {max_levels}")
    check_estimates(fit, "plot_caterpillar")
    group = chosen_group(fit, group)
    effects = effect_names(fit, group)
    if order_by is not None and order_by not in effects:
        raise FormulaError(f"{group!r} has no effect {order_by!r}; it has {listed(effects)}")
    table = fit.ranef(cond_var=True)[group]
    total = len(table)
    table = table.sort_values(order_by or effects[0], kind="stable")
    table = table.iloc[spread_ranks(total, max_levels)]
    half = norm.ppf(0.5 + level / 2)

    height = np.clip(0.17 * len(table), 1.2, 8.5)
    figure, panels = panel_grid(len(effects), 3.0, float(height), columns=min(len(effects), 4))
    places = np.arange(len(table))
    for axes, name in zip(panels, effects, strict=True):
        modes, reach = table[name].to_numpy(), half * table[f"{name}_sd"].to_numpy()
        away = np.abs(modes) > reach
        axes.axvline(0.0, color="#b0b0b0", linewidth=0.8, zorder=0)
        for chosen, colour, label in (
            (~away, _APART, "contains 0"),
            (away, COLOURS[0], "excludes 0"),
        ):
            axes.errorbar(
                modes[chosen], places[chosen], xerr=reach[chosen], fmt="o", color=colour,
                markersize=np.clip(160 / len(table), 2.0, 4.5), linestyle="none",
                elinewidth=np.clip(90 / len(table), 0.6, 1.2),
                label=f"{100 * level:g}% interval {label}",
            )  # fmt: skip
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("conditional mode", fontsize=8)
        axes.tick_params(labelsize=8)
        level_axis(axes, table.index)
        if axes not in panels[:: min(len(effects), 4)]:
            axes.tick_params(labelleft=False)
    handles, texts = panels[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", frameon=False, fontsize=8,
                  ncols=2 if len(effects) > 1 else 1)  # fmt: skip
    figure.supylabel(group, fontsize=9)
    if len(table) < total:
        figure.suptitle(
            f"{len(table):,} of {total:,} levels, evenly spread in their order", fontsize=9
        )
    return figure
