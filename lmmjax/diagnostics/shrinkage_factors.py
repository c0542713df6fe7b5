"""How far the random effects are drawn towards zero."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmmjax.conditional_variance import conditional_covariances
from lmmjax.errors import DesignError
from lmmjax.modes import effects_by_group

from .mixed_equations import require_estimates, row_weights

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit

#: Eigenvalue of a level's Z'WZ (scaled columns) that counts as zero, relative to the largest.
SINGULAR = 1e-12


def shrinkage_by_level(fit: LmmFit) -> pd.DataFrame:
    """Within-group estimate, conditional mode and shrinkage of every random effect.

    ``within`` is the least-squares estimate of a level's effects from its own observations,
    everything else (fixed effects, random effects of other grouping factors) at its estimate:
    b + (Z_l' W Z_l)^-1 Z_l' W e with e the residuals; NaN where the level's observations do not
    determine it.  ``mode`` is b, ``change`` is mode - within.  ``factor`` is
    1 - Var(b | y) / Var(b), the reduction of variance that the level's data bring: 1 is no
    shrinkage, 0 is shrinkage to zero.  For a single ``(1 | g)`` it is mode / within.  It is 0
    where Var(b) is.

    Parameters
    ----------
    fit
        Fit of one response.

    Returns
    -------
    DataFrame
        One row per grouping factor, level with observations and effect: ``group``, ``level``,
        ``effect``, ``within``, ``mode``, ``change`` (units of the effect), ``factor``.

    Raises
    ------
    ResponseError
        The response has no estimates.
    DesignError
        The model has no random effects.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import shrinkage_by_level
    >>> fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> shrinkage_by_level(fit)[["within", "mode", "factor"]].iloc[0].round(4).tolist()
    [43.6259, 40.7837, 0.9349]
    """
    _require_terms(fit)
    terms, seen = fit.model.design.terms, fit._seen
    weight, residual = row_weights(fit), fit.residuals().to_numpy()
    conditional = conditional_covariances(fit.fits, fit.index)
    prior = fit.fits.take([fit.index]).term_covariances()
    parts = []
    for group, effects in effects_by_group(fit.fits).items():
        term = terms[effects[0][0]]
        present, codes = np.unique(term.codes[seen], return_inverse=True)
        z = np.column_stack([terms[k].z[seen, column] for k, column, _ in effects])
        mode = np.column_stack([fit._modes.terms[k][0][present, c] for k, c, _ in effects])
        step = _least_squares(z, weight, residual, codes, len(present))
        factor = np.zeros(mode.shape)
        for at, (k, column, _) in enumerate(effects):
            variance = prior[k][0, column, column]
            root = terms[k].root
            if root is not None:  # levels with a known covariance need not be alike
                variance = variance * np.sum(root[present] ** 2, axis=1)
            if np.all(variance > 0):
                factor[:, at] = 1.0 - conditional[k][present, column, column] / variance
        q = len(effects)
        parts.append(
            pd.DataFrame(
                {
                    "group": group,
                    "level": np.repeat([term.levels[k] for k in present], q),
                    "effect": [name for *_, name in effects] * len(present),
                    "within": (mode + step).ravel(),
                    "mode": mode.ravel(),
                    "change": -step.ravel(),
                    "factor": factor.ravel(),
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def shrinkage(fit: LmmFit) -> pd.DataFrame:
    """Mean reduction of variance per random effect.

    ``reduction`` = 1 - mean over levels of Var(b | y) / Var(b), beta and theta taken as known:
    how much of an effect's variance the data of its levels resolve.  Near 1, the conditional
    modes are as good as separate estimates; near 0, they show the population rather than the
    levels.  See :func:`shrinkage_by_level` for each level.

    Parameters
    ----------
    fit
        Fit of one response.

    Returns
    -------
    DataFrame
        (group, effect) x ``variance`` (Var(b)), ``mean_cond_var`` (mean over levels of
        Var(b | y), both in squared units of the effect), ``reduction`` (0 where the variance
        is 0), ``rms_change`` (root mean square of mode - within, levels that have one).

    Raises
    ------
    ResponseError
        The response has no estimates.
    DesignError
        The model has no random effects.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import shrinkage
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> shrinkage(fit)["reduction"].round(3).to_dict()
    {('Subject', '(Intercept)'): 0.762, ('Subject', 'Days'): 0.849}
    """
    levels = shrinkage_by_level(fit)
    prior = fit.fits.take([fit.index]).term_covariances()
    rows = []
    for group, effects in effects_by_group(fit.fits).items():
        for k, column, name in effects:
            own = (levels["group"] == group) & (levels["effect"] == name)
            variance = float(prior[k][0, column, column])
            reduction = float(np.mean(levels["factor"].to_numpy()[own]))
            change = levels["change"].to_numpy()[own]
            change = change[~np.isnan(change)]
            rms = float(np.sqrt(np.mean(change**2))) if len(change) else np.nan
            rows.append((group, name, variance, variance * (1.0 - reduction), reduction, rms))
    names = ["group", "effect", "variance", "mean_cond_var", "reduction", "rms_change"]
    return pd.DataFrame(rows, columns=names).set_index(["group", "effect"])


def _require_terms(fit: LmmFit) -> None:
    require_estimates(fit)
    if not fit.model.design.terms:
        raise DesignError(f"{fit.formula!r} has no random effects: nothing is shrunk")


def _least_squares(
    z: np.ndarray, weight: np.ndarray, residual: np.ndarray, codes: np.ndarray, n_levels: int
) -> np.ndarray:
    """Weighted regression of the residuals on z in each level, (levels, q); NaN if singular."""
    size = np.sqrt(np.mean(z**2, axis=0))
    size[size == 0] = 1.0
    z = z / size
    q = z.shape[1]
    square, right = np.zeros((n_levels, q, q)), np.zeros((n_levels, q))
    np.add.at(square, codes, weight[:, None, None] * z[:, :, None] * z[:, None])
    np.add.at(right, codes, (weight * residual)[:, None] * z)
    eigenvalues = np.linalg.eigvalsh(square)
    solvable = eigenvalues[:, 0] > SINGULAR * eigenvalues[:, -1]
    out = np.full((n_levels, q), np.nan)
    if solvable.any():
        out[solvable] = np.linalg.solve(square[solvable], right[solvable, :, None])[:, :, 0]
    return out / size
