"""Checks of arguments that several functions on one response take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .errors import LmmError

#: What lme4's ``lmer`` calls an argument, and what it is here.
LME4_ARGUMENTS = {
    "REML": "reml",
    "na_action": "na",
    "subset": "data, with the rows that are meant",
    "control": "no argument: the optimiser needs no settings",
    "verbose": "no argument: fit.check() tells how the fit went",
    "family": "no argument: only linear mixed models are fitted",
    "nsim": "n of simulate() or bootstrap()",
    "condVar": "cond_var of ranef()",
}


def refuse_unknown(function: str, unknown: Mapping[str, Any]) -> None:
    """Refuse keyword arguments that do not exist, naming what lme4's are called here.

    Raises
    ------
    LmmError
        One of lme4's arguments; the message names its counterpart.
    TypeError
        Any other name.
    """
    for name in unknown:
        if name in LME4_ARGUMENTS:
            raise LmmError(f"{function} has no argument {name!r}; use {LME4_ARGUMENTS[name]}")
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def generator(seed: Any) -> np.random.Generator:
    """The random numbers of a seed; None: others each time.

    Raises
    ------
    LmmError
        ``seed`` is neither an integer of 0 or more nor a generator.
    """
    usable = seed is None or isinstance(seed, np.random.Generator | np.random.SeedSequence)
    if isinstance(seed, int | np.integer) and not isinstance(seed, bool):
        usable = bool(seed >= 0)
    if not usable:
        raise LmmError(f"seed={seed!r}: give an integer, 0 or more, or a NumPy generator")
    return np.random.default_rng(seed)


def start_theta(start: Any) -> Any:
    """theta of a start, which may be lme4's ``{"theta": [...]}``; its length is checked later.

    Raises
    ------
    LmmError
        A mapping without theta alone, or entries that are not numbers.
    """
    if isinstance(start, Mapping):
        if set(start) != {"theta"}:
            told = ", ".join(map(repr, start)) or "nothing"
            raise LmmError(f"start holds {told}; give {{'theta': [...]}}, or theta itself")
        start = start["theta"]
    if start is None:
        return None
    try:
        return np.asarray(start, dtype=float)
    except (TypeError, ValueError):
        raise LmmError(
            f"start is theta, an array of numbers, or {{'theta': [...]}}, not {start!r}"
        ) from None


def check_contrasts(contrasts: Any) -> None:
    """Refuse contrasts that do not say which columns they are for.

    Raises
    ------
    LmmError
        ``contrasts`` is not a mapping.
    """
    if contrasts is not None and not isinstance(contrasts, Mapping):
        raise LmmError(
            f"contrasts={contrasts!r}: give a mapping of columns to codings, such as "
            "{'treatment': 'sum'}"
        )
