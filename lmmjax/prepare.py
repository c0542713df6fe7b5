"""From a design to the arrays the engine runs on: NumPy, once per model.

:func:`prepare` orthogonalises and rescales the design and projects the levels of the largest
grouping factor out of it; :func:`rotate_to_spectrum` does the same in the eigenvectors of a
single term's covariance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from .structure import Layout, triangle

#: NumPy outside, a tracer inside a compiled function
Leaf = Any


class SharedArrays(NamedTuple):
    """Design-side arrays of the shared path (n observations, m reduced columns).

    ``basis`` (n, p): orthonormal basis of sqrt(w) X.  ``positions`` (L, width): rows of each
    level, n pads.  ``rotation`` (L, width, q): the matching rows of Q_l.  ``row_level`` (n,)
    and ``row_rotation`` (n, q) are the same by observation.  ``within_r`` (m, n) is A with
    the levels projected out.  ``class_of`` (L,) sorts levels into D classes.
    ``constant`` (p,): a constant response in the basis, zero if X does not hold one.
    ``rotate`` (n, n) multiplies every response first (spectral path).
    """

    basis: Leaf
    root_weight: Leaf
    positions: Leaf
    rotation: Leaf
    row_level: Leaf
    row_rotation: Leaf
    within_r: Leaf
    within_rr: Leaf
    rotated_r: Leaf
    root: Leaf
    class_root: Leaf
    class_of: Leaf
    count: Leaf
    between_rr: Leaf
    log_weights: Leaf
    constant: Leaf
    rotate: Leaf = None


@dataclass(frozen=True)
class Prepared:
    """A design in engine form.

    ``x_transform`` (p, p): X = basis @ x_transform, so raw coefficients solve
    x_transform beta = basis coefficients.  ``z_scale``: per term, the root mean square of
    each column of Z, divided out so that every theta is of order one.
    """

    layout: Layout
    arrays: Any  # SharedArrays, or SparseArrays
    x_transform: np.ndarray
    z_scale: tuple[np.ndarray, ...]
    compressed: bool


def level_positions(codes: np.ndarray, n_levels: int) -> np.ndarray:
    """Rows of every level, (n_levels, largest level), padded with n."""
    n = len(codes)
    counts = np.bincount(codes, minlength=n_levels)
    width = int(counts.max()) if n else 0
    out = np.full((n_levels, width), n, dtype=np.int32)
    order = np.argsort(codes, kind="stable")
    within = np.arange(n) - np.repeat(np.cumsum(counts) - counts, counts)
    out[codes[order], within] = order
    return out


def centre_columns(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre the columns of x that follow a constant in their span.

    Returns ``centred`` and the unit upper triangular ``shift`` with x = centred @ shift.  An
    offset of 1e9 in a covariate would cost every later step nine digits.
    """
    n, p = x.shape
    centred, shift = x.copy(), np.eye(p)
    ones, constant = np.ones(n), None
    for j in range(p):
        if constant is not None:
            mean = x[:, j].mean()
            centred[:, j] -= mean
            shift[:, j] += mean * constant
            continue
        found, *_ = np.linalg.lstsq(x[:, : j + 1], ones, rcond=None)
        if np.abs(x[:, : j + 1] @ found - 1.0).max(initial=0.0) < 1e-10:
            constant = shift[:, : j + 1] @ found
    return centred, shift


def orthonormal_basis(x: np.ndarray, root_weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """QR with positive diagonal of sqrt(w) X: basis (n, p) and its transform (p, p)."""
    if x.shape[1] == 0:
        return x, np.zeros((0, 0))
    centred, shift = centre_columns(x)
    centred *= root_weight[:, None]
    scale = np.linalg.norm(centred, axis=0)
    scale[scale == 0] = 1.0
    q, r = np.linalg.qr(centred / scale)
    sign = np.where(np.diag(r) < 0, -1.0, 1.0)
    return q * sign, (r * sign[:, None]) @ (scale[:, None] * shift)


def scaled_terms(
    z: list[np.ndarray], root_weight: np.ndarray | None = None
) -> tuple[list[np.ndarray], tuple[np.ndarray, ...]]:
    """Columns of every term at unit mean square, times the roots of weights; and their scales."""
    z_scale = tuple(np.sqrt(np.mean(part**2, axis=0)) for part in z)
    scaled = [part / s for part, s in zip(z, z_scale, strict=True)]
    if root_weight is not None:
        scaled = [root_weight[:, None] * part for part in scaled]
    return scaled, z_scale


def prepare(
    layout: Layout,
    x: np.ndarray,
    z: list[np.ndarray],
    codes: list[np.ndarray],
    n_levels: list[int],
    weights: np.ndarray | None,
    max_classes: int = 64,
    orthonormal: tuple[np.ndarray, np.ndarray] | None = None,
    roots: Sequence[np.ndarray | None] | None = None,
) -> Prepared:
    """Engine form of a design whose terms are given in engine order.

    Parameters
    ----------
    x
        (n, p) of full rank.
    z, codes, n_levels
        Per term: (n, q) model matrix, (n,) level of each observation, number of levels.
    weights
        (n,) positive prior weights shared by all responses, or ``None``.
    max_classes
        Most distinct level cross-products for which levels are summed beforehand.
    orthonormal
        Basis of sqrt(w) X and its transform, if already at hand.
    roots
        Per term, root (levels, levels) of a known covariance of the levels, or ``None``.
    """
    n = x.shape[0]
    root_weight = np.ones(n) if weights is None else np.sqrt(weights)
    basis, x_transform = orthonormal or orthonormal_basis(x, root_weight)
    z, z_scale = scaled_terms(z, root_weight)
    n_elim = len(layout.eliminated)
    dense = dense_columns(z, codes, n_levels, roots, n_elim)
    a = np.concatenate([*dense, basis], axis=1)
    m, q = layout.m, layout.q
    if n_elim:
        ze, code, levels = np.concatenate(z[:n_elim], axis=1), codes[0], n_levels[0]
        positions = level_positions(code, levels)
        row_rotation, root = rotate_levels(ze, positions)
        padded = np.concatenate([row_rotation, np.zeros((1, q))])
        rotation = padded[positions]
        a_padded = np.concatenate([a, np.zeros((1, m))])
        rotated_r = np.einsum("lwq,lwm->lqm", rotation, a_padded[positions])
        within = a - np.einsum("nq,nqm->nm", row_rotation, rotated_r[code])
    else:
        code = np.zeros(n, dtype=np.int32)
        positions = np.zeros((0, 0), dtype=np.int32)
        row_rotation, root = np.zeros((n, 0)), np.zeros((0, 0, 0))
        rotation = np.zeros((0, 0, 0))
        rotated_r, within = np.zeros((0, 0, m)), a
    within_rr = within.T @ within
    class_of, class_root, count = _classes(root)
    compressed = len(count) <= max_classes
    pairs = triangle(q)
    if compressed:
        between = np.zeros((len(count), len(pairs), m, m))
        for slot, (i, j) in enumerate(pairs):
            outer = np.einsum("lr,ls->lrs", rotated_r[:, i], rotated_r[:, j])
            if i != j:
                outer = outer + np.swapaxes(outer, 1, 2)
            by_class = np.zeros((len(count), m, m))
            np.add.at(by_class, class_of, outer)
            between[:, slot] = by_class
        between_rr = between.reshape(len(count) * len(pairs), m, m)
    else:
        between_rr = np.zeros((0, m, m))
    log_weights = 2.0 * np.sum(np.log(root_weight)) if n else 0.0
    arrays = SharedArrays(
        basis=basis,
        root_weight=root_weight,
        positions=positions,
        rotation=rotation,
        row_level=code.astype(np.int32),
        row_rotation=row_rotation,
        within_r=np.ascontiguousarray(within.T),
        within_rr=within_rr,
        rotated_r=rotated_r,
        root=root,
        class_root=class_root,
        class_of=class_of,
        count=count.astype(float),
        between_rr=between_rr,
        log_weights=np.asarray(log_weights),
        constant=constant_in_basis(basis, root_weight),
    )
    return Prepared(layout, arrays, x_transform, z_scale, compressed)


def rotate_to_spectrum(
    x: np.ndarray,
    z: np.ndarray,
    codes: np.ndarray,
    weights: np.ndarray | None,
    max_classes: int = 64,
    root: np.ndarray | None = None,
) -> Prepared:
    """Engine form of a model with one scalar term, in the eigenvectors of its covariance.

    With Z K Z' = U diag(d) U', the rotated response U'y has independent entries of variance
    sigma^2 (1 + theta^2 d_i): a design in which every observation is a level of its own, with
    entry sqrt(d_i) in Z.  ``root`` (levels, levels) is L with K = L L', the identity if missing.
    """
    n = x.shape[0]
    root_weight = np.ones(n) if weights is None else np.sqrt(weights)
    columns = indicator_columns(root_weight[:, None] * z, codes, int(codes.max()) + 1, root)
    d, u = np.linalg.eigh(columns @ columns.T)
    d = np.where(d > 1e-12 * d[-1], d, 0.0)
    basis, x_transform = orthonormal_basis(x, root_weight)
    rotated = prepare(
        Layout(x.shape[1], (1,), ()),
        basis,
        [np.sqrt(d)[:, None]],
        [np.arange(n)],
        [n],
        None,
        max_classes,
        (u.T @ basis, x_transform),
    )
    arrays = rotated.arrays._replace(
        root_weight=root_weight,
        constant=constant_in_basis(basis, root_weight),
        log_weights=np.asarray(2.0 * np.sum(np.log(root_weight))),
        rotate=np.ascontiguousarray(u.T),
    )
    return replace(rotated, arrays=arrays)


def constant_in_basis(basis: np.ndarray, root_weight: np.ndarray) -> np.ndarray:
    """Coefficients (p,) of a constant response in the basis; zero if X does not hold one."""
    part = basis.T @ root_weight
    rest = root_weight - basis @ part
    held = np.linalg.norm(rest) <= 1e-12 * np.linalg.norm(root_weight)
    return part if held else np.zeros_like(part)


def indicator_columns(
    z: np.ndarray, codes: np.ndarray, levels: int, root: np.ndarray | None = None
) -> np.ndarray:
    """Dense Z of one term: (n, levels * q), the q columns of a level together.

    With the ``root`` L of a known covariance of the levels, those of Z (L (x) I).  Code -1 has
    none.
    """
    n, q = z.shape
    out = np.zeros((n, levels + 1, q))
    if root is None:
        out[np.arange(n), codes] = z
    else:
        padded = np.concatenate([root, np.zeros((1, levels))])
        out[:, :-1] = padded[codes][:, :, None] * z[:, None]
    return out[:, :-1].reshape(n, levels * q)


def dense_columns(
    z: Sequence[np.ndarray],
    codes: Sequence[np.ndarray],
    n_levels: Sequence[int],
    roots: Sequence[np.ndarray | None] | None,
    first: int,
) -> list[np.ndarray]:
    """:func:`indicator_columns` of every term from ``first`` on."""
    tied = [None] * len(z) if roots is None else roots
    parts = zip(z[first:], codes[first:], n_levels[first:], tied[first:], strict=True)
    return [indicator_columns(*part) for part in parts]


def rotate_levels(z: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Per level Z_l = Q_l R_l: rows of Q_l (n, q) by observation and R_l (L, q, q).

    Rank-deficient levels get zero columns in Q_l, so that Q_l Q_l' projects on the range.
    """
    n, q = z.shape
    levels, width = positions.shape
    padded = np.concatenate([z, np.zeros((1, q))])
    stacked = padded[positions]
    if q == 1:
        norm = np.sqrt(np.sum(stacked**2, axis=1))  # (L, 1)
        unit = np.divide(
            stacked, norm[:, None], out=np.zeros_like(stacked), where=norm[:, None] > 0
        )
        root = norm[:, :, None]
    else:
        u, s, vt = np.linalg.svd(stacked, full_matrices=False)
        s = np.where(s > s.max(axis=1, initial=0.0, keepdims=True) * 1e-13, s, 0.0)
        unit = u * (s[:, None] > 0)
        root = s[:, :, None] * vt
        if width < q:  # fewer observations than columns: pad to q x q
            unit = np.concatenate([unit, np.zeros((levels, width, q - width))], axis=2)
            root = np.concatenate([root, np.zeros((levels, q - width, q))], axis=1)
    out = np.zeros((n + 1, q))
    out[positions] = unit
    return out[:n], root


def _classes(root: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Group levels of equal R_l' R_l: class of each level, R of each class, class sizes."""
    levels, q = root.shape[:2]
    if levels == 0:
        return np.zeros(0, dtype=np.int32), root, np.zeros(0)
    gram = np.einsum("lki,lkj->lij", root, root).reshape(levels, q * q)
    size = np.max(np.abs(gram)) or 1.0
    _, first, class_of, count = np.unique(
        np.round(gram / size, 12),
        axis=0,
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    return class_of.reshape(-1).astype(np.int32), root[first], count
