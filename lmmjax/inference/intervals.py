"""Confidence intervals of a fit's parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lmmjax.errors import LmmError
from lmmjax.inference.parameters import components, parameter_names

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit


def confint(
    fit: LmmFit,
    method: str = "profile",
    level: float = 0.95,
    parameters: Sequence[str] | None = None,
    n: int = 1000,
    seed: int | np.random.Generator = 0,
) -> pd.DataFrame:
    """Confidence intervals for standard deviations, correlations, sigma and coefficients.

    Parameters
    ----------
    fit
        A fit.
    method
        ``"profile"`` (likelihood profile, see :func:`lmmjax.inference.profile`), ``"wald"``
        (coefficients only, the others are NaN, as in lme4), ``"boot"`` (percentiles of a
        parametric bootstrap, see :func:`lmmjax.inference.bootstrap`).
    level
        Confidence level.
    parameters
        Names of parameters; default all.  ``"beta_"`` and ``"theta_"`` stand for the
        coefficients and for all others, as in lme4.
    n, seed
        Bootstrap replicates and their seed.

    Returns
    -------
    DataFrame
        One row per parameter, columns named by their percentages.

    Raises
    ------
    LmmError
        Unknown method, level or parameter.

    Examples
    --------
    >>> import lmmjax
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> fit.confint(method="wald").loc["Days"].round(3).tolist()
    [7.438, 13.497]
    """
    check_level(level)
    names = parameter_names(fit.model.design)
    wanted = _wanted(fit, names, parameters)
    if method == "wald":
        return _wald(fit, names, level).loc[wanted]
    if method == "profile":
        return fit.profile(wanted).confint(level)
    if method == "boot":
        return fit.bootstrap(n, seed).confint(level).loc[wanted]
    raise LmmError(f"method is 'profile', 'wald' or 'boot', not {method!r}")


def _wanted(fit: LmmFit, names: list[str], parameters: Sequence[str] | None) -> list[str]:
    if parameters is None:
        return names
    if isinstance(parameters, str):
        parameters = [parameters]
    count = len(components(fit.model.design)) + 1
    groups = {"theta_": names[:count], "beta_": names[count:]}
    out = [name for given in parameters for name in groups.get(given, [given])]
    unknown = [name for name in out if name not in names]
    if unknown:
        raise LmmError(f"no parameter {unknown[0]!r}; there are {', '.join(names)}")
    return out


def _wald(fit: LmmFit, names: list[str], level: float) -> pd.DataFrame:
    from scipy.stats import norm

    z = float(norm.ppf(0.5 * (1.0 + level)))
    estimate, error = fit.fixef.dropna().to_numpy(), fit.std_errors.dropna().to_numpy()
    rows: list[tuple[Any, Any]] = [(np.nan, np.nan)] * (len(names) - len(estimate))
    rows += list(zip(estimate - z * error, estimate + z * error, strict=True))
    return bounds_table(names, rows, level)


def check_level(level: float) -> None:
    """Refuse what is not a confidence level."""
    if not (isinstance(level, int | float | np.floating) and 0.0 < level < 1.0):
        raise LmmError(f"level={level!r}: give a confidence level between 0 and 1, such as 0.95")


def bounds_table(names: list[str], rows: list, level: float) -> pd.DataFrame:
    """Bounds with columns such as ``2.5 %`` and ``97.5 %``."""
    percent = [100 * 0.5 * (1.0 - level), 100 * 0.5 * (1.0 + level)]
    columns = [f"{p:.4g} %" for p in percent]
    return pd.DataFrame(np.array(rows, dtype=float).reshape(-1, 2), index=names, columns=columns)
