"""Fractions of variance over all responses: a violin and a box per term."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmmjax.errors import EmptyDataError
from lmmjax.plots.axes import COLOURS, INK, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESIDUALS = "Residuals"
_GREY = "#9a9a9a"
_GRID = 400  # points of a density's histogram over 0 to 100 percent


def variance_partition(df: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the distribution of each term's fraction of variance over the responses.

    Parameters
    ----------
    df : DataFrame, responses x terms
        Fractions, as ``fits.variance_partition()`` returns them. Missing values are left out.
    ax : matplotlib Axes, optional
        Where to draw; a new figure of its own if not given.

    Returns
    -------
    matplotlib Axes
        One violin and box per term, by falling median, ``Residuals`` last; in percent.

    Raises
    ------
    EmptyDataError
        No response has fractions.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> df = pd.DataFrame({"Tissue": [0.2, 0.3, 0.1], "Residuals": [0.8, 0.7, 0.9]})
    >>> [label.get_text() for label in variance_partition(df).get_xticklabels()]
    ['Tissue', 'Residuals']
    """
    if not df.notna().any(axis=None):
        raise EmptyDataError("no response has a variance partition to draw")
    medians = df.drop(columns=RESIDUALS, errors="ignore").median()
    terms = list(medians.sort_values(ascending=False, kind="stable").index)
    terms += [RESIDUALS] if RESIDUALS in df.columns else []
    axes = new_axes(1.5 + 0.95 * len(terms), 4.2) if ax is None else ax
    for place, term in enumerate(terms):
        colour = _GREY if term == RESIDUALS else COLOURS[place % len(COLOURS)]
        _violin(axes, place, 100 * df[term].dropna().to_numpy(dtype=float), colour)
    long = max(len(str(term)) for term in terms) > 11
    axes.set_xticks(
        range(len(terms)),
        [str(term) for term in terms],
        rotation=35 if long else 0,
        ha="right" if long else "center",
    )
    axes.set_xlim(-0.6, len(terms) - 0.4)
    axes.set_ylim(-2, 102)
    axes.set_ylabel("variance explained (%)")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    plain(axes)
    return axes


def _violin(axes: Axes, place: int, percent: np.ndarray, colour: str) -> None:
    if percent.size == 0:
        return
    where, width = _density(percent)
    axes.fill_betweenx(
        where, place - 0.42 * width, place + 0.42 * width, color=colour, alpha=0.55, linewidth=0
    )
    axes.boxplot(
        percent,
        positions=[place],
        widths=0.12,
        showfliers=False,
        patch_artist=True,
        manage_ticks=False,
        boxprops={"facecolor": "white", "edgecolor": INK, "linewidth": 1.0},
        medianprops={"color": INK, "linewidth": 1.8},
        whiskerprops={"color": INK, "linewidth": 1.0},
        capprops={"visible": False},
    )


def _density(percent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights and widths (0 to 1) of a violin: a smoothed histogram, mirrored at 0 and 100.

    Without the mirror, the many fractions of exactly 0 would be smeared beyond the axis, half of
    their mass lost.
    """
    edges = np.linspace(0.0, 100.0, _GRID + 1)
    counts = np.histogram(np.clip(percent, 0.0, 100.0), edges)[0].astype(float)
    spread = np.subtract(*np.percentile(percent, [75, 25])) / 1.34
    scale = min(s for s in (percent.std(), spread, 100.0) if s > 0) if percent.std() > 0 else 0.0
    bandwidth = np.clip(0.9 * scale * percent.size**-0.2, 0.6, 6.0) / (100.0 / _GRID)
    reach = int(np.ceil(4 * bandwidth))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / bandwidth) ** 2)
    smooth = np.convolve(np.pad(counts, reach, mode="symmetric"), kernel, mode="valid")
    middle = 0.5 * (edges[1:] + edges[:-1])
    inside = (middle >= percent.min() - 1.0) & (middle <= percent.max() + 1.0)
    smooth = smooth[inside]
    return middle[inside], smooth / smooth.max()
