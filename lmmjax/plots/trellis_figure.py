"""Observations and predictions, one panel per group."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from lmmjax.design_columns import as_factor, as_numbers, column, is_factor
from lmmjax.design_rows import listed
from lmmjax.errors import (
    AlignmentError,
    EmptyDataError,
    FormulaError,
    LmmError,
    ShapeError,
    UnseenLevelError,
)
from lmmjax.lmm_fit import LmmFit
from lmmjax.plots.axes import INK, plain
from lmmjax.plots.panels import (
    check_estimates,
    chosen_group,
    panel_grid,
    shortened,
)
from lmmjax.random_term import RandomTerm
from lmmjax.results import FitBatch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Okabe and Ito's colours, told apart by colour-blind readers; lines differ in dashes too.
LINES = (
    ("#0072b2", "-"), ("#d55e00", "--"), ("#009e73", "-."), ("#cc79a7", ":"), ("#e69f00", "--"),
)  # fmt: skip
_GRID = 60  # points of a predicted curve
_LONGEST = 60  # characters of a formula that still fits a legend

Curve = tuple[np.ndarray, np.ndarray]


def plot_trellis(
    fits: LmmFit | Sequence[LmmFit],
    x: str | pd.Series | None = None,
    group: str | None = None,
    *,
    max_panels: int = 36,
    page: int = 1,
    labels: Sequence[str] | None = None,
) -> Figure:
    """Draw the observations and the predictions of one or more fits, one panel per group.

    Parameters
    ----------
    fits : LmmFit or sequence of LmmFit
        Fits of the same response; the observations are those of the first.
    x : str or Series, optional
        A column that one of the formulas uses, or values by observation label; default: the
        numeric covariate, where the formulas use one only.
    group : str, optional
        Grouping factor whose levels are the panels; default: the first fit's largest.
    max_panels : int
        Panels per page.
    page : int
        Which page, from 1; the legend's title counts the groups if there are several.
    labels : sequence of str, optional
        Names of the fits in the legend; default: their formulas.

    Returns
    -------
    matplotlib Figure
        Units of `x` and of the response. Lines are ``fit.predict`` with all random effects: on
        a grid over the group's range of `x` where every other column is constant in the group,
        otherwise at its observations, averaged over those with the same `x`.

    Raises
    ------
    FormulaError
        No fit uses the column `x` or has the grouping factor; or `x` is left out, and there is
        no numeric covariate, or there are several.
    AlignmentError
        The fits are of different responses, or `x` lacks observations.
    ResponseError
        A fit has no estimates.
    EmptyDataError, ShapeError, LmmError
        No fits; another number of labels than fits; no such page; or something else than fits
        of one response (several go in a list).
    ImportError
        matplotlib is not installed.

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> m1 = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data)
    >>> m2 = lmmjax.lmer("Reaction ~ Days + (Days | Subject)", data)
    >>> len(plot_trellis([m1, m2], "Days", labels=["M1", "M2"]).axes)
    18
    """
    several = isinstance(fits, Iterable) and not isinstance(fits, str | FitBatch)
    models = cast(list[LmmFit], list(cast(Iterable, fits)) if several else [fits])
    for fit in models:
        check_estimates(fit, "plot_trellis")
    names = _legend_names(models, labels)
    x = _numeric_covariate(models) if x is None else x
    if not isinstance(x, str | pd.Series):
        raise LmmError(
            f"x is a column's name or a Series, not {type(x).__name__}; several fits go in a list: "
            "plot_trellis([m1, m2])"
        )
    observed = _common_response(models)
    owner, term = _grouping(models, group)
    levels = owner._on_observations(np.asarray(term.levels, object)[term.codes])
    levels = levels.reindex(observed.index)
    where, ticks = _positions(models, x, observed.index)

    present = [level for level in term.levels if (levels == level).any()]
    shown = _page(present, max_panels, page)
    figure, panels = panel_grid(len(shown), 1.7, 1.6, share=True)
    curves = [_curves(fit, x, where, levels, shown) for fit in models]
    for axes, level in zip(panels, shown, strict=True):
        own = (levels == level).to_numpy()
        axes.plot(where[own], observed[own], "o", color=INK, markersize=3.2, alpha=0.75,
                  markeredgewidth=0, label="observed")  # fmt: skip
        for k, (name, by_level) in enumerate(zip(names, curves, strict=True)):
            colour, dashes = LINES[k % len(LINES)]
            at, predicted = by_level.get(level, (np.empty(0), np.empty(0)))
            axes.plot(at, predicted, dashes, color=colour, linewidth=1.5, label=name,
                      marker="D" if len(at) == 1 else None, markersize=5,
                      markerfacecolor="none")  # fmt: skip
        axes.set_title(shortened(level, 20), fontsize=8, pad=3)
        axes.tick_params(labelsize=7)
        if ticks:
            turned = max(map(len, ticks)) > 3
            axes.set_xticks(range(len(ticks)), [shortened(t, 12) for t in ticks],
                            rotation=60 if turned else 0, ha="right" if turned else "center",
                            rotation_mode="anchor")  # fmt: skip
        plain(axes)
    figure.supxlabel(str(x.name or "x") if isinstance(x, pd.Series) else x, fontsize=10)
    figure.supylabel(str(models[0].response), fontsize=10)
    title = term.group
    if len(shown) < len(present):
        first = (page - 1) * max_panels + 1
        title += f": {first} to {first + len(shown) - 1} of {len(present):,}"
    handles, texts = panels[0].get_legend_handles_labels()
    wide = max(map(len, texts)) > 25
    # the title stands in the legend: matplotlib would draw one over the other
    figure.legend(handles, texts, title=title, loc="outside upper center", frameon=False,
                  fontsize=8, ncols=1 if wide else min(len(texts), 4))  # fmt: skip
    return figure


def _legend_names(fits: list[LmmFit], labels: Sequence[str] | None) -> list[str]:
    if not fits:
        raise EmptyDataError("there are no fits to draw")
    if labels is not None:
        if isinstance(labels, str) or len(labels) != len(fits):
            raise ShapeError(f"labels has to be a list of {len(fits)}, one name per fit")
        return [str(label) for label in labels]
    formulas = [" ".join(fit.formula.split()) for fit in fits]
    if len(set(formulas)) == len(fits) and max(map(len, formulas)) <= _LONGEST:
        return formulas
    return [f"model {k}" for k in range(1, len(fits) + 1)]


def _common_response(fits: list[LmmFit]) -> pd.Series:
    """Observed values of the first fit, once the others are known to have the same."""
    values = [fit._on_observations(fit.fits.raw_values[:, fit.index]) for fit in fits]
    for fit, other in zip(fits[1:], values[1:], strict=True):
        both = values[0].index.intersection(other.index)
        if both.empty or not np.array_equal(values[0][both], other[both]):
            raise AlignmentError(
                f"fits of one response are needed; {fits[0].response!r} of {fits[0].formula!r} "
                f"and {fit.response!r} of {fit.formula!r} have other values or observations"
            )
    return values[0]


def _numeric_covariate(fits: list[LmmFit]) -> str:
    """The one numeric column that the formulas read and that labels no groups."""
    found = dict.fromkeys(
        str(name)
        for spec in (fit.model.design.spec for fit in fits)
        for name in spec.table.columns
        if name not in spec.group_levels and not is_factor(column(spec.table, name))
    )
    if len(found) != 1:
        many = f"several: {listed(list(found), 8)}" if found else "none"
        raise FormulaError(
            "x has to be given where the formulas do not use one numeric covariate; they use "
            f"{many}"
        )
    return next(iter(found))


def _positions(
    fits: list[LmmFit], x: str | pd.Series, observations: pd.Index
) -> tuple[pd.Series, tuple[str, ...]]:
    """Where on the x axis each observation lies, and the labels of a factor's positions."""
    if isinstance(x, pd.Series):
        missing = observations.difference(x.index)
        if len(missing):
            raise AlignmentError(f"x has no value for the observations {listed(list(missing))}")
        found = x.loc[observations]
    else:
        tables = [fit.model.design.spec.table.loc[fit._seen] for fit in fits]
        table = next((t for t in tables if x in t.columns), None)
        if table is None:
            used = list(dict.fromkeys(str(c) for t in tables for c in t.columns))
            raise FormulaError(
                f"no formula uses the column {x!r}; there are {listed(used, 8)}; "
                "to draw against another variable give a Series of its values"
            )
        found = column(table, x).reindex(observations)
    if not is_factor(found):
        return pd.Series(as_numbers(found), index=observations), ()
    factor = as_factor(found)
    codes = np.where(factor.codes < 0, np.nan, factor.codes)
    return pd.Series(codes, index=observations), factor.levels


def _grouping(fits: list[LmmFit], group: str | None) -> tuple[LmmFit, RandomTerm]:
    """The first fit with the grouping factor, and a term of it with that factor."""
    for fit in fits:
        for term in fit.model.design.terms:
            if group is None or term.group == group:
                return fit, term
    chosen_group(fits[0], group)  # raises: nothing was found
    raise AssertionError  # pragma: no cover


def _page(levels: list[str], size: int, page: int) -> list[str]:
    if size < 1:
        raise LmmError(f"max_panels has to be 1 or more, not {size}")
    pages = -(-len(levels) // size)
    if not 1 <= page <= pages:
        raise LmmError(f"there is no page {page}; {len(levels)} groups make {pages} page(s)")
    return levels[(page - 1) * size : page * size]


def _curves(
    fit: LmmFit, x: str | pd.Series, where: pd.Series, levels: pd.Series, shown: list[str]
) -> dict[str, Curve]:
    """Predictions by group."""
    at = pd.DataFrame({"x": where, "level": levels, "y": fit.predict()}).dropna()
    at = at.loc[at["level"].isin(shown)]
    means = cast(pd.Series, at.groupby(["level", "x"], sort=True)["y"].mean())
    out = {
        str(level): (part.index.get_level_values("x").to_numpy(float), part.to_numpy(float))
        for level, part in means.groupby(level="level")
    }
    table = fit.model.design.spec.table.reindex(at.index)
    if isinstance(x, pd.Series) or x not in table.columns or is_factor(column(table, x)):
        return out
    others = table.drop(columns=x).astype(object)
    constant = others.groupby(at["level"]).nunique().le(1).all(axis=1)
    fine = [g for g, (place, _) in out.items() if len(place) > 1 and constant.get(g, True)]
    if not fine:
        return out
    row_of = dict(zip(at["level"], at.index, strict=True))
    newdata = table.loc[[row_of[g] for g in fine for _ in range(_GRID)]].reset_index(drop=True)
    grids = [np.linspace(out[g][0][0], out[g][0][-1], _GRID) for g in fine]
    newdata[x] = np.concatenate(grids)
    try:
        predicted = fit.predict(newdata).to_numpy().reshape(len(fine), _GRID)
    except UnseenLevelError:  # the formula takes the numbers of x for labels
        return out
    return {**out, **dict(zip(fine, zip(grids, predicted, strict=True), strict=True))}
