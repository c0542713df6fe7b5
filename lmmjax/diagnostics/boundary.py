"""What of a fit is on the boundary, by name, and the simpler model to take instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lmmjax.varcorr import term_factors

from .pieces import present_levels

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit
    from lmmjax.random_term import RandomTerm

#: Relative size of a zero: that of ``FitBatch.singular``.
ZERO = 1e-4
#: With fewer levels a variance of zero is no surprise.
FEW_LEVELS = 6


def _scaled_factors(fit: LmmFit) -> list[np.ndarray]:
    """Lambda of each term in units in which 1 is the size of the residuals."""
    weight = 1.0
    if fit.fits.weights is not None:
        own = fit.fits.weights[:, fit.index]
        weight = float(np.mean(own[own > 0]))
    factors = term_factors(fit.fits.take([fit.index]), relative=True)
    pairs = zip(fit.model.design.terms, factors, strict=True)
    return [np.sqrt(np.mean(t.z**2, axis=0) * weight)[:, None] * f[0] for t, f in pairs]


def on_boundary(fit: LmmFit) -> list[tuple[str, str]]:
    """Names of what is on the boundary, each with a remedy."""
    found = []
    for term, factor in zip(fit.model.design.terms, _scaled_factors(fit), strict=True):
        flat = int(np.sum(np.abs(np.diag(factor)) < ZERO))
        if flat:
            found += _of_term(term, factor, flat)
    return found


def _of_term(term: RandomTerm, factor: np.ndarray, flat: int) -> list[tuple[str, str]]:
    bar, size = f"({term.label})", np.linalg.norm(factor, axis=1)
    zero = size < ZERO
    if zero.all():
        return [
            (
                f"variance of {bar} is zero" if len(zero) == 1 else f"variances of {bar} are zero",
                f"drop {bar}: the model without it has the same likelihood (keep it only if the "
                "design calls for it)",
            )
        ]
    found = []
    for name in np.array(term.columns)[zero]:
        found.append(
            (
                f"variance of {name} in {bar} is zero",
                f"take the random effect {name} out of {bar}",
            )
        )
    left = np.flatnonzero(~zero)
    unexplained = flat - int(zero.sum())
    for at, j in enumerate(left):
        for i in left[at + 1 :]:
            correlation = factor[i] @ factor[j] / (size[i] * size[j])
            if 1.0 - abs(correlation) < ZERO and unexplained > 0:
                unexplained -= 1
                found.append(
                    (
                        f"correlation of {term.columns[j]} and {term.columns[i]} in {bar} is "
                        f"{'+' if correlation > 0 else '-'}1",
                        f"give {bar} fewer random effects: drop {term.columns[i]}, or make them "
                        f"independent with ({term.lhs} || {term.group})",
                    )
                )
    if unexplained > 0:
        rank = len(size) - flat
        found.append(
            (
                f"covariance matrix of {bar} has rank {rank} of {len(size)}",
                f"give {bar} at most {rank} random effects "
                "(lmmjax.diagnostics.repca shows the directions), or make them independent",
            )
        )
    return found


def few_levels(fit: LmmFit) -> list[str]:
    """Remedies for grouping factors on the boundary that have few levels."""
    out, told = [], set()
    for term, factor in zip(fit.model.design.terms, _scaled_factors(fit), strict=True):
        levels = len(present_levels(fit, term))
        flat = np.any(np.abs(np.diag(factor)) < ZERO)
        if flat and levels < FEW_LEVELS and term.group not in told:
            told.add(term.group)
            out.append(
                f"{term.group} has {levels} levels, too few to measure a variance: more levels, "
                f"or {term.group} as a fixed effect"
            )
    return out
