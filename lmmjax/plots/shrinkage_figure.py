"""How far the model draws each group's own estimates towards the population's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmmjax.design_columns import column
from lmmjax.design_rows import listed
from lmmjax.errors import EmptyDataError, FormulaError
from lmmjax.lmm_fit import LmmFit
from lmmjax.modes import effects_by_group
from lmmjax.plots.axes import COLOURS, plain
from lmmjax.plots.panels import (
    check_estimates,
    chosen_group,
    effect_names,
    level_axis,
    name_points,
    panel_grid,
    spread_ranks,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_OWN, _MODEL, _POPULATION = "#8a8a8a", COLOURS[0], "#d55e00"
_NAMED = 24  # groups with a name each
_MOST = 300  # groups of a dot plot


@dataclass(frozen=True)
class Shrinkage:
    """Coefficients, levels x effects: of each group's own (NaN where its observations do not
    determine them) and by the model. An effect that the fixed part lacks has NaN for the
    population, and its coefficients are deviations.
    """

    own: pd.DataFrame
    model: pd.DataFrame
    population: pd.Series


def plot_shrinkage(
    fit: LmmFit, group: str | None = None, effects: Sequence[str] | None = None
) -> Figure:
    """Draw each group's own coefficients and those that the model gives it.

    With two effects or more, arrows lead from the least-squares estimates of a group's own
    observations to fixed effects plus conditional modes, one panel per pair of effects; with
    one effect, both are dots in the row of the group. From the response are subtracted, before
    each group's least squares, the offset, the other random-effects terms, and the fixed
    effects that are not among the effects drawn.

    Parameters
    ----------
    fit : LmmFit
    group : str, optional
        Grouping factor; default: that of the first term with two effects, or of the first term.
    effects : sequence of str, optional
        Which effects to draw; default: all.

    Returns
    -------
    matplotlib Figure
        Coefficients in units of the response per unit of the covariate. The title counts
        groups that have no estimate of their own. Up to 24 groups are named, where there is room.

    Raises
    ------
    FormulaError
        No such grouping factor or effect.
    EmptyDataError
        No group's observations determine its own coefficients, or `effects` is empty.
    ResponseError
        The fit has no estimates.
    LmmError
        Something else than a fit of one response.
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)", data)
    >>> plot_shrinkage(fit).axes[0].get_ylabel()
    'Days'
    """
    check_estimates(fit, "plot_shrinkage")
    if group is None:
        several = (g for g, found in effects_by_group(fit.fits).items() if len(found) > 1)
        group = next(several, None)
    group = chosen_group(fit, group)
    available = effect_names(fit, group)
    names = [effects] if isinstance(effects, str) else list(effects or ())
    names = available if effects is None else list(dict.fromkeys(names))
    if not names:
        raise EmptyDataError("effects names no effect to draw")
    unknown = [name for name in names if name not in available]
    if unknown:
        raise FormulaError(
            f"{group!r} has no effect {listed(unknown)}; its random effects are {listed(available)}"
        )
    found = shrinkage(fit, group)
    able = found.own.notna().all(axis=1)
    if not able.any():
        raise EmptyDataError(f"no level of {group!r} determines {listed(available)} by itself")
    notes = []
    if not able.all():
        notes.append(f"{int((~able).sum())} of {len(able):,} without an estimate of its own")
    if len(names) == 1:
        figure, (axes,) = panel_grid(1, 3.8, float(np.clip(0.19 * able.sum(), 1.2, 8.5)))
        panels = [axes]
        notes += _dots(axes, found, able, names[0])
        figure.supylabel(group, fontsize=9)
    else:
        pairs = list(combinations(names, 2))
        figure, panels = panel_grid(len(pairs), 5.0 if len(pairs) == 1 else 3.4, 3.8)
        hidden = np.zeros(able.sum(), dtype=bool)
        for axes, (a, b) in zip(panels, pairs, strict=True):
            hidden |= _arrows(axes, found, able, [a, b])
        if hidden.any():
            notes.append(f"arrows of {int(hidden.sum())} begin outside the view")
    handles, texts = panels[0].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", frameon=False, fontsize=8, ncols=3)
    if notes:
        figure.suptitle("; ".join([group, *notes]), fontsize=9)
    return figure


def shrinkage(fit: LmmFit, group: str) -> Shrinkage:
    """Coefficients of each group of a grouping factor, of its own and by the model.

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)", data)
    >>> shrinkage(fit, "Subject").own.loc["308"].round(3).tolist()
    [244.193, 21.765]
    """
    design, seen = fit.model.design, fit._seen
    effects = effects_by_group(fit.fits)[group]
    z = np.stack([design.terms[k].z[seen, c] for k, c, _ in effects], axis=1)
    modes = np.stack([fit._modes.terms[k][0][:, c] for k, c, _ in effects], axis=1)
    first = design.terms[effects[0][0]]
    codes, names = first.codes[seen], [name for *_, name in effects]
    population = fit.fixef.reindex(names).to_numpy().copy()
    # a name is not enough: "fB" is a difference in the fixed part, a mean in (0 + f | g)
    fixed = [{design.fixed_names[i] for i in columns} for _, columns in design.fixed_terms]
    for term in (design.terms[k] for k in dict.fromkeys(k for k, *_ in effects)):
        coded = design.spec.encoder.apply(term.bar.terms, design.spec.table.iloc[:1])
        for _, columns in coded.terms:
            alike = {coded.names[i] for i in columns}
            if alike not in fixed:
                population[[names.index(name) for name in alike]] = np.nan
    model = np.nan_to_num(population) + modes
    # residuals plus what these coefficients explain: all else is subtracted
    y = fit.residuals().to_numpy() + np.sum(z * model[codes], axis=1)
    root = np.ones(len(y))
    if fit.fits.weights is not None:
        root = np.sqrt(fit.fits.weights[seen, fit.index])

    own = np.full(model.shape, np.nan)
    size = np.abs(z).max(axis=0)
    size[size == 0] = 1.0
    order = np.argsort(codes, kind="stable")
    present, starts = np.unique(codes[order], return_index=True)
    for code, rows in zip(present, np.split(order, starts[1:]), strict=True):
        solution, _, rank, _ = np.linalg.lstsq(
            root[rows, None] * z[rows] / size, root[rows] * y[rows], rcond=1e-9
        )
        if rank == len(names):
            own[code] = solution / size
    levels = pd.Index(first.levels, name=group)[present]
    return Shrinkage(
        pd.DataFrame(own[present], index=levels, columns=names),
        pd.DataFrame(model[present], index=levels, columns=names),
        pd.Series(population, index=names),
    )


def _label(found: Shrinkage, effect: str) -> str:
    return f"{effect} (deviation)" if np.isnan(found.population[effect]) else effect


def _dots(axes: Axes, found: Shrinkage, able: pd.Series, effect: str) -> list[str]:
    """Both coefficients in the row of each group, in the order of the model's; a note, perhaps."""
    own, model = column(found.own.loc[able], effect), column(found.model.loc[able], effect)
    total, centre = len(model), float(np.nan_to_num(found.population[effect]))
    order = np.argsort(model.to_numpy(), kind="stable")[spread_ranks(total, _MOST)]
    own, model = own.iloc[order], model.iloc[order]
    size = float(np.clip(160 / len(order), 2.2, 4.5))
    rows = np.arange(len(order))
    axes.axvline(centre, color=_POPULATION, linewidth=1.0, linestyle="--", label="population")
    axes.hlines(rows, own, model, color="#c9c9c9", linewidth=1.0, zorder=1)
    axes.plot(own, rows, "o", markerfacecolor="white", color=_OWN, markersize=size,
              label="own observations")  # fmt: skip
    axes.plot(model, rows, "o", color=_MODEL, markersize=size, label="mixed model")
    axes.tick_params(labelsize=8)
    axes.set_xlabel(_label(found, effect), fontsize=9)
    level_axis(axes, model.index)
    if len(order) == total:
        return []
    return [f"{len(order)} of {total:,} groups, evenly spread in their order"]


def _arrows(axes: Axes, found: Shrinkage, able: pd.Series, pair: list[str]) -> np.ndarray:
    """Arrows from own to model coefficients; booleans (levels,) of those not wholly in view."""
    own, model = found.own.loc[able, pair], found.model.loc[able, pair]
    few = len(own) <= 60
    start, end = own.to_numpy(), model.to_numpy()
    centre = np.nan_to_num(found.population.loc[pair].to_numpy())
    axes.set_xlabel(_label(found, pair[0]))
    axes.set_ylabel(_label(found, pair[1]))
    axes.quiver(
        *start.T, *(end - start).T, angles="xy", scale_units="xy", scale=1, color="#9a9a9a",
        units="inches", width=0.016 if few else 0.009, headwidth=4, headlength=5,
        alpha=0.9 if few else 0.5, zorder=1,
    )  # fmt: skip
    size = 4.5 if few else 2.8
    axes.plot(*start.T, "o", markerfacecolor="white", color=_OWN, markersize=size,
              label="own observations")  # fmt: skip
    axes.plot(*end.T, "o", color=_MODEL, markersize=size, label="mixed model")
    axes.plot(*centre[:, None], "D", color=_POPULATION, markersize=7, markeredgecolor="white",
              label="population")  # fmt: skip
    # groups of two close observations can lie anywhere: the view leaves out the wildest
    low, high = np.quantile(start, [0.25, 0.75], axis=0)
    reach = 4 * (high - low)
    inside = ((start >= low - reach) & (start <= high + reach)).all(axis=1)
    shown = np.vstack([start[inside], end, centre])
    margin = 0.08 * np.maximum(np.ptp(shown, axis=0), 1e-12 * np.abs(shown).max())
    named = len(own) <= _NAMED
    if named:
        margin[0] *= 1 + 0.2 * max(len(str(name)) for name in own.index)
    bottom, top = shown.min(axis=0) - margin, shown.max(axis=0) + margin
    if (top > bottom).all():
        axes.set_xlim(bottom[0], top[0])
        axes.set_ylim(bottom[1], top[1])
    if named:
        name_points(axes, own.index, start, end)
    plain(axes)
    return ~inside
