"""Coefficients and counts by group, principal components, residuals of each type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from lmmjax.errors import LmmError
from lmmjax.modes import effects_by_group

from .mixed_equations import by_observation, require_estimates, row_weights
from .pieces import present_levels, relative_factors

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit

ResidualType = Literal["response", "pearson", "scaled", "deviance"]


def coef(fit: LmmFit) -> dict[str, pd.DataFrame]:
    """Coefficients of each level: fixed effects plus conditional modes.

    A random effect without a fixed counterpart has fixed part 0 and its column comes first, as
    in lme4's ``coef``.  Coefficients dropped as linearly dependent are left out.

    Parameters
    ----------
    fit
        Fit of one response.

    Returns
    -------
    dict
        Grouping factor to a DataFrame, levels with observations x coefficients, in units of
        the coefficients.

    Raises
    ------
    ResponseError
        The response has no estimates.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import coef
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> coef(fit)["Subject"].loc["308"].round(4).to_dict()
    {'(Intercept)': 253.6637, 'Days': 19.6663}
    """
    require_estimates(fit)
    fixed, random = fit.fixef.dropna(), fit.ranef()
    effects = dict.fromkeys(name for frame in random.values() for name in frame.columns)
    missing = [name for name in effects if name not in fixed.index]
    columns = [*missing, *fixed.index]
    out = {}
    for group, frame in random.items():
        table = pd.DataFrame(0.0, index=frame.index, columns=columns)
        table[fixed.index] += fixed
        table[frame.columns] += frame
        out[group] = table
    return out


def ngrps(fit: LmmFit) -> pd.Series:
    """Number of levels with observations, per grouping factor.

    Parameters
    ----------
    fit
        Fit of one response.

    Returns
    -------
    Series
        Grouping factor to a count, in decreasing order.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import ngrps
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> ngrps(fit).to_dict()
    {'Subject': 18}
    """
    counts = {term.group: len(present_levels(fit, term)) for term in fit.model.design.terms}
    return pd.Series(counts, name="ngrps", dtype=np.int64)


def repca(fit: LmmFit, rotation: bool = False) -> dict[str, pd.DataFrame]:
    """Principal components of the random effects of each grouping factor.

    Singular values of the relative covariance factor of all terms of a factor, as lme4's
    ``rePCA``.  A component with next to no share is a direction in which the random effects do
    not vary: the term has more effects than the data support.

    Parameters
    ----------
    fit
        Fit of one response.
    rotation
        Give the components themselves, as R's ``$rotation``, instead of their sizes.

    Returns
    -------
    dict
        Grouping factor to a DataFrame, components ``PC1 ...`` x ``sdev`` (in units of the
        residual standard deviation), ``proportion`` of variance and ``cumulative``; shares are
        zero where all variances are (NaN in lme4).  With ``rotation``: effects x components,
        columns of length one, their largest entry positive.

    Raises
    ------
    ResponseError
        The response has no estimates.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import repca
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> repca(fit)["Subject"].round(4).to_numpy().tolist()
    [[0.9669, 0.9461, 0.9461], [0.2309, 0.0539, 1.0]]
    >>> repca(fit, rotation=True)["Subject"].round(4).to_numpy().tolist()
    [[0.9999, -0.0166], [0.0166, 0.9999]]
    """
    require_estimates(fit)
    factors = relative_factors(fit)
    out = {}
    for group, effects in effects_by_group(fit.fits).items():
        own = dict.fromkeys(k for k, *_ in effects)
        together = np.asarray(block_diag(*(factors[k] for k in own)))
        turned, sdev, _ = np.linalg.svd(together)
        names = [f"PC{k + 1}" for k in range(len(sdev))]
        if rotation:
            largest = np.take_along_axis(turned, np.abs(turned).argmax(axis=0)[None], axis=0)
            turned = turned * np.where(largest < 0, -1.0, 1.0)
            out[group] = pd.DataFrame(turned, [name for *_, name in effects], names)
            continue
        total = np.sum(sdev**2)
        share = sdev**2 / total if total > 0 else np.zeros(len(sdev))
        columns = {"sdev": sdev, "proportion": share, "cumulative": np.cumsum(share)}
        out[group] = pd.DataFrame(columns, index=names)
    return out


def residuals_of_type(fit: LmmFit, type: ResidualType = "response") -> pd.Series:
    """Residuals of one of the types that R knows.

    Parameters
    ----------
    fit
        Fit of one response.
    type
        ``"response"``: y - fitted.  ``"pearson"`` and ``"deviance"``, which agree in a linear
        mixed model: times sqrt(weight).  ``"scaled"``: Pearson residuals divided by sigma.

    Returns
    -------
    Series
        (n,) at the observations used; units of the response, none if scaled.

    Raises
    ------
    LmmError
        Another type; they are listed.
    ResponseError
        The response has no estimates.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import residuals_of_type
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> residuals_of_type(fit, "scaled").head(2).round(3).tolist()
    [-0.16, -0.571]
    """
    if type not in ("response", "pearson", "scaled", "deviance"):
        raise LmmError(
            f"no residuals of type {type!r}; there are response, pearson, scaled, deviance"
        )
    require_estimates(fit)
    values = fit.residuals().to_numpy()
    if type != "response":
        values = values * np.sqrt(row_weights(fit))
    if type == "scaled":
        values = values / fit.sigma
    return by_observation(fit, values, type)
