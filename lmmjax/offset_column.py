"""The offset of one response, given as an argument: a column of the table and of the formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .errors import FormulaError
from .expression.align import align_expression
from .formula import parse_formula
from .formula_nodes import Name, deparse

#: Column that values without a column of their own become.
COLUMN = "(offset)"


def with_offset(formula: str, table: pd.DataFrame, offset: Any) -> tuple[str, pd.DataFrame]:
    """Formula and table with ``offset`` as a term and a column.

    What predicts, saves or refits a fit then finds it like any other ``offset()``.

    Parameters
    ----------
    formula
        With a response.
    table
        One row per observation.
    offset
        None, the name of a column, a Series (aligned by label) or an array, one value per row.

    Returns
    -------
    formula, table

    Raises
    ------
    FormulaError
        There is no such column.
    AlignmentError, ShapeError, DTypeError
        The values do not fit the table, or are not numbers.

    Examples
    --------
    >>> with_offset("y ~ x", pd.DataFrame({"y": [1.0], "x": [2.0]}), [3.0])[0]
    'y ~ x + offset(`(offset)`)'
    """
    if offset is None:
        return formula, table
    parse_formula(formula)  # errors in the text as the user wrote it
    if isinstance(offset, str):
        if offset not in table.columns:
            raise FormulaError(f"there is no column {offset!r} to take the offset from")
        name = offset
    else:
        if not isinstance(offset, pd.Series):
            offset = np.asarray(offset)
            offset = np.full(len(table), offset) if offset.ndim == 0 else offset
        rows = pd.DataFrame(index=table.index)
        values = align_expression(offset, rows, name="the offset").values
        name = COLUMN
        while name in table.columns:
            name += "_"
        table = table.assign(**{name: values[:, 0]})
    return f"{formula} + offset({deparse(Name(0, name))})", table
