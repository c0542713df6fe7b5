"""Files of saved fits: Parquet tables with array-valued columns, and labels in JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from .errors import OutputError, TableError

_LABEL_TYPES = ("string", "integer", "floating", "boolean", "empty")


def label_array(labels: pd.Index, what: str) -> Any:
    import pyarrow as pa

    if isinstance(labels, pd.MultiIndex) or (
        pd.api.types.infer_dtype(labels, skipna=False) not in _LABEL_TYPES
    ):
        raise OutputError(f"{what} have to be text or numbers to be saved; convert them to str")
    return pa.array(labels.tolist())


def labels_to_json(labels: pd.Index, what: str, with_values: bool = True) -> dict[str, Any]:
    """An index for JSON; without the labels themselves where a Parquet column holds them."""
    name = None if labels.name is None else str(labels.name)
    if isinstance(labels, pd.RangeIndex):
        return {"range": [labels.start, labels.stop, labels.step], "name": name}
    label_array(labels, what)
    values = labels.tolist() if with_values else None
    return {"values": values, "dtype": str(labels.dtype), "name": name}


def index_from_json(content: dict[str, Any], values: list[Any] | None = None) -> pd.Index:
    """An index as it was; ``values`` where they are stored elsewhere."""
    if "range" in content:
        return pd.RangeIndex(*content["range"], name=content["name"])
    dtype = content["dtype"]
    plain = dtype in ("object", "string", "bool") or dtype.startswith(("int", "uint", "float"))
    # other names, such as "str", are not known to every pandas; they are what it infers
    return pd.Index(
        content["values"] if values is None else values,
        dtype=dtype if plain else None,
        name=content["name"],
    )


def write_parquet(
    path: Path, columns: dict[str, Any], arrays: dict[str, np.ndarray], identity: str
) -> None:
    """Columns as they are, arrays (rows, k) as lists of k numbers per row."""
    import pyarrow as pa
    from pyarrow import parquet

    fields: dict[str, Any] = {}
    for name, values in columns.items():
        try:
            fields[name] = pa.array(values)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            label = getattr(values, "name", name)
            raise OutputError(
                f"column {label!r} cannot be saved as Parquet ({error}); convert it to text"
            ) from None
    for name, values in arrays.items():
        if values.shape[1]:
            flat = pa.array(np.ascontiguousarray(values, dtype=float).ravel())
            fields[name] = pa.FixedSizeListArray.from_arrays(flat, values.shape[1])
    table = pa.table(fields).replace_schema_metadata({"lmmjax": identity})
    parquet.write_table(table, path)


def read_parquet(path: Path, identity: str) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Columns as a DataFrame, lists as arrays (rows, k)."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        raise TableError(f"{path} cannot be read: {error}") from None
    found = (table.schema.metadata or {}).get(b"lmmjax", b"").decode()
    if found != identity:
        raise TableError(f"{path} does not belong to the fits.json beside it; fit again")
    arrays = {}
    for field in table.schema:
        if pa.types.is_fixed_size_list(field.type):
            column = table.column(field.name).combine_chunks()
            flat = column.flatten().to_numpy(zero_copy_only=False)
            arrays[field.name] = flat.reshape(len(table), field.type.list_size).copy()
    return table.drop_columns(list(arrays)).to_pandas(), arrays
