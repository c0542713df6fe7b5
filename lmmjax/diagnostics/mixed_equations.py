"""The inverse of one response's covariance, without an n x n matrix.

With rows scaled by the square root of their weights, the covariance of a response is
sigma^2 (I + A A'), A = W^(1/2) Z Lambda.  By Woodbury's identity its inverse needs only
S = I + A'A, whose block for the largest grouping factor is block diagonal: it is eliminated
level by level, and what is left is a dense matrix of the size of the other terms.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from lmmjax.errors import ResponseError
from lmmjax.prepare import indicator_columns
from lmmjax.varcorr import term_factors

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit

#: Numbers in the working array of one chunk of rows.
CHUNK = 4_000_000


def require_estimates(fit: LmmFit) -> None:
    """ResponseError where a response has no estimates to diagnose."""
    if not fit.status.has_estimates:
        raise ResponseError(
            f"{fit.response}: no estimates to work with, the fit is {fit.status.value}: "
            f"{fit.status.meaning}"
        )


def level_columns(
    local: np.ndarray, codes: np.ndarray, n_levels: int, root: np.ndarray | None = None
) -> sparse.csr_array:
    """Spread the q columns of a term over its levels, (n, levels * q), effects fastest.

    ``root``: of a known covariance of the levels.
    """
    if root is not None:
        return sparse.csr_array(indicator_columns(local, codes, n_levels, root))
    n, q = local.shape
    columns = (codes[:, None].astype(np.int64) * q + np.arange(q)).ravel()
    return sparse.csr_array((local.ravel(), columns, np.arange(n + 1) * q), shape=(n, n_levels * q))


@dataclass(frozen=True)
class Precision:
    """(I + A A')^-1 for A = [local, shared].

    Attributes
    ----------
    local
        (n, q) columns of A that belong to the level of each row of the largest factor.
    codes
        (n,) that level.
    n_levels
        Number of levels.
    shared
        (n, m) columns of A of all other terms, sparse.
    """

    local: np.ndarray
    codes: np.ndarray
    n_levels: int
    shared: sparse.csr_array

    @property
    def size(self) -> int:
        """Number m of shared columns."""
        shape = self.shared.shape
        assert shape is not None
        return int(shape[1])

    @cached_property
    def columns(self) -> sparse.csr_array:
        """The local columns spread over the levels, (n, levels * q), sparse."""
        return level_columns(self.local, self.codes, self.n_levels)

    @cached_property
    def _own_inverse(self) -> np.ndarray:
        """Inverse of the blocks of S of the eliminated factor, (levels, q, q)."""
        own = np.tile(np.eye(self.local.shape[1]), (self.n_levels, 1, 1))
        np.add.at(own, self.codes, self.local[:, :, None] * self.local[:, None])
        return np.linalg.inv(own)

    @cached_property
    def _cross(self) -> np.ndarray:
        """Cross-products of the local with the shared columns, (levels * q, m)."""
        return np.asarray((self.columns.T @ self.shared).toarray())

    @cached_property
    def _pulled(self) -> np.ndarray:
        """Own inverse times the cross-products with the shared columns, (levels, q, m)."""
        q = self.local.shape[1]
        return self._own_inverse @ self._cross.reshape(self.n_levels, q, self.size)

    @cached_property
    def _rest_root(self) -> np.ndarray:
        """Root R, (m, m), R R' = inverse of what is left of S after elimination."""
        left = np.eye(self.size) + (self.shared.T @ self.shared).toarray()
        left -= self._cross.T @ self._pulled.reshape(self._cross.shape)
        return np.linalg.inv(np.linalg.cholesky(left)).T

    def _reduced(self, rows: np.ndarray) -> np.ndarray:
        """Rows of the shared columns with the eliminated factor taken out, times R."""
        out = self.shared[rows].toarray()
        for column in range(self.local.shape[1]):
            out -= self.local[rows, column, None] * self._pulled[self.codes[rows], column]
        return out @ self._rest_root

    def solve(self, right: np.ndarray) -> np.ndarray:
        """(I + A A')^-1 times ``right`` (n, k)."""
        q, k = self.local.shape[1], right.shape[1]
        first = (self.columns.T @ right).reshape(self.n_levels, q, k)
        second = self.shared.T @ right - np.einsum("lqm,lqk->mk", self._pulled, first)
        rest = self._rest_root @ (self._rest_root.T @ second)
        modes = self._own_inverse @ first - self._pulled @ rest
        return right - self.columns @ modes.reshape(self.n_levels * q, k) - self.shared @ rest

    def diagonal(self) -> np.ndarray:
        """(n,) diagonal of (I + A A')^-1."""
        out = np.empty(len(self.codes))
        size = max(1, CHUNK // max(1, self.size))
        for start in range(0, len(out), size):
            rows = np.arange(start, min(start + size, len(out)))
            local = self.local[rows]
            out[rows] = 1.0 - np.sum(self._reduced(rows) ** 2, axis=1)
            pulled = self._own_inverse[self.codes[rows]] @ local[:, :, None]
            out[rows] -= np.sum(local * pulled[:, :, 0], axis=1)
        return out

    def blocks(self, rows: np.ndarray) -> np.ndarray:
        """Diagonal blocks of (I + A A')^-1 for sets of ``rows`` (sets, s): (sets, s, s)."""
        local, codes = self.local[rows], self.codes[rows]
        reduced = self._reduced(rows.ravel()).reshape(*rows.shape, self.size)
        pulled = (self._own_inverse[codes] @ local[..., None])[..., 0]
        same = codes[:, :, None] == codes[:, None]
        out = np.eye(rows.shape[1]) - same * (pulled @ np.swapaxes(local, 1, 2))
        return out - reduced @ np.swapaxes(reduced, 1, 2)

    def without(self, rows: np.ndarray) -> Precision:
        """The same for the observations that are left when ``rows`` (a mask) are deleted."""
        kept = ~rows
        return Precision(
            self.local[kept], self.codes[kept], self.n_levels, self.shared[np.flatnonzero(kept)]
        )


@dataclass(frozen=True)
class MixedEquations:
    """Generalised least squares of one response at its estimates, theta held.

    Attributes
    ----------
    precision
        Inverse covariance of the n observations used, rows scaled by sqrt(weight).
    basis, transform
        sqrt(weight) X = basis @ transform, (n, p) orthonormal and (p, p) triangular: sizes of
        covariates and offsets in them cost no digits.
    residual
        (n,) residuals times sqrt(weight); also the precision times (y - X beta).
    root_weight
        (n,) square roots of the weights.
    """

    precision: Precision
    basis: np.ndarray
    transform: np.ndarray
    residual: np.ndarray
    root_weight: np.ndarray

    @cached_property
    def weighted_basis(self) -> np.ndarray:
        """Precision times basis, (n, p)."""
        return self.precision.solve(self.basis)

    @cached_property
    def information(self) -> np.ndarray:
        """Of the coefficients of the basis, times sigma^2, (p, p)."""
        return self.basis.T @ self.weighted_basis


def by_observation(fit: LmmFit, values: np.ndarray, name: str) -> pd.Series:
    """Values of the observations used, labelled."""
    return pd.Series(values, index=fit.model.design.observations[fit._seen], name=name)


def estimated_columns(fit: LmmFit) -> np.ndarray:
    """Columns of the design's X whose coefficient this response has, (rank,) mask."""
    return ~np.isnan(fit._beta)


def row_weights(fit: LmmFit) -> np.ndarray:
    """Prior weights of the observations used, (n,)."""
    if fit.fits.weights is None:
        return np.ones(fit.n_obs)
    return np.array(fit.fits.weights[fit._seen, fit.index], dtype=float)


def mixed_equations(fit: LmmFit) -> MixedEquations:
    """Set up the equations of one response.

    Raises
    ------
    ResponseError
        The response has no estimates.
    """
    require_estimates(fit)
    model, design, seen = fit.model, fit.model.design, fit._seen
    root = np.sqrt(row_weights(fit))
    n = len(root)
    factors = term_factors(fit.fits.take([fit.index]), relative=True)
    scaled = [
        root[:, None] * (t.z[seen] @ f[0]) for t, f in zip(design.terms, factors, strict=True)
    ]
    eliminated = model.order.engine_terms[: len(model.layout.eliminated)]
    local = np.concatenate([np.zeros((n, 0)), *(scaled[k] for k in eliminated)], axis=1)
    first = design.terms[eliminated[0]] if eliminated else None
    shared = [
        level_columns(scaled[k], term.codes[seen], term.n_levels, term.root)
        for k in model.order.engine_terms[len(eliminated) :]
        for term in (design.terms[k],)
    ]
    precision = Precision(
        local,
        first.codes[seen] if first else np.zeros(n, dtype=np.int32),
        first.n_levels if first else 1,
        sparse.csr_array(sparse.hstack([sparse.csr_array((n, 0)), *shared])),
    )
    x = root[:, None] * design.X[seen][:, estimated_columns(fit)]
    basis, transform = np.linalg.qr(x)
    return MixedEquations(precision, basis, transform, root * fit.residuals().to_numpy(), root)
