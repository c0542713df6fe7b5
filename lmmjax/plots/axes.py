"""Axes to draw on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK = "#2b2b2b"
COLOURS = ("#3b6fb6", "#d9822b", "#4c9f70", "#a6549d", "#c44e52", "#6a7f8f", "#b39b3a", "#4aa3b5")


def new_axes(width: float, height: float) -> Axes:
    """Axes of a new figure that no global state knows, so that nobody has to close it.

    Parameters
    ----------
    width, height : float
        In inches.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("figures need matplotlib: pip install 'lmmjax[plots]'") from error
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def plain(axes: Axes) -> None:
    """Only the left and the lower line of the frame."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
