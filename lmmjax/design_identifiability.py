"""Whether the variance components of a design can be told apart.

The covariance of the observations is linear in the variance parameters: sigma² I plus, for each
random-effects term and each pair (r, s) of its columns, a parameter times
``(Z_r Z_sᵀ + Z_s Z_rᵀ) / 2``. What the data can tell is this after projection on the complement
of X. The parameters are identified exactly when these projected matrices are linearly
independent, and that shows in their Gram matrix, which needs only the counts of the cells
between grouping factors, never an n x n matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lmmjax.errors import CodingWarning, DesignError, warn

_VANISHING = 1e-12  # of a squared norm, after against before projection
_DEPENDENT = 1e-8  # smallest eigenvalue of the scaled Gram matrix


@dataclass(frozen=True)
class CovarianceTerm:
    """One random-effects term: its label, grouping factor, group codes (n,) and columns (n, q).

    ``root`` (levels, levels): of a known covariance of the levels.
    """

    label: str
    group: str
    codes: np.ndarray
    z: np.ndarray
    n_levels: int
    root: np.ndarray | None = None


@dataclass(frozen=True)
class _Cells:
    """Cross-products of two terms over the cells of their grouping factors."""

    rows: np.ndarray  # level of the first term, per cell
    columns: np.ndarray  # level of the second
    sums: np.ndarray  # (q1, q2, cells)


def check_identifiable(
    terms: Sequence[CovarianceTerm], basis: np.ndarray, known_residual: bool = False
) -> None:
    """Check that no variance component vanishes within X, or equals others combined.

    Parameters
    ----------
    terms : sequence of CovarianceTerm
    basis : ndarray, shape (n, rank)
        Orthonormal basis of the fixed effects.
    known_residual : bool
        The residual variance is known, and need not be told from the others.

    Raises
    ------
    DesignError
        Naming the terms that cannot be told apart.
    """
    if not terms:
        return
    # The family of covariances of a term is the same for any basis of its columns.
    terms = [
        CovarianceTerm(t.label, t.group, t.codes, _orthonormal(t.z), t.n_levels) for t in terms
    ]
    sides = [_by_level(term, basis) for term in terms]
    owners = [i for i, t in enumerate(terms) for r in range(t.z.shape[1]) for _ in range(r + 1)]
    pairs = [(r, s) for t in terms for r in range(t.z.shape[1]) for s in range(r + 1)]
    size = len(owners) + 1
    gram = np.empty((size, size))
    gram[-1, -1] = basis.shape[0] - basis.shape[1]
    for i, first in enumerate(terms):
        mine = [k for k, owner in enumerate(owners) if owner == i]
        for k in mine:
            r, s = pairs[k]
            value = np.sum(first.z[:, r] * first.z[:, s]) - np.sum(sides[i][r] * sides[i][s])
            gram[k, -1] = gram[-1, k] = value
        for j in range(i + 1):
            cells = _cells(first, terms[j])
            theirs = [k for k, owner in enumerate(owners) if owner == j]
            block = _gram_block(
                cells, sides[i], sides[j], [pairs[k] for k in mine], [pairs[k] for k in theirs]
            )
            gram[np.ix_(mine, theirs)] = block
            gram[np.ix_(theirs, mine)] = block.T
            if i == j:
                _check_not_within_x(first, cells, np.diag(block), [pairs[k] for k in mine])
    _check_independent(gram[:-1, :-1] if known_residual else gram, owners, terms)


#: Observations up to which matrices between all of them are compared.
_DENSE_LIMIT = 2000


def check_related_identifiable(
    terms: Sequence[CovarianceTerm], basis: np.ndarray, known_residual: bool = False
) -> None:
    """As :func:`check_identifiable` where levels have known covariances, by n x n matrices.

    Beyond some thousand observations that costs more than the fit, and is left out.
    """
    n = len(basis)
    if n > _DENSE_LIMIT:
        return
    projected, owners = [], []
    for owner, term in enumerate(terms):
        columns = np.eye(term.n_levels) if term.root is None else term.root
        effects = [z[:, None] * columns[term.codes] for z in _orthonormal(term.z).T]
        effects = [part - basis @ (basis.T @ part) for part in effects]
        for r in range(len(effects)):
            for s in range(r + 1):
                product = effects[r] @ effects[s].T
                projected.append((product + product.T).ravel())
                owners.append(owner)
                if r == s and np.linalg.norm(projected[-1]) <= _VANISHING**0.5 * n:
                    _refuse_within_x(term)
    projected.append((np.eye(n) - basis @ basis.T).ravel())
    gram = np.array([[a @ b for b in projected] for a in projected])
    _check_independent(gram[:-1, :-1] if known_residual else gram, owners, terms)


def _orthonormal(z: np.ndarray) -> np.ndarray:
    scaled = z / np.maximum(np.max(np.abs(z), axis=0), np.finfo(np.float64).tiny)
    return np.linalg.qr(scaled)[0] * np.sqrt(len(z))


def _by_level(term: CovarianceTerm, basis: np.ndarray) -> np.ndarray:
    """Basisᵀ Z per column, shape (q, rank, levels)."""
    q, rank = term.z.shape[1], basis.shape[1]
    result = np.empty((q, rank, term.n_levels))
    for r in range(q):
        for a in range(rank):
            weights = term.z[:, r] * basis[:, a]
            result[r, a] = np.bincount(term.codes, weights, minlength=term.n_levels)
    return result


def _cells(first: CovarianceTerm, second: CovarianceTerm) -> _Cells:
    keys = first.codes.astype(np.int64) * second.n_levels + second.codes
    used, where = np.unique(keys, return_inverse=True)
    sums = np.array([
        [np.bincount(where, a * b, minlength=len(used)) for b in second.z.T] for a in first.z.T
    ])  # fmt: skip
    return _Cells(used // second.n_levels, used % second.n_levels, sums)


def _gram_block(
    cells: _Cells,
    left: np.ndarray,
    right: np.ndarray,
    mine: list[tuple[int, int]],
    theirs: list[tuple[int, int]],
) -> np.ndarray:
    """Inner products of the projected matrices of two terms.

    With P_ab = Z_aᵀ M Z_b, <V_rs, V_tu> = (<P_rt, P_su> + <P_ru, P_st>) / 2; P is the cross-product
    over cells minus a product of rank(X) rows, and is never formed.
    """
    at_cells_left = left[:, :, cells.rows]
    at_cells_right = right[:, :, cells.columns]
    low = np.einsum("rac,tac->rtc", at_cells_left, at_cells_right)
    left_gram = np.einsum("ral,sbl->rsab", left, left)
    right_gram = np.einsum("tal,ubl->tuab", right, right)

    def inner(r: int, t: int, s: int, u: int) -> float:
        full = cells.sums[r, t] @ (cells.sums[s, u] - low[s, u]) - cells.sums[s, u] @ low[r, t]
        return float(full + np.sum(left_gram[r, s] * right_gram[t, u]))

    return np.array([
        [(inner(r, t, s, u) + inner(r, u, s, t)) / 2 for t, u in theirs] for r, s in mine
    ])  # fmt: skip


def _check_not_within_x(
    term: CovarianceTerm, cells: _Cells, squared: np.ndarray, pairs: list[tuple[int, int]]
) -> None:
    for value, (r, s) in zip(squared, pairs, strict=True):
        before = np.sum(cells.sums[r, r] * cells.sums[s, s])
        if r == s and value <= _VANISHING * before:
            _refuse_within_x(term)


def _refuse_within_x(term: CovarianceTerm) -> None:
    raise DesignError(
        f"the random effects ({term.label}) lie within the fixed effects, so their variance "
        f"cannot be estimated; is {term.group!r} a fixed effect too? Keep one of the two"
    )


def _check_independent(
    gram: np.ndarray, owners: list[int], terms: Sequence[CovarianceTerm]
) -> None:
    scale = np.sqrt(np.diag(gram))
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    if values[0] > _DEPENDENT:
        return
    null = vectors[:, values <= _DEPENDENT]
    weight = np.sqrt(np.sum(null**2, axis=1))
    owner_of = [*owners, len(terms)]
    involved = sorted({owner_of[k] for k in np.flatnonzero(weight > 1e-3)})
    labels = [f"({terms[i].label})" if i < len(terms) else "the residuals" for i in involved]
    told = f"{', '.join(labels[:-1])} and {labels[-1]}" if len(labels) > 1 else labels[0]
    message = f"the variances of {told} cannot be told apart in this design"
    groups = {terms[i].group if i < len(terms) else "" for i in involved}
    if len(groups) == 1 and "" not in groups:
        # (f || g) for a factor f, as lme4 reads it: redundant, but the fit itself is well defined
        warn(f"{message}; the fit is unique, their shares are not", CodingWarning)
        return
    raise DesignError(f"{message}; remove one of them, or collect more observations per group")
