"""Linear models by least squares: :func:`lm` fits one,
:class:`~lmmjax.linear.results.LmFit` is what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lmmjax.design import build_design
from lmmjax.design_rows import as_table
from lmmjax.errors import FormulaError, ResponseError
from lmmjax.formula import parse_formula
from lmmjax.linear.formula_update import all_columns
from lmmjax.linear.least_squares import least_squares
from lmmjax.linear.results import LmFit
from lmmjax.offset_column import with_offset
from lmmjax.row_weights import fit_weights
from lmmjax.status import Status

__all__ = ["LmFit", "lm"]

#: Relative size of residuals that are rounding error.
_EXACT = 64 * np.finfo(np.float64).eps


def lm(
    formula: str,
    data: pd.DataFrame | Mapping[str, Any],
    weights: Any = None,
    *,
    na: str = "drop",
    contrasts: Mapping[str, Any] | None = None,
    rank_deficient: str = "drop",
    offset: Any = None,
) -> LmFit:
    """Fit a linear model by (weighted) least squares, as R's ``lm``.

    Parameters
    ----------
    formula
        With a response and without random effects: ``"mpg ~ wt * hp + offset(o)"``; ``.``
        stands for all columns of the data but the response's, ``"mpg ~ . - gear"``.
    data
        One row per observation.
    weights
        Prior weights, an array or Series with one per row, or the name of a column: residual
        variance is sigma^2 / weight.  Weight 0 excludes a row.
    na
        Rows with missing values: ``"drop"`` (said in a warning) or ``"raise"``.
    contrasts
        Coding of factors by column name.
    rank_deficient
        ``"drop"`` linearly dependent columns (said in a warning; their coefficients are NaN),
        or ``"error"``.
    offset
        Known part of the linear predictor, an array or Series with one value per row, or the
        name of a column; added to an ``offset()`` of the formula, as for :func:`lmmjax.lmer`.
        New data for predictions have to hold its column: ``"(offset)"`` if given by values.

    Returns
    -------
    LmFit

    Raises
    ------
    FormulaError
        The formula is none, or has random effects, which :func:`lmmjax.lmer` fits.
    AlignmentError, ShapeError, DTypeError
        The values of the offset do not fit the table, or are not numbers.
    ResponseError, NonFiniteError
        The response is constant, infinite, reproduced exactly, ...
    LmmError
        The data or the weights are not usable; see :mod:`lmmjax.errors`.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.linear import lm
    >>> fit = lm("Reaction ~ Days", lmmjax.datasets.load_sleepstudy())
    >>> fit.fixef.round(4).tolist(), round(fit.sigma, 4)
    ([251.4051, 10.4673], 47.7147)
    """
    original = as_table(data)
    formula = all_columns(formula, [str(name) for name in original.columns])
    formula, original = with_offset(formula, original, offset)
    parsed = parse_formula(formula)
    if parsed.bars:
        raise FormulaError(
            f"lm fits no random effects, and the formula has {parsed.bars[0].text}; use lmer"
        )
    values = fit_weights(weights, original)
    table = original
    if values is not None and not values.all():
        table, values = original.loc[values > 0], values[values > 0]
    design = build_design(
        parsed, table, na=na, rank_deficient=rank_deficient, contrasts=contrasts,
        response_values=True,
    )  # fmt: skip
    assert design.response is not None
    used = None if values is None else values[design.kept]
    y = design.response if design.offset is None else design.response - design.offset
    if np.ptp(design.response) == 0.0:
        told = Status.CONSTANT_RESPONSE
        raise ResponseError(f"{design.response_name}: {told.value}. {told.meaning}")
    solution = least_squares(design.X, y, used)
    scale = np.ones(design.n) if used is None else used
    centre = np.average(y, weights=scale) if parsed.has_intercept else 0.0
    if not solution.rss > _EXACT**2 * np.sum(scale * (y - centre) ** 2):
        raise ResponseError(
            f"{design.response_name}: zero_residual. The fixed effects reproduce the response "
            "exactly: the residual variance is zero."
        )
    options = {
        "weights": weights, "na": na, "contrasts": contrasts, "rank_deficient": rank_deficient,
    }  # fmt: skip
    return LmFit(design, used, solution, original.copy(deep=False), options)
