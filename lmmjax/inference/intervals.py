"""Confidence intervals of a fit's parameters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lmmjax.errors import LmmError
from lmmjax.inference.parameters import components, parameter_names

if TYPE_CHECKING:
    from lmmjax.design import Design
    from lmmjax.lmm_fit import LmmFit

#: Names of methods.
METHODS = {"profile": "profile", "wald": "wald", "boot": "boot", "bootstrap": "boot"}


def confint(
    fit: LmmFit,
    method: str = "profile",
    level: float = 0.95,
    parameters: str | Sequence[str] | None = None,
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
        (coefficients only, the others are NaN, as in lme4), ``"boot"`` or ``"bootstrap"``
        (percentiles of a parametric bootstrap, see :func:`lmmjax.inference.bootstrap`); in
        small letters or capitals.
    level
        Confidence level.
    parameters
        Names of parameters; default all.  ``"beta_"`` and ``"theta_"`` stand for the
        coefficients and for all others, ``".sig01"`` for the first entry of theta and so on,
        ``".sigma"`` for sigma, as in lme4.
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
    kind = METHODS.get(method.lower()) if isinstance(method, str) else None
    if kind is None:
        raise LmmError(f"method is 'profile', 'wald' or 'boot', not {method!r}")
    wanted = named_parameters(fit.model.design, parameters)
    if kind == "wald":
        return _wald(fit, parameter_names(fit.model.design), level).loc[wanted]
    if kind == "profile":
        return fit.profile(wanted).confint(level)
    return fit.bootstrap(n, seed).confint(level).loc[wanted]


def named_parameters(design: Design, given: str | Sequence[str] | None) -> list[str]:
    """The parameters that a user names, or all; see :func:`confint` for the abbreviations.

    Raises
    ------
    LmmError
        A parameter does not exist, or is not given by name.
    """
    names = parameter_names(design)
    if given is None:
        return names
    if isinstance(given, str):
        given = [given]
    if not isinstance(given, Iterable) or not all(isinstance(name, str) for name in given):
        raise LmmError(f"parameters={given!r}: give names; there are {', '.join(names)}")
    count = len(components(design)) + 1
    short = {"theta_": names[:count], "beta_": names[count:], ".sigma": ["sigma"]}
    short |= {f".sig{k + 1:02d}": [name] for k, name in enumerate(names[: count - 1])}
    out = [name for one in given for name in short.get(one, [one])]
    unknown = [name for name in out if name not in names]
    if unknown:
        raise LmmError(f"no parameter {unknown[0]!r}; there are {', '.join(names)}")
    return list(dict.fromkeys(out))


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
