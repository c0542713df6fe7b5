"""Intraclass correlation and variance explained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmmjax.errors import DesignError

from .mixed_equations import require_estimates

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit


@dataclass(frozen=True)
class _Variances:
    """Of the fixed part and per grouping factor, as multiples of the residual variance."""

    fixed: float
    groups: dict[str, float]

    @property
    def random(self) -> float:
        return sum(self.groups.values())

    @property
    def total(self) -> float:
        return self.fixed + self.random + 1.0


def _variances(fit: LmmFit) -> _Variances:
    require_estimates(fit)
    seen, groups = fit._seen, {}
    covariances = fit.fits.take([fit.index]).term_covariances(relative=True)
    for term, covariance in zip(fit.model.design.terms, covariances, strict=True):
        z = term.z[seen]
        mean = float(np.mean(np.sum((z @ covariance[0]) * z, axis=1)))
        groups[term.group] = groups.get(term.group, 0.0) + mean
    linear = fit._modes.linear[seen, 0] / fit.sigma
    return _Variances(float(np.var(linear, ddof=1)), groups)


def icc(fit: LmmFit, by_group: bool = False) -> pd.Series:
    """Intraclass correlation: the share of variance that lies between groups.

    With S_f the variance of X beta (denominator n - 1), S_r the sum over terms of the mean over
    observations of z' Sigma z (the variance component for ``(1 | g)``; Johnson 2014, Methods
    Ecol. Evol. 5, 944-946, for random slopes) and sigma^2 the residual variance at weight 1:
    ``adjusted`` = S_r / (S_r + sigma^2), ``unadjusted`` = S_r / (S_f + S_r + sigma^2)
    (Nakagawa, Johnson and Schielzeth 2017, J. R. Soc. Interface 14, 20170213); R's
    ``performance::icc``, which used to call the second one conditional.

    Parameters
    ----------
    fit
        Fit of one response.
    by_group
        The adjusted correlation of each grouping factor alone; they sum to ``adjusted``.

    Returns
    -------
    Series
        ``adjusted`` and ``unadjusted``, or one entry per grouping factor; between 0 and 1.

    Raises
    ------
    ResponseError
        The response has no estimates.
    DesignError
        The model has no random effects.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import icc
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> icc(fit).round(3).to_dict()
    {'adjusted': 0.722, 'unadjusted': 0.521}
    """
    if not fit.model.design.terms:
        raise DesignError(f"{fit.formula!r} has no random effects: no intraclass correlation")
    v = _variances(fit)
    if by_group:
        share = {group: value / (v.random + 1.0) for group, value in v.groups.items()}
        return pd.Series(share, name="icc")
    values = {"adjusted": v.random / (v.random + 1.0), "unadjusted": v.random / v.total}
    return pd.Series(values, name="icc")


def r2_nakagawa(fit: LmmFit) -> pd.Series:
    """Variance explained by the fixed effects, and by fixed and random effects.

    With the variances of :func:`icc`: ``marginal`` = S_f / (S_f + S_r + sigma^2),
    ``conditional`` = (S_f + S_r) / (S_f + S_r + sigma^2) (Nakagawa, Johnson and Schielzeth
    2017).  An offset counts as neither.

    Parameters
    ----------
    fit
        Fit of one response.

    Returns
    -------
    Series
        ``marginal`` and ``conditional``; between 0 and 1.

    Raises
    ------
    ResponseError
        The response has no estimates.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import r2_nakagawa
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> r2_nakagawa(fit).round(3).to_dict()
    {'marginal': 0.279, 'conditional': 0.799}
    """
    v = _variances(fit)
    values = {"marginal": v.fixed / v.total, "conditional": (v.fixed + v.random) / v.total}
    return pd.Series(values, name="r2")
