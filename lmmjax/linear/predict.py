"""Predictions of a linear model, with confidence and prediction intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from lmmjax.design_rows import as_table
from lmmjax.errors import LmmError, RankWarning, warn
from lmmjax.linear.intervals import check_level
from lmmjax.linear.terms import full_matrix
from lmmjax.newdata import new_design
from lmmjax.row_weights import prediction_weights

if TYPE_CHECKING:
    from lmmjax.linear.results import LmFit

#: A row of the model matrix this far (relative) outside the rows of the data is not estimable.
_ESTIMABLE = 1e-7


def predict(
    fit: LmFit,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    interval: str | None = None,
    level: float = 0.95,
    se_fit: bool = False,
    weights: Any = None,
) -> pd.Series | pd.DataFrame:
    """Predictions at m new observations.

    Parameters
    ----------
    fit : LmFit
    newdata : DataFrame or mapping, optional
        The columns of the formula's right-hand side; default: the observations used.
    interval : {None, "confidence", "prediction"}
        For the expected value, or for a new observation, by Student's t.
    level : float
        Of the interval.
    se_fit : bool
        Whether to give standard errors of the expected values.
    weights : array, Series or column name, optional
        With ``interval="prediction"``: a new observation has variance sigma^2 / weight. Default:
        those of the fit at its own observations (which a warning says), 1 for new data (which a
        warning says if the fit has weights).

    Returns
    -------
    Series, or DataFrame
        Values, (m,); with an interval or standard errors a table with those of the columns
        ``fit``, ``se_fit``, ``lower`` and ``upper`` that were asked for. NaN where a covariate is
        missing, or where a coefficient that was dropped as linearly dependent matters (a warning
        says so).

    Raises
    ------
    UnseenLevelError, FormulaError, WeightError
        The new data or weights are not usable.
    LmmError
        Unknown interval or level.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.linear import lm
    >>> fit = lm("Reaction ~ Days", lmmjax.datasets.load_sleepstudy())
    >>> fit.predict({"Days": [10.0]}, interval="prediction").round(2).iloc[0].tolist()
    [356.08, 260.71, 451.45]
    """
    if interval not in (None, "confidence", "prediction"):
        raise LmmError(f"interval is None, 'confidence' or 'prediction', not {interval!r}")
    check_level(level)
    if weights is not None and interval != "prediction":
        raise LmmError("weights of predictions are used with interval='prediction' only")
    design = fit.design
    if newdata is None:
        X, observations, values = design.X, design.observations, fit.fitted().to_numpy()
        table = design.spec.table
    else:
        table = as_table(newdata)
        new = new_design(design, table, random=False)
        X, observations = new.X, new.observations
        values = X @ fit.solution.coefficients
        if new.offset is not None:
            values = values + new.offset
        _blank_not_estimable(fit, table, values)
    if interval is None and not se_fit:
        return pd.Series(values, index=observations, name=fit.response)
    variance = np.einsum("ij,jk,ik->i", X, fit.solution.unit_vcov, X) * fit.sigma**2
    out = {"fit": values}
    if se_fit:
        out["se_fit"] = np.sqrt(variance)
    if interval is not None:
        spread = variance
        if interval == "prediction":
            new_weights = prediction_weights(fit, weights, table, newdata is None)
            with np.errstate(divide="ignore"):
                spread = variance + fit.sigma**2 / new_weights
        half = float(stats.t.isf((1.0 - level) / 2.0, fit.df_resid)) * np.sqrt(spread)
        out |= {"lower": values - half, "upper": values + half}
    return pd.DataFrame(out, index=observations)


def _blank_not_estimable(fit: LmFit, table: pd.DataFrame, values: np.ndarray) -> None:
    """NaN where the row is no combination of the rows of the data."""
    design = fit.design
    if design.fixed_kept.all():
        return
    complete = ~np.isnan(values)
    full = full_matrix(design)
    rows = design.spec.encoder.apply(design.parsed.fixed_terms, table.loc[complete]).values
    size = np.sqrt(np.mean(full**2, axis=0))
    size[size == 0.0] = 1.0
    _, _, vt = np.linalg.svd(full / size, full_matrices=True)
    outside = np.linalg.norm((rows / size) @ vt[design.rank :].T, axis=1)
    bad = outside > _ESTIMABLE * np.maximum(np.linalg.norm(rows / size, axis=1), 1.0)
    values[np.flatnonzero(complete)[bad]] = np.nan
    if bad.any():
        warn(
            f"{int(bad.sum())} of {len(values)} predictions are NaN: they need a coefficient that "
            "was dropped as linearly dependent",
            RankWarning,
        )
