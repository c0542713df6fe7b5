"""Confidence intervals of a linear model's coefficients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from scipy import stats

from lmmjax.errors import LmmError

if TYPE_CHECKING:
    from lmmjax.linear.results import LmFit


def confint(
    fit: LmFit, level: float, parameters: str | Sequence[str] | None, method: str | None
) -> pd.DataFrame:
    """See :meth:`lmmjax.linear.results.LmFit.confint`."""
    if isinstance(level, str) or method not in (None, "t"):
        asked = level if isinstance(level, str) else method
        raise LmmError(
            f"method={asked!r}: intervals of a linear model are those of Student's t, which "
            "are exact; leave method out"
        )
    tail = (1.0 - check_level(level)) / 2.0
    width = float(stats.t.isf(tail, fit.df_resid)) * fit.std_errors
    names = [f"{100 * side:.3g} %" for side in (tail, 1.0 - tail)]
    sides = (fit.fixef - width, fit.fixef + width)
    table = pd.DataFrame(dict(zip(names, sides, strict=True)))
    if parameters is None:
        return table
    wanted = [parameters] if isinstance(parameters, str) else list(parameters)
    unknown = [name for name in wanted if name not in table.index]
    if unknown:
        raise LmmError(f"no coefficient {unknown[0]!r}; there are {', '.join(table.index)}")
    return table.loc[wanted]


def check_level(level: float) -> float:
    """A confidence level as a float.

    Raises
    ------
    LmmError
        It is not a number between 0 and 1.
    """
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0.0 < level < 1.0:
        raise LmmError(f"level={level!r}: a confidence level is between 0 and 1, such as 0.95")
    return float(level)
