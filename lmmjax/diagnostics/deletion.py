"""What deleting an observation, or a whole group, does to the fixed effects."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmmjax.errors import FitWarning, FormulaError

from .leverage import NOTHING_LEFT, leverages, require_fixed_effects
from .mixed_equations import CHUNK, MixedEquations, estimated_columns, mixed_equations

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit
    from lmmjax.results import FitBatch

#: A group with more observations is deleted by setting up the equations of the others.
LARGEST_BLOCK = 300
#: Cells of the response table of one batch of refits.
CELLS = 30_000_000


@dataclass(frozen=True)
class Influence:
    """Effect of each deletion on the fixed effects; :func:`influence` makes it.

    Attributes
    ----------
    group
        Grouping factor whose levels were deleted; None for single observations.
    refit
        Whether the model was refitted, or theta held.
    dfbeta
        Deletions x fixed effects: estimate without it minus estimate with it, units of the
        coefficients.
    cooks_distance
        (deletions,) dfbeta' vcov^-1 dfbeta / p, with vcov that of the full fit.
    refits
        Deletions x (``status``, ``sigma``, entries of theta) of the refits; None without.
    """

    group: str | None
    refit: bool
    dfbeta: pd.DataFrame
    cooks_distance: pd.Series
    std_errors: pd.Series = field(repr=False)
    refits: pd.DataFrame | None = field(default=None, repr=False)

    @property
    def dfbetas(self) -> pd.DataFrame:
        """dfbeta divided by the standard errors of the full fit."""
        return self.dfbeta / self.std_errors

    def table(self) -> pd.DataFrame:
        """dfbeta and ``cooks_distance`` side by side, most influential deletion first."""
        out = self.dfbeta.assign(cooks_distance=self.cooks_distance)
        return out.sort_values("cooks_distance", ascending=False, kind="stable")

    def __repr__(self) -> str:
        what = "observations" if self.group is None else f"levels of {self.group}"
        how = "refitted" if self.refit else "theta held"
        return f"Influence: {len(self.dfbeta)} {what}, {how}\n{self.table().head()}"


def influence(fit: LmmFit, group: str | None = None, refit: bool = False) -> Influence:
    """Leave-one-out changes of the fixed effects.

    Without ``refit``, theta is held and the change is exact: with V the covariance of the full
    fit, x* = V^-1 X and e = V^-1 (y - X beta), deleting the observations I takes
    x*_I' (V^-1_II)^-1 x*_I from the information X'V^-1 X and x*_I' (V^-1_II)^-1 e_I from the
    score (Christensen, Pearson and Johnson 1992, Technometrics 34, 38-45).  With ``refit`` all
    deletions are fitted anew, theta included, in one batch of responses.

    Cook's distance is the change of the p fixed effects in the metric of their covariance,
    divided by p.  lme4's ``cooks.distance(influence(fit, group))`` is (m - p) / m times that,
    m the number of deletions; the order is the same.

    Parameters
    ----------
    fit
        Fit of one response.
    group
        A grouping factor of the model: delete one level at a time.  Default: observations.
    refit
        Refit instead of holding theta; lme4's ``influence`` does.

    Returns
    -------
    Influence

    Raises
    ------
    ResponseError
        The response has no estimates.
    FormulaError
        The model has no such grouping factor.
    DesignError
        The model has no fixed effects.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import influence
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> influence(fit, "Subject").cooks_distance.nlargest(2).round(3).to_dict()
    {'309': 0.149, '335': 0.129}
    """
    equations = mixed_equations(fit)
    require_fixed_effects(fit, equations)
    labels, codes = _deletions(fit, group)
    estimated = np.flatnonzero(fit.model.design.fixed_kept)[estimated_columns(fit)]
    refits = None
    if refit:
        changes, refits = _refit_all(fit, codes, labels, estimated)
    else:
        moved = _single(equations) if group is None else _whole_levels(equations, codes)
        changes = np.linalg.solve(equations.transform, moved.T).T
    on_basis = changes @ equations.transform.T
    distance = np.sum((on_basis @ equations.information) * on_basis, axis=1)
    distance /= fit.sigma**2 * len(estimated)
    names = fit.fixef.index[estimated]
    return Influence(
        group,
        refit,
        pd.DataFrame(changes, index=labels, columns=names),
        pd.Series(distance, index=labels, name="cooks_distance"),
        pd.Series(fit.std_errors.to_numpy()[estimated], index=names),
        refits,
    )


def _deletions(fit: LmmFit, group: str | None) -> tuple[pd.Index, np.ndarray]:
    """Labels of the deletions, and which of them each observation used belongs to."""
    seen = fit._seen
    if group is None:
        return fit.model.design.observations[seen], np.arange(int(seen.sum()))
    for term in fit.model.design.terms:
        if term.group == group:
            present, codes = np.unique(term.codes[seen], return_inverse=True)
            return pd.Index([term.levels[k] for k in present], name=group), codes
    have = ", ".join(dict.fromkeys(repr(term.group) for term in fit.model.design.terms))
    raise FormulaError(
        f"{group!r} is not a grouping factor of {fit.formula!r}; it has {have or 'none'}"
    )


# ---- theta held --------------------------------------------------------------------------


def _single(equations: MixedEquations) -> np.ndarray:
    """Changes of the coefficients of the basis, one observation deleted at a time, (n, p)."""
    left = 1.0 - leverages(equations)
    # nothing left beside what V alone leaves: the observation alone determines a coefficient
    left[left <= NOTHING_LEFT * equations.precision.diagonal()] = np.nan
    x = equations.weighted_basis
    return -np.linalg.solve(equations.information, x.T).T * (equations.residual / left)[:, None]


def _whole_levels(equations: MixedEquations, codes: np.ndarray) -> np.ndarray:
    """The same, one level deleted at a time, (levels, p)."""
    total, p = codes.max() + 1, equations.basis.shape[1]
    left, score = np.empty((total, p, p)), np.empty((total, p))
    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes)
    starts = np.cumsum(counts) - counts
    for size in np.unique(counts):
        levels = np.flatnonzero(counts == size)
        rows = order[starts[levels, None] + np.arange(size)]
        if size > LARGEST_BLOCK:
            delete, step = _by_the_rest, 1
        else:
            delete = _by_the_deleted
            step = max(1, CHUNK // (size * (size + equations.precision.size)))
        for at in range(0, len(levels), step):
            part = levels[at : at + step]
            left[part], score[part] = delete(equations, rows[at : at + step])
    root = np.linalg.inv(np.linalg.cholesky(equations.information))
    enough = np.linalg.eigvalsh(root @ left @ root.T)[:, 0] > NOTHING_LEFT
    out = np.full((total, p), np.nan)
    out[enough] = np.linalg.solve(left[enough], score[enough, :, None])[:, :, 0]
    return out


def _by_the_deleted(equations: MixedEquations, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Information left (sets, p, p) and score at the old estimates without ``rows`` (sets, s)."""
    x, residual = equations.weighted_basis[rows], equations.residual[rows]
    pulled = np.linalg.solve(equations.precision.blocks(rows), x)
    return (
        equations.information - np.swapaxes(x, 1, 2) @ pulled,
        -np.einsum("ksp,ks->kp", pulled, residual),
    )


def _by_the_rest(equations: MixedEquations, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same for one large set, from the observations that stay."""
    kept = np.ones(len(equations.residual), dtype=bool)
    kept[rows[0]] = False
    basis = equations.basis[kept]
    solved = equations.precision.without(~kept).solve(basis)
    marginal = _marginal_residual(equations)[kept]
    return (basis.T @ solved)[None], (solved.T @ marginal)[None]


def _marginal_residual(equations: MixedEquations) -> np.ndarray:
    """sqrt(weight) (y - X beta), (n,): (I + A A') times the residual."""
    residual, precision = equations.residual, equations.precision
    own, shared = precision.columns, precision.shared
    return residual + own @ (own.T @ residual) + shared @ (shared.T @ residual)


# ---- refits ------------------------------------------------------------------------------


def _refit_all(
    fit: LmmFit, codes: np.ndarray, labels: pd.Index, estimated: np.ndarray
) -> tuple[np.ndarray, pd.DataFrame]:
    """Changes of the fixed effects (deletions, p), and what became of each refit."""
    model = fit.model
    total = len(labels)
    width = max(1, CELLS // len(model.samples))
    batches: list[FitBatch] = []
    used = np.flatnonzero(model.design.kept)[fit._seen]
    values = fit.fits.raw_values[fit._seen, fit.index]
    weights = None
    if fit.fits.weights is not None:
        weights = np.ones(len(model.samples))
        weights[used] = fit.fits.weights[fit._seen, fit.index]
    for start in range(0, total, width):
        count = min(width, total - start)
        table = np.full((len(model.samples), count), np.nan)
        table[used] = values[:, None]
        inside = (codes >= start) & (codes < start + count)
        table[used[inside], codes[inside] - start] = np.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FitWarning)  # the status of each is in the result
            batches.append(model.fit(table, reml=fit.reml, weights=weights, progress=False))
    fixef = np.concatenate([batch.fixef.to_numpy() for batch in batches])
    columns = {
        "status": np.concatenate([batch.status.to_numpy() for batch in batches]),
        "sigma": np.concatenate([batch.sigma.to_numpy() for batch in batches]),
    }
    theta = np.concatenate([batch.theta.to_numpy() for batch in batches])
    columns |= {name: theta[:, k] for k, name in enumerate(model.theta_names)}
    full = fit.fixef.to_numpy()
    return (fixef - full)[:, estimated], pd.DataFrame(columns, index=labels)
