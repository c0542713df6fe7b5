"""One response: :func:`lmer` fits it, :class:`~lmmjax.lmm_fit.LmmFit` is what it returns."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from .design import build_design
from .design_rows import as_table
from .errors import FitWarning, warn
from .fit import check_single
from .fit_options import check_reml
from .formula import check_formula
from .lmm_fit import LmmFit
from .lmm_fit_arguments import check_contrasts, refuse_unknown, start_theta
from .model import Model
from .offset_column import with_offset
from .row_weights import fit_weights

__all__ = ["LmmFit", "lmer"]


def lmer(
    formula: str,
    data: pd.DataFrame | Mapping[str, Any],
    reml: bool = True,
    weights: Any = None,
    *,
    na: str = "drop",
    contrasts: Mapping[str, Any] | None = None,
    rank_deficient: str = "drop",
    start: Any = None,
    sigma: float | None = None,
    relmat: Mapping[str, pd.DataFrame] | None = None,
    offset: Any = None,
    **unknown: Any,
) -> LmmFit:
    """Fit a linear mixed model to one response.

    Parameters
    ----------
    formula
        lme4 syntax with a response: ``"Reaction ~ Days + (Days | Subject)"``.
    data
        One row per observation.
    reml
        Restricted (default) or ordinary maximum likelihood.
    weights
        Prior weights, an array or Series with one per row, or the name of a column: residual
        variance is sigma^2 / weight.  Weight 0 excludes a row.
    na
        Rows with missing values: ``"drop"`` (said in a warning) or ``"raise"``.
    contrasts
        Coding of factors by column name.
    rank_deficient
        ``"drop"`` linearly dependent fixed effects (said in a warning), or ``"error"``.
    start
        theta (k,) to start from instead of the automatic starts, or ``{"theta": ...}``, as
        lme4's.
    sigma
        The residual standard deviation (of weight 1), if it is known: it is not estimated then,
        and every observation may be a group of its own, as in a meta-analysis.
    relmat
        Known covariances between the levels of grouping factors: ``{"id": K}`` with a DataFrame
        K labelled by level (kinship, pedigree).  The effects of ``(1|id)`` have covariance
        theta^2 sigma^2 K, those of a vector-valued term Psi sigma^2 (x) K.
    offset
        Known part of the linear predictor, an array or Series with one value per row, or the
        name of a column; added to an ``offset()`` of the formula.  It becomes an ``offset()``
        of the fit's formula, so predictions at new data read its column there: ``"(offset)"``
        where it was given by values.

    Returns
    -------
    LmmFit

    Raises
    ------
    LmmError
        The formula, the data, the weights or the offset are not usable, or an argument has
        lme4's name (``REML``); see :mod:`lmmjax.errors`.
    ResponseError, NonFiniteError
        The response cannot be fitted: it is constant, infinite, reproduced exactly, ...

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)", data)
    >>> fit.fixef.round(4).tolist(), round(fit.sigma, 4)
    ([251.4051, 10.4673], 25.5918)
    """
    refuse_unknown("lmer", unknown)
    check_formula(formula)
    reml = check_reml(reml)
    check_contrasts(contrasts)
    start = start_theta(start)
    table = as_table(data)
    formula, table = with_offset(formula, table, offset)
    values = fit_weights(weights, table)
    if values is not None and not values.all():
        table, values = table.loc[values > 0], values[values > 0]
    design = build_design(
        formula, table, na=na, rank_deficient=rank_deficient, contrasts=contrasts,
        response_values=True, sigma=sigma, relmat=relmat,
    )  # fmt: skip
    used = None if values is None else values[design.kept]
    rows = np.ones(design.n, dtype=bool)
    model = Model(replace(design, kept=rows), design.observations)
    response = pd.Series(design.response, index=design.observations, name=design.response_name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # of a batch of one: an error, or said below
        fits = model.fit(response, reml=reml, weights=used, progress=False, start=start)
    fit = LmmFit(fits, 0, _label(weights))
    check_single(fit.status, str(fit.response))
    if not fit.converged:
        warn(f"{fit.response}: {fit.status.meaning}", FitWarning)
    return fit


def _label(weights: Any) -> str | None:
    """What a summary calls the weights: the column, or the name of a Series."""
    name = weights if isinstance(weights, str) else getattr(weights, "name", None)
    return None if name is None else str(name)
