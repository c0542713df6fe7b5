"""Writing results so that no half-written file ever bears its final name.

Everything is written to a temporary file in the same directory, then renamed.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import pandas as pd

from lmmjax.errors import OutputError
from lmmjax.expression.names import listing

MISSING_TEXT = "NA"
_FORMATS = ("tsv", "tsv.gz", "parquet")
_BLOCK_ROWS = 65_536  # keeps the text of a block well below Arrow's 2 GB per string
_GZIP_LEVEL = 4  # level 6 takes twice the time for one percent of the size on digits

TableFormat = Literal["tsv", "tsv.gz", "parquet"]


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, renamed to it on success and removed on any exception.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp(), "a.txt")
    >>> with atomic_path(target) as temporary:
    ...     _ = temporary.write_text("done")
    >>> target.read_text()
    'done'
    """
    path = Path(path)
    temporary = _temporary_name(path)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _temporary_name(path: Path) -> Path:
    # The suffix stays last: it decides the format. Not tempfile: that would make private files.
    return path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp-{path.name}")


def write_table(df: pd.DataFrame, path: str | Path, index_label: str | None = None) -> None:
    """Write a table as TSV or Parquet, atomically.

    Parameters
    ----------
    df : DataFrame
    path : str or Path
        ``.tsv``, ``.tsv.gz`` or ``.parquet``. An existing file is replaced.
    index_label : str, optional
        Header of the index, which is written as text in the first column; without it, the index
        is left out.

    Notes
    -----
    Floats are written with the fewest digits that read back as the same float64, missing values
    as ``NA``, truth values as ``TRUE`` and ``FALSE``.

    Raises
    ------
    OutputError
        For any other suffix.
    """
    with atomic_path(path) as temporary:
        write_table_now(df, temporary, index_label)


def write_table_now(df: pd.DataFrame, path: Path, index_label: str | None) -> None:
    """As :func:`write_table`, straight into `path`."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        _write_parquet(df, path, index_label)
    elif name.endswith(".tsv.gz"):
        with (
            open(path, "xb") as raw,
            gzip.GzipFile(
                filename="", fileobj=raw, mode="wb", compresslevel=_GZIP_LEVEL, mtime=0
            ) as stream,
        ):
            stream.writelines(to_tsv(df, index_label))
    elif name.endswith(".tsv"):
        with open(path, "xb") as stream:
            stream.writelines(to_tsv(df, index_label))
    else:
        raise OutputError(f"{path}: tables are written as .tsv, .tsv.gz or .parquet")


def to_tsv(df: pd.DataFrame, index_label: str | None = None) -> Iterator[memoryview]:
    """The table as blocks of UTF-8 tab-separated text."""
    import pyarrow as pa

    names = [*([] if index_label is None else [index_label]), *map(str, df.columns)]
    yield memoryview(("\t".join(_quoted(pa.array(names, pa.string())).to_pylist()) + "\n").encode())
    for start in range(0, len(df), _BLOCK_ROWS):
        yield _block(df.iloc[start : start + _BLOCK_ROWS], index_label is not None)


def _block(df: pd.DataFrame, with_index: bool) -> memoryview:
    """Some rows as text, put together inside Arrow."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [_as_text(df.iloc[:, j]) for j in range(df.shape[1])]
    if with_index:
        columns.insert(0, pc.fill_null(_quoted(_strings(df.index)), MISSING_TEXT))
    if not columns:
        return memoryview(b"\n" * len(df))
    lines = pc.binary_join_element_wise(*columns, "\t")  # type: ignore[attr-defined]
    # An empty last line makes the join end in a newline.
    lines = pa.concat_arrays([lines, pa.array([""], pa.string())])
    whole = pa.ListArray.from_arrays(pa.array([0, len(lines)], pa.int32()), lines)
    return memoryview(pc.binary_join(whole, "\n")[0].as_buffer())  # type: ignore[attr-defined]


def _as_text(column: pd.Series) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pd.api.types.is_bool_dtype(column.dtype):
        choices = {True: "TRUE", False: "FALSE"}
        return pa.array([choices.get(v, MISSING_TEXT) for v in column], pa.string())
    if pd.api.types.is_float_dtype(column.dtype):
        numbers = pa.array(column.to_numpy(dtype=np.float64, na_value=np.nan), from_pandas=True)
        return pc.fill_null(pc.cast(numbers, pa.string()), MISSING_TEXT)
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "iu":
        return pc.cast(pa.array(column.to_numpy()), pa.string())
    return pc.fill_null(_quoted(_strings(column)), MISSING_TEXT)


def _strings(values: pd.Series | pd.Index) -> Any:
    """Text of anything; null where it is missing."""
    import pyarrow as pa

    if isinstance(values.dtype, pd.StringDtype) or pd.api.types.infer_dtype(values) == "string":
        return pa.array(values.to_numpy(dtype=object), pa.string(), from_pandas=True)
    missing = np.asarray(pd.isna(values))
    cells = [None if gone else str(v) for v, gone in zip(values, missing, strict=True)]
    return pa.array(cells, pa.string())


def _quoted(text: Any) -> Any:
    """Text with quotes around those cells (rare) that hold a tab, line end or quote."""
    import pyarrow.compute as pc

    special = pc.match_substring_regex(text, '[\t\r\n"]')  # type: ignore[attr-defined]
    if not pc.any(special).as_py():  # type: ignore[attr-defined]
        return text
    doubled = pc.replace_substring(text, '"', '""')  # type: ignore[attr-defined]
    quoted = pc.binary_join_element_wise('"', doubled, '"', "")  # type: ignore[attr-defined]
    return pc.if_else(special, quoted, text)  # type: ignore[attr-defined]


def _write_parquet(df: pd.DataFrame, path: Path, index_label: str | None) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    frame = df.set_axis([str(name) for name in df.columns], axis=1)
    if index_label is None:
        table = pa.Table.from_pandas(frame, preserve_index=False)
    else:
        frame.index = pd.Index([str(name) for name in df.index], name=index_label)
        table = pa.Table.from_pandas(frame, preserve_index=True)
        table = table.select([index_label, *frame.columns])  # first, for readers other than pandas
    parquet.write_table(table, path)


class OutputDirectory:
    """A directory of results that appear together, or not at all.

    Files are written under temporary names and renamed when the block ends without an exception,
    ``run.json`` last: where it is, the tables beside it are complete and belong to it.

    Parameters
    ----------
    path : str or Path
        Made if it does not exist (and removed again if the block fails).
    stems : sequence of str
        Names of the tables to come, without suffix. Any of them there already, in whatever
        format, is an error unless `force`.
    others : sequence of str
        Names of further files, with suffix, that belong to results and go with them.
    format : {"tsv", "tsv.gz", "parquet"}
    force : bool
        Replace earlier results, those of `stems` in other formats included.

    Raises
    ------
    OutputError
        Results are there already, or `path` is not a directory that can be written to.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp(), "results")
    >>> with OutputDirectory(path, ["status"]) as out:
    ...     out.write_table("status", pd.DataFrame({"status": ["ok"]}, index=["a"]), "gene")
    ...     out.write_json("run.json", {"version": "1"})
    >>> sorted(p.name for p in path.iterdir())
    ['run.json', 'status.tsv']
    """

    def __init__(
        self,
        path: str | Path,
        stems: Sequence[str] = (),
        *,
        others: Sequence[str] = (),
        format: TableFormat = "tsv",
        force: bool = False,
    ) -> None:
        if format not in _FORMATS:
            raise OutputError(f"format is {format!r}; use one of {listing(_FORMATS)}")
        self.path = Path(path)
        self.format = format
        self._names = [f"{stem}.{suffix}" for stem in stems for suffix in _FORMATS]
        self._names += [*others, "run.json"]
        self._force = force
        self._pending: dict[Path, Path] = {}  # final name -> temporary name
        self._made: list[Path] = []

    def __enter__(self) -> Self:
        earlier = self._earlier()
        if earlier and not self._force:
            raise OutputError(
                f"{self.path} holds results already ({listing(p.name for p in earlier)}); "
                "choose another directory or overwrite them with --force (force=True)"
            )
        missing = [p for p in (self.path, *self.path.parents) if not p.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = _temporary_name(self.path / "probe")
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise OutputError(f"cannot write to {self.path}: {error.strerror}") from error
        self._made = missing
        return self

    def _earlier(self) -> list[Path]:
        return [p for name in self._names if (p := self.path / name).exists()]

    def reserve(self, name: str) -> Path:
        """A temporary path to write the file `name` to."""
        final = self.path / name
        return self._pending.setdefault(final, _temporary_name(final))

    def write_table(self, stem: str, df: pd.DataFrame, index_label: str | None = None) -> None:
        """Write a table as ``stem.tsv`` (or as the format says); see :func:`write_table`."""
        write_table_now(df, self.reserve(f"{stem}.{self.format}"), index_label)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write a dictionary as indented JSON; NaN becomes null."""
        text = json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)
        self.reserve(name).write_text(text + "\n", encoding="utf-8")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._commit()
        finally:
            for temporary in self._pending.values():
                temporary.unlink(missing_ok=True)
            if kind is not None:
                for made in self._made:
                    with contextlib.suppress(OSError):  # not empty: someone else's
                        made.rmdir()

    def _commit(self) -> None:
        # Without run.json first: should this be cut short, nothing claims that the set is whole.
        for old in reversed(self._earlier()):
            if old.name == "run.json" or old not in self._pending:
                old.unlink()
        for final in sorted(self._pending, key=lambda p: p.name == "run.json"):
            os.replace(self._pending[final], final)


def _plain(value: Any) -> Any:
    """Values that JSON knows."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)
