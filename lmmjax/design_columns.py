"""Columns of a sample table as numbers or as factors.

What a column is follows its dtype: text, booleans and categoricals are factors, numbers are
numbers. A grouping factor, and a column inside ``C()`` or ``factor()``, is a factor whatever
its dtype. Levels are text, in the order of R: a categorical's own order, numbers by size, text
by code point (so that every machine agrees); levels that do not occur are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from lmmjax.errors import DTypeError, UnseenLevelError


@dataclass(frozen=True)
class Factor:
    """A factor: ``levels[codes[i]]`` is the label of observation i; -1 is missing."""

    codes: np.ndarray
    levels: tuple[str, ...]


def column(table: pd.DataFrame, name: str) -> pd.Series:
    """One column of a table whose column names are unique."""
    return cast(pd.Series, table[name])


def is_factor(series: pd.Series) -> bool:
    """Whether a column is a factor rather than numbers.

    Raises
    ------
    DTypeError
        For dates, durations and complex numbers, which are neither.
    """
    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(dtype):
        return True
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        return False
    if pd.api.types.is_object_dtype(dtype) or pd.api.types.is_string_dtype(dtype):
        inferred = pd.api.types.infer_dtype(series, skipna=True)
        if inferred in ("integer", "floating", "mixed-integer-float", "decimal", "empty"):
            return False
        if inferred not in ("complex", "date", "datetime", "datetime64", "timedelta", "time"):
            return True
    raise DTypeError(
        f"column {str(series.name)!r} holds {dtype} values, neither numbers nor a factor; "
        "convert it to numbers (days since a start, say) or to text"
    )


def is_numeric(series: pd.Series) -> bool:
    """Whether a column can be read as numbers (booleans can)."""
    try:
        return not is_factor(series) or _is_boolean(series)
    except DTypeError:
        return False


def as_numbers(series: pd.Series) -> np.ndarray:
    """A column as float64, missing values as NaN.

    Parameters
    ----------
    series : pandas.Series
        Numbers or booleans, of any dtype (nullable ones too).

    Raises
    ------
    DTypeError
        If the column is not numeric.
    """
    if is_factor(series) and not _is_boolean(series):
        raise DTypeError(
            f"column {str(series.name)!r} is not numeric (it holds {_example(series)}); "
            "numbers are needed where the formula uses it"
        )
    if pd.api.types.is_object_dtype(series.dtype):
        series = series.where(series.notna(), np.nan)
    return series.to_numpy(dtype=np.float64, na_value=np.nan)


def _is_boolean(series: pd.Series) -> bool:
    if isinstance(series.dtype, pd.CategoricalDtype):
        return False
    if pd.api.types.is_object_dtype(series.dtype):
        return pd.api.types.infer_dtype(series, skipna=True) == "boolean"
    return pd.api.types.is_bool_dtype(series.dtype)


def _example(series: pd.Series) -> str:
    present = series.dropna()
    return repr(str(present.iloc[0])) if len(present) else "text"


def as_factor(series: pd.Series, levels: Sequence[str] | None = None) -> Factor:
    """A column as a factor.

    Parameters
    ----------
    series : pandas.Series
        Any column of length n.
    levels : sequence of str, optional
        The levels to use, in order; without them those that occur.

    Returns
    -------
    Factor
        With ``codes`` of shape (n,) and dtype int32.

    Raises
    ------
    UnseenLevelError
        If `levels` is given and the column holds another one.

    Examples
    --------
    >>> as_factor(pd.Series([10, 9, 10])).levels
    ('9', '10')
    """
    if isinstance(series.dtype, pd.CategoricalDtype):
        codes = series.cat.codes.to_numpy().astype(np.int32)
        labels = [level_text(value) for value in series.cat.categories]
    else:
        raw, values = pd.factorize(series.to_numpy(dtype=object, na_value=None), sort=False)
        codes = raw.astype(np.int32)
        order = sorted(range(len(values)), key=lambda i: _sort_key(values[i]))
        labels = [level_text(values[i]) for i in order]
        codes = _recode(codes, np.argsort(np.asarray(order, dtype=np.int32)))
    if levels is None:
        counts = np.bincount(codes[codes >= 0], minlength=len(labels))
        levels = tuple(dict.fromkeys(t for t, n in zip(labels, counts, strict=True) if n))
    position = {text: i for i, text in enumerate(levels)}
    recoding = np.array([position.get(text, -1) for text in labels], dtype=np.int32)
    recoded = _recode(codes, recoding)
    if np.any((recoded < 0) & (codes >= 0)):
        used = set(codes[(recoded < 0) & (codes >= 0)].tolist())
        unseen = [labels[code] for code in sorted(used)]
        raise UnseenLevelError(
            f"column {str(series.name)!r} holds {len(unseen)} unknown level(s): "
            f"{_listed(unseen)}; known are {_listed(levels)}"
        )
    return Factor(recoded, tuple(levels))


def _recode(codes: np.ndarray, recoding: np.ndarray) -> np.ndarray:
    """Codes through a table, missing (-1) staying missing."""
    table = np.append(recoding.astype(np.int32), np.int32(-1))
    return table[codes]


def _listed(items: Sequence[str], limit: int = 5) -> str:
    more = f", ... ({len(items)} in all)" if len(items) > limit else ""
    return ", ".join(repr(item) for item in items[:limit]) + more


def _sort_key(value: Any) -> tuple[int, float, str]:
    if isinstance(value, bool | np.bool_ | int | float | np.integer | np.floating):
        return (0, float(value), "")
    return (1, 0.0, str(value))


def level_text(value: Any) -> str:
    """A level as R prints it: ``"1"`` for 1 and 1.0, ``"TRUE"`` for True."""
    if isinstance(value, bool | np.bool_):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float | np.floating):
        return format(float(value), ".15g")
    return str(value)


def interaction(factors: Sequence[Factor]) -> Factor:
    """The combinations of several factors that occur, as one factor.

    Labels are joined by ``:``; the first factor varies slowest, as in R's ``a:b``.

    Examples
    --------
    >>> a, b = Factor(np.array([0, 1, 1]), ("x", "y")), Factor(np.array([0, 0, 1]), ("1", "2"))
    >>> interaction([a, b]).levels
    ('x:1', 'y:1', 'y:2')
    """
    codes, levels = factors[0].codes.astype(np.int64), list(factors[0].levels)
    for factor in factors[1:]:
        width = len(factor.levels)
        missing = (codes < 0) | (factor.codes < 0)
        pairs = np.where(missing, -1, codes * width + factor.codes)
        used, codes = np.unique(pairs, return_inverse=True)
        if len(used) and used[0] < 0:
            used, codes = used[1:], codes - 1
        levels = [f"{levels[k // width]}:{factor.levels[k % width]}" for k in used.tolist()]
    return Factor(codes.astype(np.int32), tuple(levels))
