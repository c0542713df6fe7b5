"""Linear dependence among columns, the first one winning.

Pivoting would let the numbers decide which column of a dependent set goes, and they decide
differently on different machines. Here columns are taken in order, and a column goes when what
is new in it, after centring, is below a tolerance relative to its own size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TOLERANCE = 1e-7
_ROUNDING = 64 * np.finfo(np.float64).eps


@dataclass(frozen=True)
class IndependentColumns:
    """Which columns are independent of those before them.

    Attributes
    ----------
    kept : ndarray of bool, shape (p,)
    basis : ndarray, shape (n, rank)
        Orthonormal basis of the kept columns.
    condition_number : float
        Of the kept columns, centred where a constant is among them and scaled to length 1.
    """

    kept: np.ndarray
    basis: np.ndarray
    condition_number: float


def independent_columns(X: np.ndarray, tolerance: float = TOLERANCE) -> IndependentColumns:
    """Find the columns that do not depend linearly on columns before them.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Finite numbers.
    tolerance : float
        A column is dependent when the part of it orthogonal to the columns before is smaller than
        this, relative to the column itself. Once a constant is in their span, columns are
        centred first, so that an added constant (``x + 1e9``) hides nothing.

    Returns
    -------
    IndependentColumns

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 4.0, 8.0])
    >>> independent_columns(np.column_stack([np.ones(4), x, 2 * x, x + 1e9, x**2])).kept
    array([ True,  True, False, False,  True])
    """
    n, p = X.shape
    kept = np.zeros(p, dtype=bool)
    X = np.asfortranarray(X)
    basis = np.empty((n, min(n, p)), order="F")
    scaled = np.empty((n, min(n, p)), order="F")
    rank, centring = 0, False
    # what is left of a constant after projection: zero once a constant is in the span
    rest_of_one = np.ones(n)
    for j in range(p):
        size = np.max(np.abs(X[:, j]), initial=0.0)
        if size == 0.0 or rank == n:
            continue
        v = X[:, j] / size
        raw_length = np.linalg.norm(v)
        if centring:
            v = v - v.mean()
            v = v - v.mean()
        length = np.linalg.norm(v)
        if length <= _ROUNDING * raw_length:
            continue
        v = v / length
        scaled[:, rank] = v
        for _ in range(2):  # twice is enough for orthogonality to rounding
            v = v - basis[:, :rank] @ (basis[:, :rank].T @ v)
        new = np.linalg.norm(v)
        if new <= tolerance:
            continue
        basis[:, rank] = v / new
        kept[j] = True
        rest_of_one = rest_of_one - basis[:, rank] * (basis[:, rank] @ rest_of_one)
        centring = bool(np.linalg.norm(rest_of_one) <= 1e-10 * np.sqrt(n))
        rank += 1
    # the small triangular factor has the singular values of the columns
    orthonormal = np.ascontiguousarray(basis[:, :rank])
    return IndependentColumns(kept, orthonormal, _condition(orthonormal.T @ scaled[:, :rank]))


def _condition(triangular: np.ndarray) -> float:
    if triangular.shape[1] == 0:
        return 1.0
    singular = np.linalg.svd(triangular, compute_uv=False)
    return float(singular[0] / singular[-1]) if singular[-1] > 0 else float("inf")
