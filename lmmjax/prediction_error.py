"""Standard errors and intervals of predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .errors import LmmError
from .mixed_model_equations import scatter, solve_equations

if TYPE_CHECKING:
    from .lmm_fit import LmmFit

INTERVALS = ("confidence", "prediction")


def prediction_variance(
    fit: LmmFit,
    x: np.ndarray,
    terms: list[tuple[int, np.ndarray, np.ndarray]],
) -> np.ndarray:
    """Variance of the error of x'beta + z'b at N rows, theta and sigma taken as known.

    Errors of beta and of b are taken jointly (Henderson 1975).  A level that the response has
    not seen contributes the full variance of its effects.

    Parameters
    ----------
    fit
        A fit.
    x
        (N, rank) rows of X.
    terms
        For each random-effects term in the prediction: its position in the design, (N, q)
        rows of Z, (N,) levels, -1 where unseen.  Rows of one term in several parts add up.

    Returns
    -------
    ndarray
        (N,) in squared units of the response.
    """
    model, design = fit.model, fit.model.design
    layout, order = model.layout, list(model.order.engine_terms)
    solved = solve_equations(fit.fits, fit.index, fixed=True)
    count = len(x)
    given: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    for k, z, codes in terms:
        given[k] = (z + given[k][0] if k in given else z, codes)
    extra = np.zeros(count)
    scaled, levels = [], []
    for k, factor in zip(order, solved.factors, strict=True):
        z, codes = given.get(
            k, (np.zeros((count, factor.shape[0])), np.full(count, -1, dtype=np.int32))
        )
        row = z @ factor
        extra += np.where(codes < 0, np.sum(row * row, axis=1), 0.0)
        scaled.append(np.where((codes < 0)[:, None], 0.0, row))
        levels.append(codes)
    first = len(layout.eliminated)
    used = ~np.isnan(fit._beta)
    dense = [design.terms[k] for k in order[first:]]
    rest = np.concatenate(
        [scatter(count, dense, scaled[first:], levels[first:]), x[:, used]], axis=1
    )
    if first:
        # terms on one grouping factor: in the prediction, all with the same levels
        codes = np.max(np.stack(levels[:first]), axis=0)
        eliminated = np.concatenate(scaled[:first], axis=1)
    else:
        codes, eliminated = np.full(count, -1), np.zeros((count, 0))
    return (solved.quadratic(codes, eliminated, rest) + extra) * fit.sigma**2


def with_errors(
    fit: LmmFit,
    predicted: pd.Series,
    variance: np.ndarray,
    residual: np.ndarray | float,
    se_fit: bool,
    interval: str | None,
    level: float,
) -> pd.DataFrame:
    """Columns ``fit`` and, as asked for, ``se_fit``, ``lower``, ``upper``.

    ``residual`` is the variance of a new observation about its mean.
    """
    from scipy.stats import norm

    from .inference.intervals import check_level

    check_level(level)
    if interval is not None and interval not in INTERVALS:
        raise LmmError(f"interval is None, 'confidence' or 'prediction', not {interval!r}")
    out = pd.DataFrame({"fit": predicted})
    error = np.sqrt(variance)
    if se_fit:
        out["se_fit"] = np.where(np.isnan(predicted), np.nan, error)
    if interval is not None:
        wide = np.sqrt(variance + residual) if interval == "prediction" else error
        half = float(norm.ppf(0.5 * (1.0 + level))) * wide
        out["lower"], out["upper"] = predicted - half, predicted + half
    return out
