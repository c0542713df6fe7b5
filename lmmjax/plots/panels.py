"""What the figures of a fit share: the grid of panels, the choice of a group, names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from lmmjax.design_rows import listed
from lmmjax.errors import FormulaError, LmmError, ResponseError
from lmmjax.linear.results import LmFit
from lmmjax.lmm_fit import LmmFit
from lmmjax.modes import effects_by_group
from lmmjax.plots.axes import INK, new_axes, plain
from lmmjax.results import FitBatch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LABELLED = 45  # levels with a label each; of more, only some are labelled


def panel_grid(
    count: int, width: float, height: float, *, share: bool = False, columns: int | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure with `count` panels of width x height inches, in rows that leave few gaps.

    Examples
    --------
    >>> len(panel_grid(5, 2.0, 2.0)[1])
    5
    """
    first = new_axes(1.0, 1.0)
    figure = cast("Figure", first.figure)
    first.remove()
    if columns is None:
        columns = min(
            range(1, min(count, 6) + 1),
            key=lambda c: (-count % c) + 3 * abs(np.log(c / np.ceil(count / c) / 1.6)),
        )
    rows = -(-count // columns)
    figure.set_size_inches(max(columns * width + 0.8, 3.6), rows * height + 0.9)
    grid = figure.subplots(rows, columns, sharex=share, sharey=share, squeeze=False).ravel()
    for spare in grid[count:]:
        spare.remove()
    for axes in grid[max(count - columns, 0) : count] if share else ():
        axes.tick_params(labelbottom=True)  # above a gap, too
    return figure, list(grid[:count])


def check_estimates(fit: Any, figure: str, by: str = "lmer") -> None:
    """Refuse what is no fit of ``lmer``, as LmmError, or has no numbers to draw, as ResponseError.

    ``figure`` is the name of the function that draws, ``by`` what makes the fits that it takes.
    """
    if isinstance(fit, FitBatch):
        raise LmmError(f"{figure} draws one response; choose one of the batch: fits[response]")
    if isinstance(fit, LmFit):
        raise LmmError(
            f"{figure} draws random effects, and a fit by lm has none; plot_residuals and plot_qq "
            "draw its residuals"
        )
    if not isinstance(fit, LmmFit):
        raise LmmError(
            f"{figure} needs a fit by {by}, or fits[response] of a batch, not {type(fit).__name__}"
        )
    if not fit.status.has_estimates:
        raise ResponseError(f"{fit.response} has no estimates to draw: {fit.status.meaning}")


def chosen_group(fit: LmmFit, group: str | None) -> str:
    """The grouping factor asked for, or the one with the most levels; FormulaError if none."""
    groups = list(dict.fromkeys(term.group for term in fit.model.design.terms))
    if not groups:
        raise FormulaError(f"the model {fit.formula!r} has no random effects to draw")
    if group is not None and group not in groups:
        raise FormulaError(f"there is no grouping factor {group!r}; the model has {listed(groups)}")
    return groups[0] if group is None else group


def shortened(text: str, longest: int) -> str:
    """The text, cut to `longest` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def effect_names(fit: LmmFit, group: str) -> list[str]:
    """Names of a grouping factor's effects, over all its terms."""
    return [name for *_, name in effects_by_group(fit.fits)[group]]


def spread_ranks(total: int, most: int) -> np.ndarray:
    """At most `most` of the positions 0 to total - 1, the ends among them."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(int))


def level_axis(axes: Axes, levels: pd.Index) -> None:
    """A vertical axis of levels from the bottom up; of many, only some have a label."""
    step = -(-len(levels) // _LABELLED)
    places = range(0, len(levels), step)
    axes.set_yticks(places, [shortened(str(levels[k]), 18) for k in places], fontsize=7)
    axes.set_ylim(-0.8, len(levels) - 0.2)
    plain(axes)


def name_points(axes: Axes, names: pd.Index, start: np.ndarray, end: np.ndarray) -> None:
    """Names beside points (k, 2), on the side away from `end`, as far as there is room for them.

    Positions are those of the axes before the layout, near enough to see which names collide.
    """
    corner = axes.transData.transform
    per_point = axes.figure.dpi / 72
    taken = [(*point, *point) for point in corner(end)]
    for name, place, target in zip(names, start, end, strict=True):
        text = shortened(str(name), 18)
        right = place[0] >= target[0]
        x, y = corner(place)
        reach = (4 + 4.4 * len(text)) * per_point
        box = (x, y - 4 * per_point, x + reach, y + 4 * per_point)
        if not right:
            box = (x - reach, box[1], x, box[3])
        if (
            box[0] < axes.bbox.x0
            or not axes.bbox.y0 <= y <= axes.bbox.y1
            or any(
                box[0] < t[2] and t[0] < box[2] and box[1] < t[3] and t[1] < box[3] for t in taken
            )
        ):
            continue
        taken.append(box)
        axes.annotate(text, place, xytext=(4 if right else -4, 0), textcoords="offset points",
                      fontsize=7, color=INK, ha="left" if right else "right",
                      va="center")  # fmt: skip
