"""What the data of a design tell about variances that are zero in the smaller model.

The weights of a chi-bar-square for several variances depend on the information about them,
all other variance parameters profiled out. It depends on a response only through its relative
covariance, and is evaluated for error contrasts (as REML), with fixed effects projected out.
"""

from __future__ import annotations

import numpy as np

from lmmjax.inference.nesting import Nesting
from lmmjax.prepare import indicator_columns
from lmmjax.structure import triangle

_GRID = 50  # points per unit of theta / (1 + |theta|)
_DOUBLES = 4_000_000  # per working array


def boundary_information(
    nesting: Nesting, x: np.ndarray, theta: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Information about the entries of the blocks that are zero in the smaller model.

    Parameters
    ----------
    nesting : Nesting
    x : ndarray, shape (n, p)
        Fixed effects of the larger model.
    theta : ndarray, shape (m, k)
        Relative covariance parameters of the smaller model, per response. They are rounded, in
        theta / (1 + |theta|), to 1/50, so that many responses share one computation; weights of
        the mixture move by less than 0.01.
    weights : ndarray, shape (n,), optional
        Prior weights.

    Returns
    -------
    ndarray, shape (m, d, d)
        d entries: lower triangles by column, of the smallest blocks first.
    """
    root = np.ones(len(x)) if weights is None else np.sqrt(weights)
    columns = _columns(nesting) * root[:, None]
    if x.shape[1]:
        basis = np.linalg.qr(x * root[:, None] / np.max(np.abs(x), axis=0))[0]
        for _ in range(2):
            columns -= basis @ (basis.T @ columns)
    gram = columns.T @ columns
    freedom = int(np.sum(root > 0)) - x.shape[1]
    distinct, where = np.unique(_rounded(nesting, theta), axis=0, return_inverse=True)
    size = max(1, _DOUBLES // max(1, gram.size))
    parts = [
        _efficient(nesting, gram, freedom, distinct[start : start + size])
        for start in range(0, len(distinct), size)
    ]
    return np.concatenate(parts)[where.reshape(-1)]


def _rounded(nesting: Nesting, theta: np.ndarray) -> np.ndarray:
    """Theta for orthogonal columns of root mean square one, on a grid, (m, k)."""
    out, start = np.empty_like(theta), 0
    for triangular in nesting.triangles:
        pairs = triangle(len(triangular))
        product = triangular @ _factor(theta[:, start : start + len(pairs)], pairs)
        lower = np.swapaxes(np.linalg.qr(np.swapaxes(product, 1, 2), mode="r"), 1, 2)
        sign = np.where(np.diagonal(lower, axis1=1, axis2=2) < 0, -1.0, 1.0)
        for k, (i, j) in enumerate(pairs):
            out[:, start + k] = lower[:, i, j] * sign[:, j]
        start += len(pairs)
    bounded = np.round(_GRID * out / (1.0 + np.abs(out))) / _GRID
    bounded = np.clip(bounded, -1.0 + 0.5 / _GRID, 1.0 - 0.5 / _GRID) + 0.0  # no negative zero
    return bounded / (1.0 - np.abs(bounded))


def _factor(theta: np.ndarray, pairs: list[tuple[int, int]]) -> np.ndarray:
    """Lower triangular matrices (m, q, q)."""
    q = pairs[-1][0] + 1
    factor = np.zeros((len(theta), q, q))
    for k, (i, j) in enumerate(pairs):
        factor[:, i, j] = theta[:, k]
    return factor


def _columns(nesting: Nesting) -> np.ndarray:
    """All random-effects columns (n, N), by block, effect and level."""
    parts = [
        indicator_columns(effect[:, None], block.codes, block.n_levels, block.root)
        for block in nesting.blocks
        for effect in block.z.T
    ]
    return np.concatenate(parts, axis=1)


def _covariances(nesting: Nesting, theta: np.ndarray) -> list[np.ndarray]:
    """Relative covariance (m, q, q) of every block, theta being for orthogonal columns."""
    parameters, start = [], 0
    for triangular in nesting.triangles:
        pairs = triangle(len(triangular))
        factor = _factor(theta[:, start : start + len(pairs)], pairs)
        covariance = factor @ np.swapaxes(factor, 1, 2)
        parameters += [covariance[:, i, j] for i, j in pairs]
        start += len(pairs)
    values = np.stack(parameters, axis=1) if parameters else np.zeros((len(theta), 0))
    return [np.einsum("mk,kij->mij", values, maps) for maps in nesting.embedding]


def _efficient(nesting: Nesting, gram: np.ndarray, freedom: int, theta: np.ndarray) -> np.ndarray:
    total = len(gram)
    identity = np.eye(total)
    # gram @ covariance of the random effects, which is blocks[r, s] x identity over levels
    product = np.zeros((len(theta), total, total))
    places: list[list[slice]] = []
    start = 0
    for block, covariance in zip(nesting.blocks, _covariances(nesting, theta), strict=True):
        q = block.z.shape[1]
        places.append([
            slice(start + r * block.n_levels, start + (r + 1) * block.n_levels) for r in range(q)
        ])  # fmt: skip
        start += q * block.n_levels
        for r in range(q):
            for s in range(q):
                product[:, :, places[-1][s]] += (
                    covariance[:, r, s, None, None] * gram[:, places[-1][r]]
                )
    system = identity + product
    # with V the covariance over sigma^2 and P its inverse beside X: Z'PZ, Z'PPZ and tr(PP)
    k = np.linalg.solve(system, np.broadcast_to(gram, system.shape))
    h = np.swapaxes(np.linalg.solve(system, np.swapaxes(k, 1, 2)), 1, 2)
    inverse = np.linalg.inv(system)
    trace = freedom - total + np.einsum("mij,mji->m", inverse, inverse)
    return _profile_out(nesting, places, k, h, trace)


def _profile_out(
    nesting: Nesting,
    places: list[list[slice]],
    k: np.ndarray,
    h: np.ndarray,
    trace: np.ndarray,
) -> np.ndarray:
    """Information of the new blocks from that of all variance parameters, sigma^2 last."""
    pairs = [(b, r, s) for b, place in enumerate(places) for r, s in triangle(len(place))]
    size = len(pairs) + 1
    full = np.empty((len(k), size, size))
    full[:, -1, -1] = trace
    for i, (b, r, s) in enumerate(pairs):
        first = places[b]
        both = 1.0 if r == s else 2.0
        full[:, i, -1] = full[:, -1, i] = both * np.einsum("mll->m", h[:, first[r], first[s]])
        for j, (c, t, u) in enumerate(pairs[: i + 1]):
            second = places[c]
            one = np.einsum("mkl,mkl->m", k[:, first[r], second[t]], k[:, first[s], second[u]])
            other = np.einsum("mkl,mkl->m", k[:, first[r], second[u]], k[:, first[s], second[t]])
            copies = 0.5 * both * (1.0 if t == u else 2.0)
            full[:, i, j] = full[:, j, i] = copies * (one + other)
    full *= 0.5
    old = [len(block.z.T) - block.new for block in nesting.blocks]
    order = sorted(range(len(places)), key=lambda b: nesting.blocks[b].new)
    new = [
        i for b in order for i, (c, r, s) in enumerate(pairs)
        if c == b and r >= old[b] and s >= old[b]
    ]  # fmt: skip
    rest = [i for i in range(size) if i not in new]
    inner = full[:, new][:, :, new]
    cross = full[:, new][:, :, rest]
    nuisance = np.linalg.pinv(full[:, rest][:, :, rest], hermitian=True)
    return inner - cross @ nuisance @ np.swapaxes(cross, 1, 2)
