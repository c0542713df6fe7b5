"""How lme4 lays out a model: where terms and parameters stand, what the criterion is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import solve_triangular

from lmmjax.structure import triangle

from .mixed_equations import estimated_columns, row_weights
from .pieces import (
    fixed_factor,
    present_codes,
    present_levels,
    relative_factor,
    relative_factors,
    spherical_modes,
    z_matrix,
)

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit


def term_offsets(fit: LmmFit) -> np.ndarray:
    """Where the columns of Z of each term begin, and their number: lme4's ``Gp``."""
    terms = fit.model.design.terms
    sizes = [len(present_levels(fit, term)) * term.n_columns for term in terms]
    return np.cumsum([0, *sizes])


def theta_offsets(fit: LmmFit) -> np.ndarray:
    """Where the entries of theta of each term begin, and their number: lme4's ``Tp``."""
    sizes = [t.n_columns * (t.n_columns + 1) // 2 for t in fit.model.design.terms]
    return np.cumsum([0, *sizes])


def theta_index(fit: LmmFit) -> np.ndarray:
    """Positions in theta of the entries of Lambda, row by row: lme4's ``Lind`` minus one."""
    out = [np.zeros(0, dtype=int)]
    for term, first in zip(fit.model.design.terms, theta_offsets(fit)[:-1], strict=True):
        by_row = sorted(enumerate(triangle(term.n_columns)), key=lambda item: item[1])
        block = [first + position for position, _ in by_row]
        out.append(np.tile(block, len(present_levels(fit, term))))
    return np.concatenate(out)


def ratio_factors(fit: LmmFit) -> list[np.ndarray]:
    """S on the diagonal and the unit triangular T below it, per term: lme4's ``ST``."""
    out = []
    for factor in relative_factors(fit):
        scale = np.diagonal(factor)
        with np.errstate(divide="ignore", invalid="ignore"):
            unit = np.where(scale > 0, factor / scale, 0.0)
        out.append(np.tril(unit, -1) + np.diag(scale))
    return out


def level_rows(fit: LmmFit) -> dict[str, np.ndarray]:
    """Rows of Z' of each effect, (levels, n) each: lme4's ``Ztlist``."""
    out = {}
    for term in fit.model.design.terms:
        present, codes = present_codes(fit, term)
        for column, name in enumerate(term.columns):
            rows = np.zeros((len(present), fit.n_obs))
            rows[codes, np.arange(fit.n_obs)] = term.z[fit._seen, column]
            out[f"{term.group}.{name}"] = rows
    return out


def model_matrices(fit: LmmFit) -> dict[str, np.ndarray]:
    """Model matrix of the left-hand side of each term, (n, effects): lme4's ``mmList``."""
    return {term.label: term.z[fit._seen] for term in fit.model.design.terms}


def _scaled(fit: LmmFit) -> tuple[np.ndarray, np.ndarray]:
    """A = W^(1/2) Z Lambda, (n, q), and the lower Cholesky factor of A'A + I."""
    a = np.sqrt(row_weights(fit))[:, None] * (z_matrix(fit) @ relative_factor(fit))
    return a, np.linalg.cholesky(a.T @ a + np.eye(a.shape[1]))


def cross_factor(fit: LmmFit) -> np.ndarray:
    """L^-1 A'W^(1/2) X with L L' = A'A + I, (q, p): lme4's ``RZX``, rows in the order of u."""
    a, lower = _scaled(fit)
    x = fit.model.design.X[fit._seen][:, estimated_columns(fit)]
    x = np.sqrt(row_weights(fit))[:, None] * x
    return solve_triangular(lower, a.T @ x, lower=True) if len(lower) else np.zeros((0, x.shape[1]))


def deviance_components(fit: LmmFit) -> dict[str, Mapping[str, float]]:
    """Components of the criterion and dimensions of the model: lme4's ``devcomp``."""
    n, p = fit.n_obs, int(estimated_columns(fit).sum())
    wrss = float(np.sum(row_weights(fit) * fit.residuals().to_numpy() ** 2))
    ussq = float(np.sum(spherical_modes(fit) ** 2))
    pwrss, missing = wrss + ussq, float("nan")
    cmp = {
        "ldL2": 2.0 * float(np.sum(np.log(np.diagonal(_scaled(fit)[1])))),
        "ldRX2": 2.0 * float(np.sum(np.log(np.diagonal(fixed_factor(fit))))),
        "wrss": wrss,
        "ussq": ussq,
        "pwrss": pwrss,
        "drsum": missing,
        "REML": fit.objective if fit.reml else missing,
        "dev": missing if fit.reml else fit.objective,
        "sigmaML": float(np.sqrt(pwrss / n)),
        "sigmaREML": float(np.sqrt(pwrss / (n - p))),
    }
    dims = {
        "N": n, "n": n, "p": p, "nmp": n - p, "q": int(term_offsets(fit)[-1]),
        "nth": len(fit.theta), "useSc": 1, "reTrms": len(fit.model.design.terms), "spFe": 0,
        "REML": p if fit.reml else 0, "GLMM": 0, "NLMM": 0,
    }  # fmt: skip
    return {"cmp": cmp, "dims": dims}
