"""Known covariances between the levels of a grouping factor: pedigree, kinship, distance.

With ``relmat={"id": K}`` the effects of the levels of ``id`` have covariance Psi (x) K instead of
being independent.  The model keeps a root L of K, K = L L': b = L u with u independent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from lmmjax.design_columns import Factor
from lmmjax.design_rows import listed
from lmmjax.errors import DesignError, DTypeError, NonFiniteError, ShapeError

#: Asymmetry and negative eigenvalues below this, relative to the largest entry, are rounding.
ROUNDING = 1e-8


def relationship_roots(
    relmat: Mapping[str, Any] | None, groups: Mapping[str, Factor]
) -> dict[str, np.ndarray]:
    """Roots L (levels, levels) of the covariances of some grouping factors' levels.

    Parameters
    ----------
    relmat : mapping, optional
        Grouping factor to a DataFrame whose index and columns are level labels; it may hold
        more levels than the data.
    groups : mapping
        All grouping factors by name.

    Raises
    ------
    DesignError
        An unknown grouping factor, a level that is missing, or no covariance matrix.
    DTypeError, NonFiniteError, ShapeError

    Examples
    --------
    >>> factor = Factor(np.array([0, 1, 1]), ("a", "b"))
    >>> kinship = pd.DataFrame([[1.0, 0.6], [0.6, 1.0]], ["a", "b"], ["a", "b"])
    >>> root = relationship_roots({"id": kinship}, {"id": factor})["id"]
    >>> (root @ root.T).round(12).tolist()
    [[1.0, 0.6], [0.6, 1.0]]
    """
    if relmat is None:
        return {}
    if not isinstance(relmat, Mapping):
        raise DTypeError(
            "relmat is a mapping from grouping factors to covariances of their levels, such as "
            f'{{"id": K}}, not {type(relmat).__name__}'
        )
    out = {}
    for name, given in relmat.items():
        if name not in groups:
            raise DesignError(
                f"relmat names {name!r}, which is no grouping factor of the formula; it has "
                f"{listed(list(groups)) or 'none'}"
            )
        out[name] = _root(name, _labelled(name, given), groups[name].levels)
    return out


def _labelled(name: str, given: Any) -> pd.DataFrame:
    if not isinstance(given, pd.DataFrame):
        raise DTypeError(
            f"relmat[{name!r}] is a {type(given).__name__}; give a DataFrame whose index and "
            "columns are the labels of the levels"
        )
    if given.shape[0] != given.shape[1]:
        raise ShapeError(f"relmat[{name!r}] has shape {given.shape}; a covariance is square")
    table = given.set_axis(given.index.map(str), axis=0).set_axis(given.columns.map(str), axis=1)
    for axis, labels in (("index", table.index), ("columns", table.columns)):
        if labels.has_duplicates:
            again = labels[labels.duplicated()].unique().tolist()
            raise DesignError(f"relmat[{name!r}] has duplicate labels ({axis}): {listed(again)}")
    strangers = table.index.difference(table.columns).tolist()
    if strangers:
        raise DesignError(
            f"index and columns of relmat[{name!r}] differ: {listed(strangers)} only in the index"
        )
    return table


def _root(name: str, table: pd.DataFrame, levels: Sequence[str]) -> np.ndarray:
    missing = [level for level in levels if level not in table.index]
    if missing:
        raise DesignError(
            f"relmat[{name!r}] lacks {len(missing)} of the {len(levels)} levels of {name!r}: "
            f"{listed(missing)}"
        )
    try:
        matrix = table.loc[list(levels), list(levels)].to_numpy(dtype=float)
    except (TypeError, ValueError):
        raise DTypeError(f"relmat[{name!r}] holds entries that are not numbers") from None
    if not np.isfinite(matrix).all():
        row, col = np.argwhere(~np.isfinite(matrix))[0]
        raise NonFiniteError(
            f"relmat[{name!r}] is {matrix[row, col]} at ({levels[row]}, {levels[col]})"
        )
    top = np.abs(matrix).max()
    apart = np.abs(matrix - matrix.T)
    if apart.max() > ROUNDING * top:
        row, col = divmod(int(np.argmax(apart)), len(levels))
        raise DesignError(
            f"relmat[{name!r}] is not symmetric: ({levels[row]}, {levels[col]}) is "
            f"{matrix[row, col]:g}, ({levels[col]}, {levels[row]}) is {matrix[col, row]:g}"
        )
    matrix = 0.5 * (matrix + matrix.T)
    try:
        return np.linalg.cholesky(matrix)
    except np.linalg.LinAlgError:
        values, vectors = np.linalg.eigh(matrix)
    if values[0] < -ROUNDING * values[-1] or values[-1] <= 0:
        raise DesignError(
            f"relmat[{name!r}] is no covariance matrix: its smallest eigenvalue is "
            f"{values[0]:.3g}, its largest {values[-1]:.3g}"
        )
    return vectors * np.sqrt(np.maximum(values, 0.0))
