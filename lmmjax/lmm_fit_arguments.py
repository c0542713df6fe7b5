"""Checks of arguments that several functions on one response take."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np

from .errors import LmmError

Method = TypeVar("Method", bound=Callable[..., Any])

#: What lme4's ``lmer`` calls an argument, and what it is here.
LMER_ARGUMENTS = {
    "REML": "reml",
    "na_action": "na",
    "subset": "data, with the rows that are meant",
    "control": "no argument: the optimiser needs no settings",
    "verbose": "no argument: fit.check() tells how the fit went",
    "family": "no argument: only linear mixed models are fitted",
    "nsim": "n of simulate() or bootstrap()",
    "condVar": "cond_var of ranef()",
}
#: The same for the methods of a fit.
METHOD_ARGUMENTS = {
    "REML": "reml",
    "nsim": "n",
    "condVar": "cond_var",
    "data": "newdata",
    "ReForm": "re_form",
    "REform": "re_form",
    "allow_new_levels": "new_levels='population'",
    "se": "se_fit",
    "parm": "parameters",
    "which": "parameters",
    "alpha": "level, which is 1 - alpha",
    "alphamax": "reach, which is 1 - alphamax",
}


def refuse_unknown(
    function: str, unknown: Iterable[str], theirs: Mapping[str, str] = LMER_ARGUMENTS
) -> None:
    """Refuse keyword arguments that do not exist, naming what lme4's are called here.

    Raises
    ------
    LmmError
        One of lme4's arguments; the message names its counterpart.
    TypeError
        Any other name.
    """
    for name in unknown:
        if name in theirs:
            raise LmmError(f"{function} has no argument {name!r}; use {theirs[name]}")
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def knows_lme4_arguments(method: Method) -> Method:
    """Decorator: names the counterpart of an argument that has lme4's name."""
    known = inspect.signature(method).parameters

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        refuse_unknown(method.__name__, kwargs.keys() - known, METHOD_ARGUMENTS)
        return method(self, *args, **kwargs)

    return cast(Method, call)


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
