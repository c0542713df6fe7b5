"""Delimited text tables with named rows: headers, names as text, numbers checked by cell.

A table has a header line and one name per row. Two readers share this layer: a quick one for
wide numeric tables (:func:`read_numbers`) and a plain one for small mixed tables
(:func:`read_cells`). Names are never interpreted: ``001``, ``1``, ``NA`` and ``nan`` stay
four different names.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from lmmjax.errors import AlignmentError, DTypeError, EmptyDataError, ShapeError, TableError
from lmmjax.expression.names import duplicated_names, listing, unknown_name

MISSING = frozenset({"", "NA", "N/A", "n/a", "<NA>", "NaN", "nan"})
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
INFINITE = re.compile(r"[+-]?inf(inity)?", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+")
_GZIP_MAGIC = b"\x1f\x8b"
_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Header:
    """Layout of a delimited file, read from its first two records.

    ``columns`` excludes the column of row names; ``skip`` counts the physical lines taken by
    the header and ``longest`` is the length of the longer of the two records, in characters.
    """

    delimiter: str
    index_name: str | None
    columns: tuple[str, ...]
    skip: int
    longest: int


@dataclass(frozen=True)
class Numbers:
    """A numeric table: ``values`` is (n_columns, n_rows), so one column is contiguous."""

    index_name: str | None
    rows: list[str]
    columns: list[str]
    values: np.ndarray


def is_gzip(path: Path) -> bool:
    """Whether the file starts with gzip's magic bytes (whatever it is called)."""
    with open(path, "rb") as stream:
        return stream.read(2) == _GZIP_MAGIC


@contextmanager
def open_text(path: Path) -> Iterator[IO[str]]:
    """Open plain or gzipped UTF-8 text; unreadable bytes become a :class:`TableError`."""
    raw: IO[bytes] = gzip.open(path, "rb") if is_gzip(path) else open(path, "rb")  # type: ignore[assignment]
    try:
        with io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as stream:
            yield stream
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path}: not UTF-8 text (byte {error.start}); save the file as UTF-8"
        ) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise TableError(f"{path}: damaged gzip file ({error})") from error
    except csv.Error as error:
        raise TableError(f"{path}: not a delimited table ({error})") from error


def read_header(path: Path, delimiter: str | None = None) -> Header:
    """Read names of the columns, and whether the column of row names has one too.

    R's ``write.table`` leaves the row names without a header; then the header is one field
    shorter than the rows.
    """
    with open_text(path) as stream:
        first_line = stream.readline()
        if not first_line.strip():
            raise EmptyDataError(f"{path}: the file is empty; a header line is needed")
        delimiter = delimiter or _guess_delimiter(path, first_line)
        stream.seek(0)
        rows = _rows(path, stream, delimiter)
        names, _, skip = next(rows)
        second = next((row for row, *_ in rows if row), None)
    extra = 0 if second is None else len(second) - len(names)
    if extra not in (0, 1):
        raise ShapeError(
            f"{path}: the header has {len(names)} fields, the first row {len(second or [])}; "
            f"is the delimiter {delimiter!r} right?"
        )
    index_name, columns = (names[0] or None, names[1:]) if extra == 0 else (None, names)
    for position, name in enumerate(columns, start=len(names) - len(columns) + 1):
        if not name:
            raise TableError(f"{path}: column {position} has no name in the header")
    if duplicates := duplicated_names(columns):
        raise AlignmentError(
            f"{path}: column names occur more than once: {listing(duplicates)}; rename them"
        )
    longest = max(len(first_line), sum(map(len, second or ())) + len(second or ()))
    return Header(delimiter, index_name, tuple(columns), skip, longest)


def _guess_delimiter(path: Path, line: str) -> str:
    name = path.name.lower().removesuffix(".gz")
    order = ",;\t" if name.endswith(".csv") else "\t,;"
    found = [mark for mark in order if mark in line]
    if not found and name.endswith(".txt") and " " in line.strip():
        return " "
    return found[0] if found else order[0]


def read_cells(path: Path, header: Header) -> tuple[list[str], list[list[str]]]:
    """All row names and, per column, all cells as text."""
    rows: list[str] = []
    cells: list[list[str]] = []
    for name, row, _ in _records(path, header):
        rows.append(name)
        cells.append(row)
    columns = [list(column) for column in zip(*cells, strict=True)]
    return rows, columns or [[] for _ in header.columns]


def read_numbers(path: Path, header: Header, drop: Sequence[str] = ()) -> Numbers:
    """Read a table whose columns, but for the row names and those in `drop`, hold numbers."""
    for name in drop:
        if name not in header.columns:
            raise unknown_name(f"{path}: column to drop", name, header.columns)
    keep = [j for j, name in enumerate(header.columns) if name not in set(drop)]
    parsed = _parse_quickly(path, header, keep)
    # Text beyond the range of float64 comes back as infinity; only the text can tell the two apart.
    if parsed is None or np.isinf(parsed[1]).any():
        parsed = _parse_carefully(path, header, keep)
    rows, values = parsed
    if "" in rows:
        raise AlignmentError(f"{path}: data row {rows.index('') + 1} has no name")
    return Numbers(header.index_name, rows, [header.columns[j] for j in keep], values)


def _parse_quickly(
    path: Path, header: Header, keep: list[int]
) -> tuple[list[str], np.ndarray] | None:
    """Parse with Arrow; None if any cell needs a closer look."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    if not header.columns or _ends_within_quotes(path, header):
        return None
    fields = ["name", *(f"v{j}" for j in range(len(header.columns)))]
    wanted = ["name", *(f"v{j}" for j in keep)]
    convert = arrow_csv.ConvertOptions(
        column_types={f: pa.string() if f == "name" else pa.float64() for f in wanted},
        include_columns=wanted,
        null_values=sorted(MISSING),
        strings_can_be_null=False,
    )
    read = arrow_csv.ReadOptions(
        column_names=fields,
        skip_rows=header.skip,
        block_size=max(_MEGABYTE, 16 * header.longest),
    )
    parse = arrow_csv.ParseOptions(delimiter=header.delimiter)
    try:
        with pa.input_stream(str(path), compression="gzip" if is_gzip(path) else None) as stream:
            table = arrow_csv.read_csv(stream, read, parse, convert)
    except (pa.ArrowInvalid, OSError):
        return None  # the careful parser says what is wrong, and where
    values = np.empty((len(keep), table.num_rows))
    for j in range(len(keep)):
        values[j] = table.column(j + 1).to_numpy()
    return table.column(0).to_pylist(), values


def _ends_within_quotes(path: Path, header: Header) -> bool:
    """Whether the last line looks cut off within a quoted cell, which Arrow would accept."""
    if is_gzip(path):
        return False  # a gzip file that is cut off is found to be damaged
    with open(path, "rb") as stream:
        size = stream.seek(0, io.SEEK_END)
        stream.seek(max(0, size - max(_MEGABYTE, 16 * header.longest)))
        return stream.read().rstrip().rpartition(b"\n")[2].count(b'"') % 2 == 1


def _parse_carefully(path: Path, header: Header, keep: list[int]) -> tuple[list[str], np.ndarray]:
    rows: list[str] = []
    values: list[list[float]] = []
    for name, cells, line in _records(path, header):
        numbers = []
        for j in keep:
            number = to_number(cells[j])
            if number is None:
                raise DTypeError(
                    f"{path}: row {name!r} (line {line}), column {header.columns[j]!r}: "
                    f"{_complaint(cells[j])}"
                )
            numbers.append(number)
        rows.append(name)
        values.append(numbers)
    array = np.array(values, dtype=np.float64).reshape(len(rows), len(keep))
    return rows, np.ascontiguousarray(array.T)


def to_number(cell: str) -> float | None:
    """The number a cell spells (NaN if missing); None if it is none or overflows float64.

    >>> to_number("1.5e3"), to_number("1e400"), to_number("x")
    (1500.0, None, None)
    """
    cell = cell.strip()
    if cell in MISSING:
        return float("nan")
    if INFINITE.fullmatch(cell):
        return float(cell)
    if NUMBER.fullmatch(cell) is None:
        return None
    number = float(cell)
    return None if np.isinf(number) else number


def _complaint(cell: str) -> str:
    if NUMBER.fullmatch(cell.strip()):
        return f"{cell!r} is beyond the range of a 64-bit number"
    if DECIMAL_COMMA.fullmatch(cell.strip()):
        return f"{cell!r} is not a number; write it with a decimal point"
    return (
        f"{cell!r} is not a number; write NA if it is missing, or leave the column out "
        "(drop_columns=, --drop-column)"
    )


def _records(path: Path, header: Header) -> Iterator[tuple[str, list[str], int]]:
    width = len(header.columns) + 1
    with open_text(path) as stream:
        rows = _rows(path, stream, header.delimiter)
        next(rows)
        for row, first, last in rows:
            if not row:
                continue
            if len(row) != width:
                where = (
                    f"line {last} has"
                    if first == last
                    else f"lines {first} to {last} (one row, a quote holds them together) have"
                )
                raise ShapeError(f"{path}: {where} {len(row)} fields, expected {width}")
            yield row[0], row[1:], last


def _rows(path: Path, stream: IO[str], delimiter: str) -> Iterator[tuple[list[str], int, int]]:
    """Fields of each row, and its first and last line; an error for a quote left open."""
    taken: list[str] = []

    def lines() -> Iterator[str]:
        for line in stream:
            taken.append(line)
            yield line

    reader = csv.reader(lines(), delimiter=delimiter)
    last = 0
    while True:
        first = last + 1
        try:
            row = next(reader, None)
        except csv.Error as error:  # a field beyond any length: the quote that starts it is open
            raise TableError(f"{path}: line {first}: not a delimited table ({error})") from error
        if row is None:
            return
        last = reader.line_num
        text = "".join(taken)
        taken.clear()
        # One more field at the end is a field of its own only if no quote is open there.
        if text.count('"') % 2:
            longer = io.StringIO(text.rstrip("\r\n") + delimiter, newline="")
            if len(next(csv.reader(longer, delimiter=delimiter))) == len(row):
                raise TableError(
                    f'{path}: line {first}: a quote (") is not closed; is the file cut off?'
                )
        yield row, first, last
