"""Reading expression matrices and sample tables from files.

:func:`read_expression` reads a matrix of numbers with named rows and columns;
:func:`read_samples` a table with one row per sample. Names are read as text, whatever they
look like.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from lmmjax.errors import (
    AlignmentError,
    CodingWarning,
    DTypeError,
    DuplicateSamplesError,
    TableError,
    warn,
)
from lmmjax.expression.anndata_view import dense_values, read_h5ad
from lmmjax.expression.names import duplicated_names, listing, unknown_name
from lmmjax.expression.text_table import (
    DECIMAL_COMMA,
    INFINITE,
    MISSING,
    NUMBER,
    read_cells,
    read_header,
    read_numbers,
    to_number,
)

_TEXT = (".tsv", ".csv", ".txt", ".tab")
_PARQUET = (".parquet", ".pq")
_LARGEST_EXACT_INTEGER = 2**53
_FEW = 0.1  # this fraction of odd cells in a column of numbers looks like a slip

Orientation = Literal["auto", "rows", "columns"]


def file_kind(path: str | Path) -> Literal["text", "parquet", "h5ad"]:
    """What a file holds, by its suffix (``.gz`` set aside for text)."""
    name = Path(path).name.lower()
    if name.endswith(_PARQUET):
        return "parquet"
    if name.endswith(".h5ad"):
        return "h5ad"
    if name.removesuffix(".gz").endswith(_TEXT):
        return "text"
    raise TableError(
        f"{path}: unknown kind of file; use .tsv, .csv or .txt (also with .gz), .parquet or .h5ad"
    )


def read_expression(
    path: str | Path,
    *,
    orientation: Orientation = "auto",
    delimiter: str | None = None,
    layer: str | None = None,
    drop_columns: Sequence[str] = (),
) -> pd.DataFrame:
    """Read an expression matrix.

    Parameters
    ----------
    path : str or Path
        ``.tsv``, ``.csv``, ``.txt`` (each also ``.gz``), ``.parquet`` or ``.h5ad``. In text and
        Parquet the first column names the rows. ``NA``, ``NaN`` and empty cells are missing.
    orientation : {"auto", "rows", "columns"}
        Where the file has the genes. ``"auto"`` takes a text or Parquet file as it stands, since
        fitting aligns by label whichever axis carries the samples.
    delimiter : str, optional
        Of a text file; by default the tab, comma or semicolon found in its header.
    layer : str, optional
        Layer of an ``.h5ad`` file to read instead of ``X``.
    drop_columns : sequence of str
        Columns that are not samples (annotation), to be left out.

    Returns
    -------
    DataFrame
        Genes x samples (as in the file if `orientation` is ``"auto"``), float64.

    Raises
    ------
    DTypeError
        A cell that is not a number, or is beyond float64; row, column and value are named.
    AlignmentError
        Column names that occur more than once.
    ShapeError, EmptyDataError, TableError
        Rows of unequal length, no header, a quote that is not closed, no such file, or one that
        is none of these.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "expression.tsv")
    >>> _ = path.write_text("gene\\ts1\\ts2\\n001\\t1.5\\tNA\\n1\\t2\\t3\\n")
    >>> read_expression(path).index.tolist()
    ['001', '1']
    """
    if orientation not in ("auto", "rows", "columns"):
        raise TableError(f"orientation is {orientation!r}; use 'auto', 'rows' or 'columns'")
    kind = file_kind(path)
    path = _existing(path)
    if kind == "h5ad":
        return expression_frame(read_h5ad(path), layer)
    if layer is not None:
        raise TableError(f"{path}: only .h5ad files have layers")
    if kind == "parquet":
        frame = _numeric_parquet(path, drop_columns)
    else:
        numbers = read_numbers(path, read_header(path, delimiter), drop_columns)
        frame = pd.DataFrame(
            numbers.values.T,
            index=pd.Index(numbers.rows, name=numbers.index_name),
            columns=pd.Index(numbers.columns),
            copy=False,
        )
    return frame.T if orientation == "columns" else frame


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise TableError(f"{path}: {'not a file' if path.exists() else 'there is no such file'}")
    return path


def expression_frame(adata: Any, layer: str | None = None) -> pd.DataFrame:
    """Genes x samples of an AnnData (its ``X`` or `layer`), as :func:`read_expression` returns."""
    values = dense_values(adata, layer)
    return pd.DataFrame(values.T, index=adata.var_names, columns=adata.obs_names, copy=False)


def _numeric_parquet(path: Path, drop_columns: Sequence[str]) -> pd.DataFrame:
    frame = _parquet_with_names(path)
    for name in drop_columns:
        if name not in frame.columns:
            raise unknown_name(f"{path}: column to drop", name, list(frame.columns))
    frame = frame.drop(columns=list(drop_columns))
    text = [
        name
        for name, dtype in zip(frame.columns, frame.dtypes, strict=True)
        if not pd.api.types.is_numeric_dtype(dtype)
    ]
    if text:
        raise DTypeError(
            f"{path}: columns that are not numeric: {listing(text)}; leave them out "
            "(drop_columns=, --drop-column)"
        )
    values = frame.to_numpy(dtype=np.float64, na_value=np.nan)
    return pd.DataFrame(values, index=frame.index, columns=frame.columns, copy=False)


def _parquet_with_names(path: Path, index: str | None = None) -> pd.DataFrame:
    """A Parquet table with its row names (pandas' index or the first column) as text index."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pa.ArrowInvalid as error:
        raise TableError(f"{path}: not a readable Parquet file ({error})") from error
    if duplicates := duplicated_names(table.column_names):
        raise AlignmentError(f"{path}: column names occur more than once: {listing(duplicates)}")
    frame = table.to_pandas()
    if index is None and isinstance(frame.index, pd.RangeIndex):
        if not len(frame.columns):
            raise TableError(f"{path}: the table has no columns")
        index = str(frame.columns[0])
    if index is not None:
        if index not in frame.columns and index != frame.index.name:
            raise unknown_name(f"{path}: column", index, list(frame.columns))
        frame = frame if index == frame.index.name else frame.set_index(index)
    frame.index = _names_as_text(path, frame.index)
    frame.columns = pd.Index([str(name) for name in frame.columns])
    return frame


def _names_as_text(path: Path, names: pd.Index) -> pd.Index:
    if pd.api.types.is_float_dtype(names.dtype):
        raise DTypeError(f"{path}: the column {names.name!r} should hold names, it holds numbers")
    if names.hasnans:
        raise AlignmentError(f"{path}: rows without a name in column {names.name!r}")
    return pd.Index([str(name) for name in names], name=names.name)


def read_samples(
    path: str | Path, index: str | None = None, *, delimiter: str | None = None
) -> pd.DataFrame:
    """Read a sample table: one row per sample, indexed by sample name.

    Parameters
    ----------
    path : str or Path
        ``.tsv``, ``.csv``, ``.txt`` (each also ``.gz``), ``.parquet``, or ``.h5ad`` (its ``obs``).
    index : str, optional
        Column of the sample names; by default the first. They are read as text.
    delimiter : str, optional
        Of a text file; by default the tab, comma or semicolon found in its header.

    Returns
    -------
    DataFrame
        From text, a column is numeric only if every cell that is not missing is a plain number;
        one cell with a leading zero (``001``) makes the column text, since it holds labels.

    Raises
    ------
    DuplicateSamplesError
        Sample names that occur more than once.
    AlignmentError, ShapeError, EmptyDataError, TableError
        Missing names, rows of unequal length, an empty file, a quote that is not closed, no such
        file, or one that is none of these.

    Warns
    -----
    CodingWarning
        A column is read as text because of a few odd cells, or of decimal commas.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "samples.csv")
    >>> _ = path.write_text("sample,age,plate\\ns1,40,001\\ns2,51,002\\n")
    >>> read_samples(path)["plate"].tolist()
    ['001', '002']
    """
    kind = file_kind(path)
    path = _existing(path)
    if kind == "h5ad":
        frame = _obs_with_names(path, index)
    elif kind == "parquet":
        frame = _parquet_with_names(path, index)
    else:
        frame = _text_samples(path, index, delimiter)
    if duplicates := duplicated_names(frame.index):
        raise DuplicateSamplesError(
            f"{path}: sample names occur more than once: {listing(duplicates)}; "
            "give every sample one row and one name"
        )
    return frame


def _obs_with_names(path: Path, index: str | None) -> pd.DataFrame:
    frame = read_h5ad(path).obs
    if index is None or index == frame.index.name:
        return frame
    if index not in frame.columns:
        raise unknown_name(f"{path}: column of obs", index, list(frame.columns))
    frame = frame.set_index(index)
    frame.index = _names_as_text(path, frame.index)
    return frame


def _text_samples(path: Path, index: str | None, delimiter: str | None) -> pd.DataFrame:
    header = read_header(path, delimiter)
    rows, columns = read_cells(path, header)
    cells = dict(zip(header.columns, columns, strict=True))
    name = header.index_name
    if index is not None and index != name:
        if index not in cells:
            raise unknown_name(f"{path}: column", index, header.columns)
        former, rows = (name or "row"), cells.pop(index)
        cells = {former: [*read_cells(path, header)[0]], **cells}
        name = index
    if "" in rows:
        raise AlignmentError(f"{path}: data row {rows.index('') + 1} has no sample name")
    data = {column: _typed(path, column, rows, values) for column, values in cells.items()}
    return pd.DataFrame(data, index=pd.Index(rows, name=name, dtype=None if rows else object))


def _typed(path: Path, column: str, rows: list[str], cells: list[str]) -> Any:
    """Cells as integers, floats or text: numbers only if all of them plainly are."""
    stripped = [cell.strip() for cell in cells]
    text = [
        (row, cell)
        for row, cell in zip(rows, stripped, strict=True)
        if cell not in MISSING and not _plain_number(cell)
    ]
    present = [cell for cell in stripped if cell not in MISSING]
    for row, cell in text:
        if NUMBER.fullmatch(cell) and to_number(cell) is None:
            raise DTypeError(
                f"{path}: row {row!r}, column {column!r}: "
                f"{cell!r} is beyond the range of a 64-bit number"
            )
    whole = all(cell.lstrip("+-").isdigit() for cell in present)
    if not text and whole and any(abs(int(cell)) > _LARGEST_EXACT_INTEGER for cell in present):
        text = [(rows[0], present[0])]  # identifiers that would run into one another as floats
    elif text and all(map(_number_with_comma, present)):
        row, cell = next((row, cell) for row, cell in text if "," in cell)
        warn(
            f"{path}: column {column!r} is read as text because of {cell!r} in row {row!r}; "
            "write a decimal point if the column is meant to be numeric",
            CodingWarning,
        )
    elif 0 < len(text) <= _FEW * len(present) and not any(map(_leading_zero, present)):
        row, cell = text[0]
        warn(
            f"{path}: column {column!r} is read as text because of {cell!r} in row {row!r}; "
            "write NA there if the column is meant to be numeric",
            CodingWarning,
        )
    if text:
        return [np.nan if bare in MISSING else c for c, bare in zip(cells, stripped, strict=True)]
    if whole and cells and len(present) == len(cells):
        return np.array([int(cell) for cell in present], dtype=np.int64)
    return np.array([to_number(cell) for cell in stripped], dtype=np.float64)


def _leading_zero(cell: str) -> bool:
    digits = cell.lstrip("+-")
    return len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()


def _number_with_comma(cell: str) -> bool:
    return DECIMAL_COMMA.fullmatch(cell) is not None or _plain_number(cell)


def _plain_number(cell: str) -> bool:
    number = INFINITE.fullmatch(cell) or NUMBER.fullmatch(cell)
    return number is not None and not _leading_zero(cell) and to_number(cell) is not None
