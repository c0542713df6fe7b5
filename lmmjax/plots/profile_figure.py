"""Profile zeta figures: how the deviance rises away from the estimates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmmjax.design_columns import as_numbers, column
from lmmjax.design_rows import listed
from lmmjax.errors import DTypeError, EmptyDataError, LmmError, TableError
from lmmjax.inference.profile import Profile
from lmmjax.plots.axes import COLOURS, INK, plain
from lmmjax.plots.panels import panel_grid, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = ("parameter", "value", "zeta")
_FINE = 400  # points of a curve


def plot_zeta(
    profile: Profile | pd.DataFrame,
    *,
    absolute: bool = False,
    levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95, 0.99),
) -> Figure:
    """Draw zeta against each parameter, with the confidence intervals it gives.

    Parameters
    ----------
    profile : Profile or DataFrame
        What ``fit.profile()`` returns, or a table like its ``curves`` with one row per profiled
        point: ``parameter`` (str), ``value`` (in the parameter's units) and ``zeta``, the signed
        square root of the increase of the deviance, 0 at the estimate.
    absolute : bool
        Draw the absolute value of zeta; each interval is then a horizontal line.
    levels : sequence of float
        Confidence levels of the vertical lines.

    Returns
    -------
    matplotlib Figure
        One panel per parameter, in the order of the table. A curve that is a straight line
        belongs to an estimate with a normal likelihood. Lines are left out on a side where the
        profile ends before it reaches their level, at a variance of zero say.

    Raises
    ------
    TableError
        A column is missing.
    DTypeError
        Values are not numbers.
    EmptyDataError
        No rows, or fewer than 2 points of a parameter.
    LmmError
        A level does not lie between 0 and 1.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> value = np.linspace(8.0, 12.0, 9)
    >>> table = pd.DataFrame({"parameter": "Days", "value": value, "zeta": (value - 10) / 0.6})
    >>> plot_zeta(table).axes[0].get_xlabel()
    'Days'
    """
    from scipy.stats import norm

    for level in levels:
        if not 0 < level < 1:
            raise LmmError(f"levels have to lie between 0 and 1, not {level}; 0.95 is 95%")
    curves = _curves(profile.curves if isinstance(profile, Profile) else profile)
    heights = norm.ppf(0.5 + np.sort(np.asarray(levels, dtype=float)) / 2)
    figure, panels = panel_grid(len(curves), 2.2, 2.4)
    columns = sum(axes.get_subplotspec().rowspan.start == 0 for axes in panels)  # type: ignore[union-attr]
    top = 1.08 * max([3.0, *heights])
    for k, (axes, (name, (value, zeta))) in enumerate(zip(panels, curves.items(), strict=True)):
        _draw(axes, value, zeta, heights, absolute, top)
        axes.set_ylim(0 if absolute else -top, top)
        axes.set_xlabel(shortened(name, 28), fontsize=8)
        axes.tick_params(labelsize=7)
        axes.locator_params(axis="x", nbins=5)
        plain(axes)
        if k % columns:
            axes.tick_params(labelleft=False)
        else:
            axes.set_ylabel(r"$|\zeta|$" if absolute else r"$\zeta$", rotation=0, fontsize=11)
        if k % columns == columns - 1 or k == len(panels) - 1:
            _name_levels(axes, heights, levels, absolute)
    return figure


def _curves(profile: pd.DataFrame) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per parameter a smooth curve through its points: value and zeta, (400,) each."""
    from scipy.interpolate import PchipInterpolator

    if not isinstance(profile, pd.DataFrame):
        raise TableError(
            "the profile is what fit.profile() returns, or a DataFrame with the columns "
            f"{listed(list(_COLUMNS))}, not a {type(profile).__name__}"
        )
    missing = [name for name in _COLUMNS if name not in profile.columns]
    if missing:
        have = listed([str(c) for c in profile.columns], 8) or "none"
        raise TableError(f"the profile lacks the column(s) {listed(missing)}; it has {have}")
    try:
        numbers = {name: as_numbers(column(profile, name)) for name in ("value", "zeta")}
    except DTypeError as error:
        raise DTypeError(f"a profile holds numbers: {error}") from None
    table = pd.DataFrame({"parameter": column(profile, "parameter").astype(str), **numbers})
    if table.empty:
        raise EmptyDataError("the profile has no rows")
    out = {}
    for name, part in table.groupby("parameter", sort=False):
        value, zeta = part["value"].to_numpy(), part["zeta"].to_numpy()
        finite = np.isfinite(value) & np.isfinite(zeta)
        value, first = np.unique(value[finite], return_index=True)
        zeta = zeta[finite][first]
        if len(value) < 2:
            raise EmptyDataError(f"the profile of {name!r} has fewer than 2 points to draw")
        fine = np.union1d(np.linspace(value[0], value[-1], _FINE), value)
        out[str(name)] = (fine, PchipInterpolator(value, zeta)(fine))  # no wiggles of its own
    return out


def crossing(value: np.ndarray, zeta: np.ndarray, target: float) -> float:
    """Where a curve first reaches `target`, going out from the estimate; NaN if it does not.

    Examples
    --------
    >>> value = np.linspace(0.0, 4.0, 9)
    >>> crossing(value, value - 2, 1.25), crossing(value, value - 2, -3.0)
    (3.25, nan)
    """
    start = int(np.argmin(np.abs(zeta)))
    if target < 0:
        value, zeta, target, start = value[::-1], -zeta[::-1], -target, len(zeta) - 1 - start
    beyond = np.flatnonzero(zeta[start:] >= target) + start
    if not beyond.size:
        return float("nan")
    k = max(int(beyond[0]), 1)
    return float(np.interp(target, zeta[k - 1 : k + 1], value[k - 1 : k + 1]))


def _draw(
    axes: Axes, value: np.ndarray, zeta: np.ndarray, heights: np.ndarray, absolute: bool, top: float
) -> None:
    """The curve, and from it the intervals' lines down to zero."""
    axes.axhline(0.0, color="#b0b0b0", linewidth=0.8, zorder=0)
    for height in heights:
        ends = [crossing(value, zeta, side * height) for side in (-1, 1)]
        tops = [height, height] if absolute else [-height, height]
        known = [(e, t) for e, t in zip(ends, tops, strict=True) if np.isfinite(e)]
        axes.vlines([e for e, _ in known], 0.0, [t for _, t in known], color="#d55e00",
                    linewidth=0.9)  # fmt: skip
        if absolute and known:
            # an interval that a boundary cuts off begins where the profile does
            left, right = (e if np.isfinite(e) else value[i] for e, i in zip(ends, (0, -1),
                           strict=True))  # fmt: skip
            axes.hlines(height, left, right, color="#d55e00", linewidth=0.9)
    shown = np.abs(zeta) if absolute else zeta
    inside = np.abs(zeta) <= top  # what lies beyond would squeeze the rest
    axes.plot(value[inside], shown[inside], color=COLOURS[0], linewidth=1.6)
    estimate = value[int(np.argmin(np.abs(zeta)))]
    axes.plot([estimate], [0.0], "o", color=INK, markersize=3.5, clip_on=False)


def _name_levels(axes: Axes, heights: np.ndarray, levels: Sequence[float], absolute: bool) -> None:
    """Confidence levels in the margin right of the last panel of a row."""
    right = axes.secondary_yaxis("right")
    signs = (1,) if absolute else (-1, 1)
    ticks = [(s * h, f"{100 * p:g}%") for s in signs for h, p in zip(heights, sorted(levels),
             strict=True)]  # fmt: skip
    right.set_yticks([place for place, _ in ticks], [text for _, text in ticks], fontsize=6)
    right.tick_params(length=2, color="#b0b0b0")
    right.spines["right"].set_visible(False)
