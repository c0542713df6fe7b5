"""The model written out in dense matrices, slowly and obviously: what the engine is judged by.

Nothing here shares code with the engine; everything follows from X, Z, Lambda and y.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


def factor_of(theta: np.ndarray, q: int) -> np.ndarray:
    """Lower-triangular factor of one term from its entries, column by column."""
    out = np.zeros((q, q))
    column_major = [(row, column) for column in range(q) for row in range(column, q)]
    for (row, column), value in zip(column_major, theta, strict=True):
        out[row, column] = value
    return out


def random_effects(design: Any, theta: Any) -> tuple[np.ndarray, np.ndarray]:
    """Z (n, all effects) and Lambda of a design at theta (terms in the design's order)."""
    theta = np.asarray(theta, dtype=float)
    columns, blocks, start = [np.zeros((design.n, 0))], [], 0
    for term in design.terms:
        q = term.n_columns
        entries = q * (q + 1) // 2
        for level in range(term.n_levels):
            columns.append(term.z * (term.codes == level)[:, None])
            blocks.append(factor_of(theta[start : start + entries], q))
        start += entries
    assert start == len(theta)
    z = np.concatenate(columns, axis=1)
    lam, at = np.zeros((z.shape[1], z.shape[1])), 0
    for block in blocks:
        q = len(block)
        lam[at : at + q, at : at + q] = block
        at += q
    return z, lam


@dataclass(frozen=True)
class DenseFit:
    """Generalised least squares at one theta."""

    objective: float
    beta: np.ndarray
    sigma: float
    vcov: np.ndarray


def fit_at(
    x: np.ndarray,
    z: np.ndarray,
    lam: np.ndarray,
    y: np.ndarray,
    reml: bool,
    weights: np.ndarray | None = None,
) -> DenseFit:
    """Objective with all constants, coefficients, sigma and their covariance."""
    n, p = x.shape
    spread = np.eye(n) if weights is None else np.diag(1.0 / weights)
    v = spread + z @ lam @ lam.T @ z.T
    inverse = np.linalg.inv(v)
    information = x.T @ inverse @ x
    beta = np.linalg.solve(information, x.T @ inverse @ y) if p else np.zeros(0)
    residual = y - x @ beta
    rss = residual @ inverse @ residual
    df = n - p if reml else n
    value = np.linalg.slogdet(v)[1] + df * (1 + np.log(2 * np.pi * rss / df))
    if reml and p:
        value += np.linalg.slogdet(information)[1]
    sigma = float(np.sqrt(rss / df))
    return DenseFit(float(value), beta, sigma, sigma**2 * np.linalg.inv(information))


def at_theta(
    design: Any, theta: Any, y: np.ndarray, reml: bool, weights: np.ndarray | None = None
) -> DenseFit:
    """:func:`fit_at` for a design; rows where y is NaN or the weight is zero are cut out."""
    z, lam = random_effects(design, theta)
    x = design.X
    y = np.asarray(y, dtype=float)
    if design.offset is not None:
        y = y - design.offset
    seen = ~np.isnan(y)
    if weights is not None:
        seen &= weights > 0
        weights = weights[seen]
    return fit_at(x[seen], z[seen], lam, y[seen], reml, weights)


def objective(
    design: Any, theta: Any, y: np.ndarray, reml: bool, weights: np.ndarray | None = None
) -> float:
    """Profiled objective, as lme4 prints it."""
    return at_theta(design, theta, y, reml, weights).objective


def partition(design: Any, theta: np.ndarray, sigma: float, beta: np.ndarray) -> dict[str, float]:
    """Variance fractions by variancePartition's definition, term by term, in plain loops."""
    variances: dict[str, float] = {}
    start = 0
    for term in design.terms:
        q = term.n_columns
        entries = q * (q + 1) // 2
        lam = factor_of(np.asarray(theta)[start : start + entries], q)
        covariance = sigma**2 * lam @ lam.T
        variances[term.group] = float(np.mean([row @ covariance @ row for row in term.z]))
        start += entries
    contributions = [design.X[:, j] * beta[j] for j in range(design.rank)]
    single = [float(np.var(column)) for column in contributions]
    whole = float(np.var(design.X @ beta))
    rescale = whole / sum(single) if sum(single) > 0 else 0.0
    kept = np.flatnonzero(design.fixed_kept)
    for label, columns in design.fixed_terms:
        if label != "(Intercept)":
            mine = [k for k, column in enumerate(kept) if column in columns]
            variances[label] = rescale * sum(single[k] for k in mine)
    variances["Residuals"] = sigma**2
    total = sum(variances.values())
    return {name: value / total for name, value in variances.items()}
