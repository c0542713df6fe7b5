"""The pieces of a fitted model by the names that lme4 gives them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from lmmjax.errors import LmmError
from lmmjax.structure import triangle
from lmmjax.varcorr import term_factors

from .mixed_equations import estimated_columns, require_estimates, row_weights

if TYPE_CHECKING:
    from lmmjax.design import RandomTerm
    from lmmjax.lmm_fit import LmmFit


def present_levels(fit: LmmFit, term: RandomTerm) -> np.ndarray:
    """Levels of a term that the response has observations of, positions.

    Where levels have a known covariance all count: the unobserved ones have effects too.
    """
    return _present(fit, term)[0]


def _present(fit: LmmFit, term: RandomTerm) -> tuple[np.ndarray, np.ndarray]:
    """Those levels, and which of them each observation used has."""
    codes = term.codes[fit._seen]
    if term.root is not None:
        return np.arange(term.n_levels), codes
    return np.unique(codes, return_inverse=True)


def relative_factors(fit: LmmFit) -> list[np.ndarray]:
    """Relative covariance factor of each term, (q, q)."""
    return [factor[0] for factor in term_factors(fit.fits.take([fit.index]), relative=True)]


def _z(fit: LmmFit) -> np.ndarray:
    columns: list[np.ndarray] = [np.zeros((fit.n_obs, 0))]
    for term in fit.model.design.terms:
        present, codes = _present(fit, term)
        block = np.zeros((fit.n_obs, len(present), term.n_columns))
        block[np.arange(fit.n_obs), codes] = term.z[fit._seen]
        columns.append(block.reshape(fit.n_obs, -1))
    return np.concatenate(columns, axis=1)


def _lambda(fit: LmmFit) -> np.ndarray:
    pairs = zip(fit.model.design.terms, relative_factors(fit), strict=True)
    blocks = [
        np.kron(np.eye(len(present_levels(fit, t))) if t.root is None else t.root, factor)
        for t, factor in pairs
    ]
    return np.asarray(block_diag(*blocks)) if blocks else np.zeros((0, 0))


def _b(fit: LmmFit) -> np.ndarray:
    pairs = zip(fit.model.design.terms, fit._modes.terms, strict=True)
    return np.concatenate([np.zeros(0), *(b[0][present_levels(fit, t)].ravel() for t, b in pairs)])


def _u(fit: LmmFit) -> np.ndarray:
    # not b / Lambda, which may be singular: the score equation (I + A'A) u = A'(y - X beta)
    pulled = row_weights(fit) * fit.residuals().to_numpy()
    parts = [np.zeros(0)]
    for term, factor in zip(fit.model.design.terms, relative_factors(fit), strict=True):
        present, codes = _present(fit, term)
        sums = np.zeros((len(present), term.n_columns))
        np.add.at(sums, codes, pulled[:, None] * term.z[fit._seen])
        if term.root is not None:
            sums = term.root.T @ sums
        parts.append((sums @ factor).ravel())
    return np.concatenate(parts)


def _cnms(fit: LmmFit) -> list[tuple[str, tuple[str, ...]]]:
    return [(term.group, term.columns) for term in fit.model.design.terms]


def _flist(fit: LmmFit) -> pd.DataFrame:
    columns = {}
    for term in fit.model.design.terms:
        present, codes = _present(fit, term)
        names = [term.levels[k] for k in present]
        columns[term.group] = pd.Categorical.from_codes(codes.tolist(), categories=names)
    return pd.DataFrame(columns, index=fit.model.design.observations[fit._seen])


def _rx(fit: LmmFit) -> np.ndarray:
    kept = estimated_columns(fit)
    unit = fit.fits._unit_vcov[fit.index][np.ix_(kept, kept)]
    return np.linalg.cholesky(np.linalg.inv(unit)).T if len(unit) else unit


def _lower(fit: LmmFit) -> np.ndarray:
    terms = fit.model.design.terms
    return np.array([0.0 if i == j else -np.inf for t in terms for i, j in triangle(t.n_columns)])


def _offset(fit: LmmFit) -> np.ndarray:
    offset = fit.model.design.offset
    return np.zeros(fit.n_obs) if offset is None else offset[fit._seen]


_PIECES: dict[str, Callable[[Any], Any]] = {
    "X": lambda fit: fit.model.design.X[fit._seen][:, estimated_columns(fit)],
    "Z": _z,
    "Zt": lambda fit: _z(fit).T,
    "y": lambda fit: np.array(fit.fits.raw_values[fit._seen, fit.index]),
    "theta": lambda fit: fit.theta,
    "beta": lambda fit: fit._beta[estimated_columns(fit)],
    "b": _b,
    "u": _u,
    "sigma": lambda fit: fit.sigma,
    "Lambda": _lambda,
    "Lambdat": lambda fit: _lambda(fit).T,
    "Tlist": relative_factors,
    "lower": _lower,
    "RX": _rx,
    "n": lambda fit: fit.n_obs,
    "p": lambda fit: int(estimated_columns(fit).sum()),
    "q": lambda fit: sum(len(present_levels(fit, t)) * t.n_columns for t in fit.model.design.terms),
    "l_i": lambda fit: np.array([len(present_levels(fit, t)) for t in fit.model.design.terms]),
    "p_i": lambda fit: np.array([t.n_columns for t in fit.model.design.terms]),
    "n_rtrms": lambda fit: len(fit.model.design.terms),
    "cnms": _cnms,
    "flist": _flist,
    "offset": _offset,
    "weights": row_weights,
}


def getme(fit: LmmFit, name: str) -> Any:
    """A piece of a fitted model by its name in lme4's ``getME``.

    Rows are the n observations used; columns of Z, entries of b and u and blocks of Lambda go
    term by term (decreasing number of levels), within a term level by level (levels with
    observations), effects fastest.

    Parameters
    ----------
    fit
        Fit of one response.
    name
        ``X`` (n, p), ``Z`` (n, q), ``Zt``: model matrices, dense.  ``y`` (n,), ``offset`` (n,),
        ``weights`` (n,).  ``beta`` (p,), ``theta``, ``sigma``.  ``b`` (q,) = Lambda u, in units
        of the response per unit of Z, and the spherical ``u`` (q,).  ``Lambda`` (q, q) and its
        transpose ``Lambdat``: Cov(b) = sigma^2 Lambda Lambda'.  ``n``, ``p``, ``q``,
        ``n_rtrms`` (number of terms), ``l_i`` and ``p_i`` (levels and effects of each).
        ``Tlist``: the (q, q) factor of each term; ``lower``: bounds of theta.  ``RX`` (p, p):
        upper triangular, RX'RX = X'V^-1 X per unit sigma^2.  ``cnms``: (group, effects) of
        each term.  ``flist``: DataFrame of the grouping factors.

    Returns
    -------
    ndarray, int, float, list or DataFrame

    Raises
    ------
    LmmError
        No piece has this name; the names are listed.
    ResponseError
        The response has no estimates.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import getme
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> getme(fit, "Z").shape, getme(fit, "theta").round(4).tolist()
    ((180, 36), [0.9667, 0.0152, 0.2309])
    """
    if name not in _PIECES:
        raise LmmError(f"no piece of a fit is called {name!r}; there are {', '.join(_PIECES)}")
    require_estimates(fit)
    return _PIECES[name](fit)
