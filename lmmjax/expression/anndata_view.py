"""AnnData objects as dense float64 values, without importing anndata before it is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lmmjax.errors import DTypeError, TableError
from lmmjax.expression.names import unknown_name

_CHUNK_CELLS = 8_000_000  # cells densified at a time: 64 MB of float64


def is_anndata(value: object) -> bool:
    """Whether `value` looks like an AnnData (duck-typed: anndata need not be installed)."""
    return all(hasattr(value, name) for name in ("obs", "var_names", "obs_names", "layers", "X"))


def read_h5ad(path: Path) -> Any:
    """Read an ``.h5ad`` file.

    Raises
    ------
    TableError
        If anndata is not installed or the file is not one it can read.
    """
    try:
        import anndata
    except ImportError as error:
        raise TableError(f"{path}: reading .h5ad needs anndata: pip install anndata") from error
    try:
        return anndata.read_h5ad(path)
    except (OSError, KeyError, AttributeError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise TableError(f"{path}: not a readable .h5ad file ({error})") from error


def dense_values(
    adata: Any, layer: str | None = None, rows: np.ndarray | None = None
) -> np.ndarray:
    """Values of ``X`` or of a layer, (n_obs, n_vars) float64 in C order.

    Parameters
    ----------
    adata : AnnData
        In memory or backed; ``X`` dense or sparse.
    layer : str, optional
        A layer to take instead of ``X``.
    rows : ndarray of int, shape (n,), optional
        Observations to take, in this order; all of them if not given.
    """
    if layer is not None and layer not in adata.layers:
        # Newer versions of anndata list X among the layers, under the name None.
        known = [name for name in adata.layers if name is not None]
        raise unknown_name("layer", layer, known)
    matrix = adata.X if layer is None else adata.layers[layer]
    if matrix is None:
        raise TableError("the AnnData object has no X; name one of its layers with layer=")
    if not np.issubdtype(matrix.dtype, np.number) and matrix.dtype != np.bool_:
        raise DTypeError(f"the AnnData matrix holds {matrix.dtype}, not numbers")
    n_obs, n_vars = adata.shape
    target = np.empty(n_obs, dtype=np.intp)
    if rows is None:
        target[:] = np.arange(n_obs)
    else:
        target[rows] = np.arange(n_obs)
    values = np.empty((n_obs, n_vars))
    step = max(1, _CHUNK_CELLS // max(1, n_vars))
    for start in range(0, n_obs, step):
        block = matrix[start : start + step]
        dense = block.toarray() if hasattr(block, "toarray") else np.asarray(block)
        values[target[start : start + step]] = dense
    return values
