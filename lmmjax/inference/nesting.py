"""Whether one model is a special case of another, decided by spaces, not by names.

Fixed effects: the columns of one model matrix lie in the span of the other's. Random effects:
the covariance of the observations is linear in the variance parameters, so every matrix that
the smaller model can add to sigma^2 I must be among those of the larger one. Inner products of
such matrices need only the cross-products of two terms within the cells of their grouping
factors, so nothing of size n x n is formed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lmmjax.design import Design
from lmmjax.errors import NestingError
from lmmjax.prepare import indicator_columns
from lmmjax.random_term import RandomTerm
from lmmjax.rank import independent_columns
from lmmjax.structure import triangle

_OUTSIDE = 1e-9  # of a squared norm: what lies outside the larger model's space
_ZERO = 1e-5  # eigenvalues of a covariance whose nonzero ones are of order one


@dataclass(frozen=True)
class Block:
    """One random-effects term of the larger model, in a basis that splits off what is new.

    Attributes
    ----------
    codes, n_levels
        Group of each observation, (n,), and number of groups.
    z : ndarray, shape (n, q)
        Model matrix: first the directions with variance under the smaller model, then the
        `new` ones, whose variances are zero there.
    new : int
    root : ndarray, shape (n_levels, n_levels), or None
        Of a known covariance of the groups.
    """

    codes: np.ndarray
    n_levels: int
    z: np.ndarray
    new: int
    root: np.ndarray | None = None


@dataclass(frozen=True)
class Nesting:
    """How a smaller model sits in a larger one.

    Attributes
    ----------
    same_fixed : bool
        The fixed parts span the same space.
    reml_shift : float
        What to add to the REML criterion of the smaller model to express it in the coding of
        the larger one (the criterion depends on how the fixed effects are coded).
    new_parameters : int
        Variances and covariances that only the larger model has.
    blocks : tuple of Block
        Terms of the larger model.
    embedding : tuple of ndarray, each shape (k, q, q)
        Covariance of each block that belongs to each covariance parameter of the smaller
        model, its terms being in an orthogonal basis.
    triangles : tuple of ndarray, each shape (q, q)
        Upper triangular R for each term of the smaller model: model matrix = basis @ R.
    """

    same_fixed: bool
    reml_shift: float
    new_parameters: int
    blocks: tuple[Block, ...]
    embedding: tuple[np.ndarray, ...]
    triangles: tuple[np.ndarray, ...]

    @property
    def cone(self) -> tuple[int, ...]:
        """Rows of each covariance block that is zero in the smaller model."""
        return tuple(sorted(block.new for block in self.blocks if block.new))

    @property
    def cone_dimension(self) -> int:
        """Parameters in those blocks."""
        return sum(r * (r + 1) // 2 for r in self.cone)


def check_nested(smaller: Design, larger: Design) -> Nesting:
    """Find how `smaller` is a special case of `larger`.

    Parameters
    ----------
    smaller, larger : Design
        Designs of the same observations.

    Returns
    -------
    Nesting

    Raises
    ------
    NestingError
        It is not; the message names the fixed effect, offset or random term in the way.

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> small, large = (lmmjax.compile(f, data).design for f in
    ...                 ("~ Days + (1 | Subject)", "~ Days + (Days | Subject)"))
    >>> nesting = check_nested(small, large)
    >>> nesting.same_fixed, nesting.new_parameters, nesting.cone
    (True, 2, (1,))
    """
    check_same_sigma(smaller, larger)
    _check_fixed(smaller, larger)
    same_fixed = smaller.rank == larger.rank
    bases = [_basis(term)[0] for term in larger.terms]
    small = [_basis(term) for term in smaller.terms]
    try:
        maps = _embed(smaller.terms, [basis for basis, _ in small], larger.terms, bases)
    except NestingError as error:
        raise NestingError(f"{error}{relationships_differ(smaller, larger)}") from None
    blocks, embedding = [], []
    for term, z, covariances in zip(larger.terms, bases, maps, strict=True):
        turn, new = _split(smaller.terms, covariances)
        blocks.append(Block(term.codes, term.n_levels, z @ turn, new, term.root))
        embedding.append(turn.T @ covariances @ turn)
    count = [sum(len(triangle(t.n_columns)) for t in d.terms) for d in (smaller, larger)]
    return Nesting(
        same_fixed=same_fixed,
        reml_shift=_log_gram(larger.X) - _log_gram(smaller.X) if same_fixed else np.nan,
        new_parameters=count[1] - count[0],
        blocks=tuple(blocks),
        embedding=tuple(embedding),
        triangles=tuple(r for _, r in small),
    )


def check_same_sigma(first: Design, second: Design) -> None:
    """Refuse, as NestingError, models that do not share what is known of sigma."""
    if first.sigma == second.sigma:
        return
    known = sorted(d.sigma for d in (first, second) if d.sigma is not None)
    told = [*(f"has sigma={sigma:g}" for sigma in known), "estimates sigma"]
    raise NestingError(
        f"one model {told[0]} and the other {told[1]}; models that are compared share what is "
        "known of the residual variance"
    )


def relationships_differ(first: Design, second: Design) -> str:
    """What to add to a message about models whose grouping factors have unlike `relmat`."""
    known = first.relationships, second.relationships
    shared = {term.group for term in first.terms} & {term.group for term in second.terms}
    unlike = [
        group
        for group in sorted(shared)
        if not _same_relationship(known[0].get(group), known[1].get(group))
    ]
    if not unlike:
        return ""
    return (
        f"; the covariance of the levels of {', '.join(map(repr, unlike))} (relmat) is not the "
        "same in both: give both models the same relmat, or compare them by AIC"
    )


def _same_relationship(first: pd.DataFrame | None, second: pd.DataFrame | None) -> bool:
    if first is None or second is None:
        return first is second
    return first.index.equals(second.index) and np.allclose(first, second, rtol=1e-8, atol=1e-12)


def _check_fixed(smaller: Design, larger: Design) -> None:
    outside = independent_columns(np.column_stack([larger.X, smaller.X])).kept[larger.rank :]
    names = np.array(smaller.fixed_names, dtype=object)[smaller.fixed_kept]
    if outside.any():
        listing = ", ".join(repr(str(name)) for name in names[outside][:5])
        raise NestingError(
            f"{smaller.parsed.text!r} is not a special case of {larger.parsed.text!r}: its fixed "
            f"effects {listing} are no combination of the other model's"
        )
    zero = np.zeros(larger.n)
    offsets = [zero if d.offset is None else d.offset for d in (smaller, larger)]
    if np.allclose(*offsets, rtol=1e-12, atol=0.0):
        return
    difference = offsets[0] - offsets[1]
    if independent_columns(np.column_stack([larger.X, difference])).kept[-1]:
        raise NestingError(
            f"{smaller.parsed.text!r} is not a special case of {larger.parsed.text!r}: their "
            "offsets differ by more than the fixed effects can make up"
        )


def _log_gram(x: np.ndarray) -> float:
    """log det X'X."""
    if x.shape[1] == 0:
        return 0.0
    return 2.0 * float(np.sum(np.log(np.abs(np.diag(np.linalg.qr(x, mode="r"))))))


def _basis(term: RandomTerm) -> tuple[np.ndarray, np.ndarray]:
    """Orthogonal columns of root mean square one, and R with z = columns @ R."""
    size = np.max(np.abs(term.z), axis=0)
    basis, r = np.linalg.qr(term.z / size)
    root = np.sqrt(len(term.z))
    return basis * root, r / root * size


# ---- covariance matrices of the observations ---------------------------------------------


def _embed(
    small_terms: Sequence[RandomTerm],
    small_z: Sequence[np.ndarray],
    large_terms: Sequence[RandomTerm],
    large_z: Sequence[np.ndarray],
) -> list[np.ndarray]:
    """Covariances (k, q, q) of each larger term that make each of k smaller parameters."""
    small = list(zip(small_terms, small_z, strict=True))
    large = list(zip(large_terms, large_z, strict=True))
    sizes = [z.shape[1] for _, z in large]
    owners = [term for term, z in small for _ in triangle(z.shape[1])]
    gram = _join([[_inner(a, b) for b in large] for a in large])
    cross = _join([[_inner(a, b) for b in large] for a in small])
    out = [np.zeros((len(owners), q, q)) for q in sizes]
    if not owners:
        return out
    if not large:
        raise _not_contained(owners[0])
    own = np.concatenate([np.diag(_inner(a, a)) for a in small])
    coefficients = np.linalg.lstsq(gram, cross.T, rcond=1e-12)[0].T
    missing = own - np.einsum("kj,kj->k", coefficients, cross)
    for owner, rest, total in zip(owners, missing, own, strict=True):
        if rest > _OUTSIDE * total:
            raise _not_contained(owner)
    start = 0
    for covariance, q in zip(out, sizes, strict=True):
        for i, j in triangle(q):
            covariance[:, i, j] = covariance[:, j, i] = coefficients[:, start]
            start += 1
    return out


def _join(rows: list[list[np.ndarray]]) -> np.ndarray:
    return np.block(rows) if rows and rows[0] else np.zeros((0, 0))


def _inner(a: tuple[RandomTerm, np.ndarray], b: tuple[RandomTerm, np.ndarray]) -> np.ndarray:
    """Inner products of dV/d(covariance parameter) of two terms.

    With C_rt = Z_r'Z_t over the cells of the two factors, <Z_r Z_s', Z_t Z_u'> is the sum of
    C_rt C_su; the derivative for r != s is Z_r Z_s' + Z_s Z_r'.
    """
    (first, za), (second, zb) = a, b
    if first.root is None and second.root is None:
        keys = first.codes.astype(np.int64) * second.n_levels + second.codes
        cells, where = np.unique(keys, return_inverse=True)
        sums = np.array([
            [np.bincount(where, x * y, minlength=len(cells)) for y in zb.T] for x in za.T
        ])  # fmt: skip
    else:
        left, right = (
            [indicator_columns(z[:, None], t.codes, t.n_levels, t.root) for z in columns.T]
            for t, columns in (a, b)
        )
        sums = np.array([[(x.T @ y).ravel() for y in right] for x in left])
    products = np.einsum("rtc,suc->rtsu", sums, sums)

    def inner(r: int, s: int, t: int, u: int) -> float:
        copies = 2.0 * (0.5 if r == s else 1.0) * (0.5 if t == u else 1.0)
        return copies * float(products[r, t, s, u] + products[r, u, s, t])

    return np.array([
        [inner(r, s, t, u) for t, u in triangle(zb.shape[1])] for r, s in triangle(za.shape[1])
    ])  # fmt: skip


def _split(small_terms: Sequence[RandomTerm], covariances: np.ndarray) -> tuple[np.ndarray, int]:
    """Directions of a block with and without variance in the smaller model, and how many
    are without."""
    q = covariances.shape[1]
    total, start = np.zeros((q, q)), 0
    for term in small_terms:
        pairs = triangle(term.n_columns)
        unit = sum(
            (covariances[start + k] for k, (i, j) in enumerate(pairs) if i == j), np.zeros((q, q))
        )
        if np.linalg.eigvalsh(unit)[0] < -_ZERO:
            raise _not_contained(term)
        total += unit
        start += len(pairs)
    values, vectors = np.linalg.eigh(total)
    return vectors[:, ::-1], int(np.sum(values <= _ZERO))


def _not_contained(term: RandomTerm) -> NestingError:
    return NestingError(
        f"the models are not nested: the random effects ({term.label}) of the smaller one are "
        "no special case of those of the larger one"
    )
