"""Leverages of the observations, and Cook's distances made from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmmjax.errors import DesignError

from .mixed_equations import MixedEquations, by_observation, mixed_equations

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit

#: What a deletion leaves of an observation, or of the information, below this share is nothing.
NOTHING_LEFT = 1e-9


def require_fixed_effects(fit: LmmFit, equations: MixedEquations) -> None:
    """DesignError where there is no fixed effect that could change."""
    if not equations.basis.shape[1]:
        raise DesignError(f"{fit.formula!r} has no fixed effects, which this would measure")


def leverages(equations: MixedEquations) -> np.ndarray:
    """Diagonal of the hat matrix, (n,)."""
    x = equations.weighted_basis
    fixed = np.sum(x * np.linalg.solve(equations.information, x.T).T, axis=1)
    return 1.0 - equations.precision.diagonal() + fixed


def hatvalues(fit: LmmFit) -> pd.Series:
    """Leverages: how much each fitted value follows its own observation.

    The diagonal of the hat matrix H, fitted = H y with theta held, random effects included:
    H = I - W^-1 P where P = V^-1 - V^-1 X (X'V^-1 X)^-1 X'V^-1 and V = W^-1 + Z Lambda
    Lambda' Z'.  What lme4's ``hatvalues`` gives.  Their sum is the effective number of
    parameters of the mean.  No n x n matrix is formed.

    Parameters
    ----------
    fit
        Fit of one response.

    Returns
    -------
    Series
        (n,) between 0 and 1, at the observations used; no unit.

    Raises
    ------
    ResponseError
        The response has no estimates.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import hatvalues
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> h = hatvalues(fit)
    >>> round(float(h.iloc[0]), 4), round(float(h.sum()), 3)
    (0.2293, 29.022)
    """
    return by_observation(fit, leverages(mixed_equations(fit)), "hatvalues")


def cooks_distance(fit: LmmFit) -> pd.Series:
    """Cook's distance of each observation, by its leverage on its own fitted value.

    (r_i / (1 - h_i))^2 h_i / (sigma^2 p), with r the residual times sqrt(weight), h the
    leverage of :func:`hatvalues` and p the number of fixed effects: lme4's
    ``cooks.distance``.  For the change of the fixed effects themselves, and for whole groups,
    see :func:`lmmjax.diagnostics.influence`.

    Parameters
    ----------
    fit
        Fit of one response.

    Returns
    -------
    Series
        (n,) at the observations used; no unit.  NaN where the leverage is 1.

    Raises
    ------
    ResponseError
        The response has no estimates.
    DesignError
        The model has no fixed effects.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import cooks_distance
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> cooks_distance(fit).nlargest(2).round(3).tolist()
    [4.332, 2.12]
    """
    equations = mixed_equations(fit)
    require_fixed_effects(fit, equations)
    h = leverages(equations)
    left = np.where(1.0 - h > NOTHING_LEFT, 1.0 - h, np.nan)
    relative = equations.residual / (left * fit.sigma)
    distance = relative**2 * h / equations.basis.shape[1]
    return by_observation(fit, distance, "cooks_distance")
