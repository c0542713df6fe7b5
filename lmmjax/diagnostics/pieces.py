"""The pieces of a fitted model: model matrices, factors, random effects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from lmmjax.structure import triangle
from lmmjax.varcorr import term_factors

from .mixed_equations import estimated_columns, row_weights

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit
    from lmmjax.random_term import RandomTerm


def present_levels(fit: LmmFit, term: RandomTerm) -> np.ndarray:
    """Levels of a term that the response has observations of, positions.

    Where levels have a known covariance all count: the unobserved ones have effects too.
    """
    return present_codes(fit, term)[0]


def present_codes(fit: LmmFit, term: RandomTerm) -> tuple[np.ndarray, np.ndarray]:
    """Those levels, and which of them each observation used has."""
    codes = term.codes[fit._seen]
    if term.root is not None:
        return np.arange(term.n_levels), codes
    return np.unique(codes, return_inverse=True)


def relative_factors(fit: LmmFit) -> list[np.ndarray]:
    """Relative covariance factor of each term, (q, q)."""
    return [factor[0] for factor in term_factors(fit.fits.take([fit.index]), relative=True)]


def z_matrix(fit: LmmFit) -> np.ndarray:
    """Z of the levels with observations, (n, q), dense."""
    columns: list[np.ndarray] = [np.zeros((fit.n_obs, 0))]
    for term in fit.model.design.terms:
        present, codes = present_codes(fit, term)
        block = np.zeros((fit.n_obs, len(present), term.n_columns))
        block[np.arange(fit.n_obs), codes] = term.z[fit._seen]
        columns.append(block.reshape(fit.n_obs, -1))
    return np.concatenate(columns, axis=1)


def relative_factor(fit: LmmFit) -> np.ndarray:
    """Lambda, (q, q), known covariances between levels included."""
    pairs = zip(fit.model.design.terms, relative_factors(fit), strict=True)
    blocks = [
        np.kron(np.eye(len(present_levels(fit, t))) if t.root is None else t.root, factor)
        for t, factor in pairs
    ]
    return np.asarray(block_diag(*blocks)) if blocks else np.zeros((0, 0))


def stacked_modes(fit: LmmFit) -> np.ndarray:
    """Conditional modes b = Lambda u, (q,)."""
    pairs = zip(fit.model.design.terms, fit._modes.terms, strict=True)
    return np.concatenate([np.zeros(0), *(b[0][present_levels(fit, t)].ravel() for t, b in pairs)])


def spherical_modes(fit: LmmFit) -> np.ndarray:
    """Spherical random effects u, (q,)."""
    # not b / Lambda, which may be singular: the score equation (I + A'A) u = A'(y - X beta)
    pulled = row_weights(fit) * fit.residuals().to_numpy()
    parts = [np.zeros(0)]
    for term, factor in zip(fit.model.design.terms, relative_factors(fit), strict=True):
        present, codes = present_codes(fit, term)
        sums = np.zeros((len(present), term.n_columns))
        np.add.at(sums, codes, pulled[:, None] * term.z[fit._seen])
        if term.root is not None:
            sums = term.root.T @ sums
        parts.append((sums @ factor).ravel())
    return np.concatenate(parts)


def effects_by_term(fit: LmmFit) -> list[tuple[str, tuple[str, ...]]]:
    """Grouping factor and effects of each term."""
    return [(term.group, term.columns) for term in fit.model.design.terms]


def grouping_factors(fit: LmmFit) -> pd.DataFrame:
    """The grouping factors at the observations used."""
    columns = {}
    for term in fit.model.design.terms:
        present, codes = present_codes(fit, term)
        names = [term.levels[k] for k in present]
        columns[term.group] = pd.Categorical.from_codes(codes.tolist(), categories=names)
    return pd.DataFrame(columns, index=fit.model.design.observations[fit._seen])


def fixed_factor(fit: LmmFit) -> np.ndarray:
    """RX, (p, p) upper triangular: RX'RX = X'V^-1 X per unit sigma^2."""
    kept = estimated_columns(fit)
    unit = fit.fits._unit_vcov[fit.index][np.ix_(kept, kept)]
    return np.linalg.cholesky(np.linalg.inv(unit)).T if len(unit) else unit


def lower_bounds(fit: LmmFit) -> np.ndarray:
    """Bounds of theta as lme4 sets them."""
    terms = fit.model.design.terms
    return np.array([0.0 if i == j else -np.inf for t in terms for i, j in triangle(t.n_columns)])


def offset_used(fit: LmmFit) -> np.ndarray:
    """The offset at the observations used, zero if there is none."""
    offset = fit.model.design.offset
    return np.zeros(fit.n_obs) if offset is None else offset[fit._seen]
