"""The mixed-model equations of one response at its estimates, solved once, in plain NumPy.

With u = Lambda^-1 b the equations are

    M = [ Lambda'Z'WZ Lambda + I   Lambda'Z'WX ]
        [ X'WZ Lambda              X'WX        ]

and sigma^2 M^-1 is the joint covariance of the errors of (u, beta).  The levels of the
largest grouping factor are eliminated, so that they need no square matrix.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .modes import seen_cells
from .prepare import indicator_columns
from .varcorr import term_factors

if TYPE_CHECKING:
    from .random_term import RandomTerm
    from .results import FitBatch


@dataclass(frozen=True)
class Equations:
    """Blocks of M^-1.

    Attributes
    ----------
    factors
        Lambda (q, q) of each term, engine order.
    inverse
        (levels, q, q): inverse of the eliminated blocks of M.
    pulled
        (levels, q, r): ``inverse`` times the coupling with the rest, which is the dense random
        effects and, if asked for, the fixed effects.
    rest
        (r, r): inverse of the Schur complement of the rest.
    """

    factors: list[np.ndarray]
    inverse: np.ndarray
    pulled: np.ndarray
    rest: np.ndarray

    def quadratic(self, codes: np.ndarray, eliminated: np.ndarray, rest: np.ndarray) -> np.ndarray:
        """a' M^-1 a for N rows a: level and (N, q) entries there, (N, r) entries in the rest.

        Level -1 has no entries.
        """
        if eliminated.shape[1] == 0:
            return np.einsum("nr,rs,ns->n", rest, self.rest, rest, optimize=True)
        known = codes >= 0
        inverse, pulled = self.inverse[codes], self.pulled[codes]
        out = np.where(known, np.einsum("nq,nqk,nk->n", eliminated, inverse, eliminated), 0.0)
        left = rest - np.where(
            known[:, None], np.einsum("nq,nqr->nr", eliminated, pulled, optimize=True), 0.0
        )
        return out + np.einsum("nr,rs,ns->n", left, self.rest, left, optimize=True)


def solve_equations(fits: FitBatch, index: int, fixed: bool) -> Equations:
    """Equations of one response; without ``fixed``, beta is taken as known."""
    model, design = fits.model, fits.model.design
    layout = model.layout
    seen = seen_cells(fits, np.array([index]))[:, 0]
    weight = seen.astype(float)
    if fits.weights is not None:
        weight = np.where(seen, fits.weights[:, index], 0.0)
    engine = [design.terms[k] for k in model.order.engine_terms]
    by_term = term_factors(fits.take([index]), relative=True)
    factors = [by_term[k][0] for k in model.order.engine_terms]
    scaled = [term.z @ factor for term, factor in zip(engine, factors, strict=True)]
    first = len(layout.eliminated)
    dense = scatter(model.n, engine[first:], scaled[first:], [t.codes for t in engine[first:]])
    if fixed:  # coefficients without an estimate are zero and known
        used = ~np.isnan(fits._beta[index])
        dense = np.concatenate([dense, design.X[:, used]], axis=1)
    system = dense.T @ (weight[:, None] * dense)
    random = np.arange(layout.n_dense)
    system[random, random] += 1.0
    r = system.shape[0]
    if not first:
        return Equations(factors, np.zeros((0, 0, 0)), np.zeros((0, 0, r)), np.linalg.inv(system))
    levels, q = engine[0].n_levels, layout.q
    zl, codes = np.concatenate(scaled[:first], axis=1), engine[0].codes
    own = np.tile(np.eye(q), (levels, 1, 1))
    np.add.at(own, codes, weight[:, None, None] * zl[:, :, None] * zl[:, None])
    cross = np.zeros((levels, q, r))
    for column in range(q):
        np.add.at(cross[:, column], codes, (weight * zl[:, column])[:, None] * dense)
    inverse = np.linalg.inv(own)
    pulled = inverse @ cross
    system -= np.einsum("lqi,lqj->ij", cross, pulled, optimize=True)
    return Equations(factors, inverse, pulled, np.linalg.inv(system))


def scatter(
    count: int, terms: list[RandomTerm], values: list[np.ndarray], codes: list[np.ndarray]
) -> np.ndarray:
    """(count, columns) rows of the dense terms: (count, q) values at each row's level.

    Level -1 has no columns.
    """
    blocks = [
        indicator_columns(value, code, term.n_levels, term.root)
        for term, value, code in zip(terms, values, codes, strict=True)
    ]
    return np.concatenate([np.zeros((count, 0)), *blocks], axis=1)
