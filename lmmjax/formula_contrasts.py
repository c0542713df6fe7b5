"""Codings of factors: how k levels become k - 1 columns, with R's names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmjax.errors import DesignError
from lmmjax.formula_functions import ContrastChoice, contrast_kind

ContrastLike = str | ContrastChoice | np.ndarray | pd.DataFrame
"""A coding as the user gives it: a name, or a matrix with a row per level."""


@dataclass(frozen=True)
class Contrasts:
    """A coding of one factor.

    Attributes
    ----------
    matrix : ndarray, shape (k, m)
        Row i codes level i.
    suffixes : tuple of str
        What is put behind the factor's name, per column: ``"M"``, ``"1"``, ``".L"``.
    """

    matrix: np.ndarray
    suffixes: tuple[str, ...]


def dummies(levels: tuple[str, ...]) -> Contrasts:
    """One column per level, for a factor whose margin is not in the model."""
    return Contrasts(np.eye(len(levels)), levels)


def contrasts_for(
    factor: str, levels: tuple[str, ...], choice: ContrastLike | None = None
) -> Contrasts:
    """The coding of a factor.

    Parameters
    ----------
    factor : str
        Its name, for messages.
    levels : tuple of str
        k >= 2 levels in order.
    choice : str, ContrastChoice, ndarray or DataFrame, optional
        ``"treatment"`` (the default, also for ordered categoricals), ``"sum"``, ``"helmert"``,
        ``"poly"``, or a matrix with k rows.

    Raises
    ------
    DesignError
        If the choice is unknown, or does not fit the levels.

    Examples
    --------
    >>> contrasts_for("Sex", ("F", "M")).suffixes
    ('M',)
    """
    if choice is None:
        choice = ContrastChoice()
    if isinstance(choice, str):
        kind = contrast_kind(choice)
        if kind is None:
            raise DesignError(
                f"unknown contrasts {choice!r} for {factor!r}; use treatment, sum, helmert or poly"
            )
        choice = ContrastChoice(kind)
    if not isinstance(choice, ContrastChoice):
        return _given_matrix(factor, levels, choice)
    if choice.kind == "treatment":
        return _treatment(factor, levels, choice.reference)
    from formulaic.transforms.contrasts import HelmertContrasts, PolyContrasts, SumContrasts

    coding = {"sum": SumContrasts, "helmert": HelmertContrasts, "poly": PolyContrasts}[choice.kind]
    names = [f"level {i}" for i in range(len(levels))]
    matrix = np.asarray(coding().get_coding_matrix(names, reduced_rank=True), dtype=np.float64)
    numbers = range(1, len(levels))
    if choice.kind == "poly":
        suffixes = tuple({1: ".L", 2: ".Q", 3: ".C"}.get(i, f"^{i}") for i in numbers)
    else:
        suffixes = tuple(str(i) for i in numbers)
    return Contrasts(matrix, suffixes)


def _treatment(factor: str, levels: tuple[str, ...], reference: str | int | None) -> Contrasts:
    if reference is None:
        base = 0
    elif isinstance(reference, int):
        if reference > len(levels):
            raise DesignError(
                f"base = {reference}, but {factor!r} has {len(levels)} levels: "
                f"{', '.join(map(repr, levels))}"
            )
        base = reference - 1
    elif reference in levels:
        base = levels.index(reference)
    else:
        raise DesignError(
            f"the reference level {reference!r} of {factor!r} does not occur; "
            f"its levels are {', '.join(map(repr, levels))}"
        )
    others = [i for i in range(len(levels)) if i != base]
    return Contrasts(np.eye(len(levels))[:, others], tuple(levels[i] for i in others))


def _given_matrix(
    factor: str, levels: tuple[str, ...], choice: np.ndarray | pd.DataFrame
) -> Contrasts:
    if not isinstance(choice, np.ndarray):
        by_label = {str(label): i for i, label in enumerate(choice.index)}
        if set(levels) <= set(by_label):
            choice = choice.reindex(choice.index[[by_label[level] for level in levels]])
        suffixes = tuple(str(column) for column in choice.columns)
        matrix = choice.to_numpy(dtype=np.float64)
    else:
        matrix = np.asarray(choice, dtype=np.float64)
        suffixes = tuple(str(i + 1) for i in range(matrix.shape[-1])) if matrix.ndim == 2 else ()
    if matrix.ndim != 2 or matrix.shape[0] != len(levels):
        raise DesignError(
            f"the contrasts of {factor!r} need {len(levels)} rows, one per level "
            f"({', '.join(map(repr, levels))}); they have shape {matrix.shape}"
        )
    if not np.all(np.isfinite(matrix)):
        raise DesignError(f"the contrasts of {factor!r} hold values that are not finite")
    return Contrasts(matrix, suffixes)
