"""Weighted least squares by QR; a constant is taken out first, so that large means cost nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular

from lmmjax.rank import independent_columns


@dataclass(frozen=True)
class LeastSquares:
    """Solution of min sum(w (y - X b)^2) for X of full column rank.

    Attributes
    ----------
    basis : ndarray, shape (n, p)
        Orthonormal; its first k columns span the first k columns of W^(1/2) X.
    effects : ndarray, shape (p,)
        Coordinates of W^(1/2) y in the basis, in units of y: their squares are the sequential
        sums of squares.
    coefficients : ndarray, shape (p,)
    unit_vcov : ndarray, shape (p, p)
        (X'WX)^-1.
    residuals : ndarray, shape (n,)
        y - X b.
    rss : float
        Weighted residual sum of squares.
    """

    basis: np.ndarray
    effects: np.ndarray
    coefficients: np.ndarray
    unit_vcov: np.ndarray
    residuals: np.ndarray
    rss: float


def least_squares(X: np.ndarray, y: np.ndarray, weights: np.ndarray | None = None) -> LeastSquares:
    """Solve a weighted least-squares problem.

    Parameters
    ----------
    X : ndarray, shape (n, p)
        Independent columns. Where the first one is constant, the others and y are centred on
        their weighted means before the factorisation, and the results are translated back.
    y : ndarray, shape (n,)
    weights : ndarray of shape (n,), or None
        Positive.

    Returns
    -------
    LeastSquares

    Examples
    --------
    >>> x = np.array([0.0, 1.0, 2.0, 3.0])
    >>> solution = least_squares(np.column_stack([np.ones(4), x]), 1e9 + 2.0 * x)
    >>> solution.coefficients.tolist()
    [1000000000.0, 2.0]
    """
    n, p = X.shape
    root = np.ones(n) if weights is None else np.sqrt(weights)
    constant = p > 0 and bool(np.all(X[:, 0] == 1.0))
    means, level = np.zeros(p), 0.0
    w = root**2 / np.sum(root**2)
    if constant:
        means[1:], level = w @ X[:, 1:], float(w @ y)
    centred = X - means
    target = y - level
    if constant:  # a second pass removes what rounding of a large mean left
        left = w @ centred[:, 1:]
        centred[:, 1:] -= left
        means[1:] += left
        small = float(w @ target)
        level, target = level + small, target - small
    size = np.max(np.abs(centred), axis=0, initial=0.0)
    basis, triangle = np.linalg.qr(root[:, None] * (centred / size))
    z = root * target
    coordinates = basis.T @ z
    rest = z - basis @ coordinates
    correction = basis.T @ rest  # twice is enough for orthogonality to rounding
    coordinates, rest = coordinates + correction, rest - basis @ correction
    inverse = solve_triangular(triangle, np.eye(p)) / size[:, None] if p else np.empty((0, 0))
    if constant:  # from centred columns to those given
        inverse[0] -= means[1:] @ inverse[1:]
    coefficients = inverse @ coordinates
    effects = coordinates.copy()
    if constant:  # a constant lies along the first vector of the basis
        coefficients[0] += level
        effects[0] += basis[:, 0] @ root * level
    return LeastSquares(
        basis=basis,
        effects=effects,
        coefficients=coefficients,
        unit_vcov=inverse @ inverse.T,
        residuals=rest / root,
        rss=float(rest @ rest),
    )


def added_sum_of_squares(
    first: np.ndarray, more: np.ndarray, y: np.ndarray, weights: np.ndarray | None
) -> tuple[float, int]:
    """What further columns add to the regression sum of squares, and to the rank.

    Parameters
    ----------
    first, more : ndarray, shapes (n, p) and (n, q)
        Columns there already and added; they may be linearly dependent.
    y : ndarray, shape (n,)
    weights : ndarray of shape (n,), or None

    Returns
    -------
    (float, int)
        Added sum of squares and degrees of freedom.

    Examples
    --------
    >>> one, x = np.ones((4, 1)), np.array([[0.0], [1.0], [2.0], [3.0]])
    >>> ss, df = added_sum_of_squares(one, np.hstack([x, 2 * x]), np.array([0.0, 1, 2, 4]), None)
    >>> round(ss, 2), df
    (8.45, 1)
    """
    columns = np.column_stack([first, more])
    kept = independent_columns(columns).kept
    before = int(kept[: first.shape[1]].sum())
    effects = least_squares(columns[:, kept], y, weights).effects[before:]
    return float(effects @ effects), len(effects)
