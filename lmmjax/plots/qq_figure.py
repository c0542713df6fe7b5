"""Observed against expected p-values on the scale of -log10."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from lmmjax.errors import DTypeError, EmptyDataError
from lmmjax.plots.axes import COLOURS, INK, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = 2_000  # points drawn per label; all of the smallest p-values are among them


def qq(p_values_by_label: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    """Draw a quantile-quantile figure of p-values with a 95% band.

    Parameters
    ----------
    p_values_by_label : mapping of str to array of shape (n,)
        Sets of p-values, one colour each. Missing values are left out; a p-value of 0 is drawn
        at the smallest positive float.
    ax : matplotlib Axes, optional
        Where to draw; a new figure of its own if not given.

    Returns
    -------
    matplotlib Axes
        -log10 of observed against expected p-values. The band holds each order statistic of the
        largest set with probability 0.95, if its p-values are independent and uniform.

    Raises
    ------
    EmptyDataError
        No p-values.
    DTypeError
        Values outside 0 to 1.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> axes = qq({"Age": [0.01, 0.2, 0.5, 0.9]})
    >>> axes.get_ylabel()
    'observed $-\\\\log_{10}\\\\,p$'
    """
    sets = {label: _checked(label, values) for label, values in p_values_by_label.items()}
    sets = {label: values for label, values in sets.items() if values.size}
    if not sets:
        raise EmptyDataError("there are no p-values to draw")
    axes = new_axes(4.6, 4.4) if ax is None else ax
    largest = max(values.size for values in sets.values())
    _band(axes, largest)
    for colour, (label, values) in zip(_cycle(len(sets)), sets.items(), strict=True):
        ranks = _shown_ranks(values.size)
        axes.plot(
            -np.log10((ranks - 0.5) / values.size),
            -np.log10(values[ranks - 1]),
            ".",
            color=colour,
            markersize=5,
            label=f"{label} (n = {values.size:,})",
        )
    axes.set_xlabel(r"expected $-\log_{10}\,p$")
    axes.set_ylabel(r"observed $-\log_{10}\,p$")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, loc="upper left")
    plain(axes)
    return axes


def _checked(label: str, values: ArrayLike) -> np.ndarray:
    """Sorted p-values in (0, 1]."""
    array = np.asarray(values, dtype=np.float64).ravel()
    array = np.sort(array[~np.isnan(array)])
    if array.size and (array[0] < 0 or array[-1] > 1):
        raise DTypeError(f"p-values of {label!r} lie outside 0 to 1")
    return np.maximum(array, np.finfo(np.float64).tiny)


def _band(axes: Axes, n: int) -> None:
    from scipy.stats import beta

    ranks = _shown_ranks(n)
    expected = -np.log10((ranks - 0.5) / n)
    low, high = (-np.log10(beta.ppf(q, ranks, n - ranks + 1)) for q in (0.975, 0.025))
    axes.fill_between(expected, low, high, color="#e3e3e3", linewidth=0, label="95% band")
    end = float(expected.max())
    axes.plot([0, end], [0, end], color=INK, linewidth=0.8)


def _shown_ranks(n: int) -> np.ndarray:
    """Ranks from 1 to n, evenly spread on the logarithmic scale of the figure."""
    return np.unique(np.geomspace(1, n, min(n, _SHOWN)).round().astype(int))


def _cycle(n: int) -> list[str]:
    return [COLOURS[i % len(COLOURS)] for i in range(n)]
