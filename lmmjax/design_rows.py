"""Which rows and columns of a sample table a formula uses, checked before anything is computed."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from lmmjax.design_columns import as_numbers, column, is_factor
from lmmjax.errors import (
    DesignError,
    DroppedRowsWarning,
    EmptyDataError,
    FormulaError,
    NonFiniteError,
    ResponseError,
    ShapeError,
    warn,
)
from lmmjax.formula import ParsedFormula
from lmmjax.formula_functions import columns_read
from lmmjax.formula_nodes import Name, fail


def listed(items: list[Any], limit: int = 5) -> str:
    """At most `limit` items as text: ``"'a', 'b', ... (12 in all)"``."""
    more = f", ... ({len(items)} in all)" if len(items) > limit else ""
    return ", ".join(repr(str(item)) for item in items[:limit]) + more


def as_table(data: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
    """The sample table as a DataFrame with unique row labels.

    Raises
    ------
    ShapeError
        If columns given as a mapping differ in length.
    EmptyDataError, DesignError
        If there are no rows, or two rows have the same label.
    """
    if not isinstance(data, pd.DataFrame) and isinstance(data, Mapping):
        lengths = {str(name): len(values) for name, values in data.items()}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name!r} has {n}" for name, n in list(lengths.items())[:5])
            raise ShapeError(f"the columns of the data differ in length: {told}")
        data = pd.DataFrame({name: np.asarray(values) for name, values in data.items()})
    if not isinstance(data, pd.DataFrame):
        raise DesignError(
            f"the sample table is a {type(data).__name__}; give a pandas DataFrame with one row "
            "per observation"
        )
    if len(data) == 0:
        raise EmptyDataError("the sample table has no rows")
    if not data.index.is_unique:
        twice = list(dict.fromkeys(data.index[data.index.duplicated()]))
        raise DesignError(
            f"sample names are not unique in the sample table: {listed(twice)}; "
            "rename them, or use reset_index(drop=True) if they mean nothing"
        )
    return data


def check_names(names: list[Name] | tuple[Name, ...], data: pd.DataFrame) -> None:
    """Check that every column the formula names is in the table, once.

    Raises
    ------
    FormulaError
        For an unknown name, with close matches.
    DesignError
        If the table holds the column twice, or the column is not one-dimensional.
    """
    available = [str(column) for column in data.columns]
    for name in names:
        count = sum(column == name.name for column in data.columns)
        if count > 1:
            raise DesignError(f"the sample table has {count} columns named {name.name!r}")
        if count == 0:
            close = difflib.get_close_matches(name.name, available, n=3, cutoff=0.6)
            lower = [c for c in available if c.lower() == name.name.lower()]
            close = list(dict.fromkeys([*lower, *close]))
            hint = (
                f"did you mean {' or '.join(map(repr, close))}?"
                if close
                else f"the sample table has {listed(available, 8)}"
            )
            fail(name.position, f"there is no column {name.name!r}; {hint}")


def complete_rows(
    names: tuple[Name, ...], data: pd.DataFrame, na: str, response: tuple[str, np.ndarray] | None
) -> np.ndarray:
    """Rows without a missing value in the columns used, as booleans (n_rows,).

    Parameters
    ----------
    names : tuple of Name
        Columns to look at.
    data : DataFrame
    na : {"drop", "raise"}
        What to do with the others: leave them out with a warning, or raise.
    response : (str, ndarray) or None
        The response's label and values, where they take part.

    Raises
    ------
    DesignError
        If rows have missing values and `na` is ``"raise"``, naming columns and rows.
    EmptyDataError
        If no row is left.
    """
    if na not in ("drop", "raise"):
        raise DesignError(f"na is 'drop' or 'raise', not {na!r}")
    missing = {name.name: column(data, name.name).isna().to_numpy(dtype=bool) for name in names}
    if response is not None:
        missing[response[0]] = np.isnan(response[1])
    missing = {name: mask for name, mask in missing.items() if mask.any()}
    kept = np.ones(len(data), dtype=bool)
    for mask in missing.values():
        kept &= ~mask
    if kept.all():
        return kept
    told = ", ".join(f"{name!r} ({int(mask.sum())})" for name, mask in missing.items())
    if na == "raise":
        raise DesignError(
            f"missing values in {told}; the first observations with one are "
            f"{listed(list(data.index[~kept]), 3)}; fill them in, or use na='drop'"
        )
    if not kept.any():
        raise EmptyDataError(f"no observation is complete; missing values in {told}")
    dropped = int((~kept).sum())
    warn(
        f"{dropped} of {len(data)} observations dropped: missing values in {told}; they are "
        f"{listed(list(data.index[~kept]))}",
        DroppedRowsWarning,
    )
    return kept


def check_finite(parsed: ParsedFormula, data: pd.DataFrame) -> None:
    """Check the numeric covariates for infinite values.

    Raises
    ------
    DesignError
        Naming the column and the first observation.
    """
    terms = [*parsed.fixed_terms, *(term for bar in parsed.bars for term in bar.terms)]
    nodes = [*(v for term in terms for v in term.variables), *parsed.offset_nodes]
    for name in dict.fromkeys(name.name for node in nodes for name in columns_read(node)):
        if is_factor(column(data, name)):
            continue
        infinite = np.isinf(as_numbers(column(data, name)))
        if infinite.any():
            raise DesignError(
                f"column {name!r} is infinite for {int(infinite.sum())} observation(s), the first "
                f"being {str(data.index[int(np.argmax(infinite))])!r}; correct or remove them"
            )


def check_response(label: str, values: np.ndarray, data: pd.DataFrame) -> None:
    """Check a single response: numbers, not all missing, none infinite.

    Raises
    ------
    ResponseError, NonFiniteError
    """
    infinite = np.isinf(values)
    if infinite.any():
        first = data.index[int(np.argmax(infinite))]
        raise NonFiniteError(
            f"the response {label} is infinite for {int(infinite.sum())} observation(s), "
            f"the first being {str(first)!r}; correct or remove them"
        )
    if np.isnan(values).all():
        raise ResponseError(f"the response {label} is missing in every observation")


def no_response() -> FormulaError:
    """The error for a formula without a left-hand side where one is needed."""
    return FormulaError("the formula has no response; write it as 'y ~ ...'")
