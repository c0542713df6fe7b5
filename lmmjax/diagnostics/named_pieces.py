"""The pieces of a fitted model by the names that lme4 gives them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from lmmjax.errors import LmmError

from .mixed_equations import estimated_columns, require_estimates, row_weights
from .pieces import (
    effects_by_term,
    fixed_factor,
    grouping_factors,
    lower_bounds,
    offset_used,
    present_levels,
    relative_factor,
    relative_factors,
    spherical_modes,
    stacked_modes,
    z_matrix,
)
from .pieces_layout import (
    cross_factor,
    deviance_components,
    level_rows,
    model_matrices,
    ratio_factors,
    term_offsets,
    theta_index,
    theta_offsets,
)

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit


def _terms(fit: LmmFit) -> Any:
    return fit.model.design.terms


_PIECES: dict[str, Callable[[Any], Any]] = {
    "X": lambda fit: fit.model.design.X[fit._seen][:, estimated_columns(fit)],
    "Z": z_matrix,
    "Zt": lambda fit: z_matrix(fit).T,
    "y": lambda fit: np.array(fit.fits.raw_values[fit._seen, fit.index]),
    "theta": lambda fit: fit.theta,
    "beta": lambda fit: fit._beta[estimated_columns(fit)],
    "b": stacked_modes,
    "u": spherical_modes,
    "sigma": lambda fit: fit.sigma,
    "Lambda": relative_factor,
    "Lambdat": lambda fit: relative_factor(fit).T,
    "Tlist": relative_factors,
    "lower": lower_bounds,
    "RX": fixed_factor,
    "n": lambda fit: fit.n_obs,
    "p": lambda fit: int(estimated_columns(fit).sum()),
    "q": lambda fit: sum(len(present_levels(fit, t)) * t.n_columns for t in fit.model.design.terms),
    "l_i": lambda fit: np.array([len(present_levels(fit, t)) for t in fit.model.design.terms]),
    "p_i": lambda fit: np.array([t.n_columns for t in fit.model.design.terms]),
    "n_rtrms": lambda fit: len(fit.model.design.terms),
    "cnms": effects_by_term,
    "flist": grouping_factors,
    "offset": offset_used,
    "weights": row_weights,
    "fixef": lambda fit: fit.fixef.dropna(),
    "mu": lambda fit: fit.fitted().to_numpy(),
    "REML": lambda fit: int(estimated_columns(fit).sum()) if fit.reml else 0,
    "is_REML": lambda fit: fit.reml,
    "N": lambda fit: fit.n_obs,
    "k": lambda fit: len(_terms(fit)),
    "m": lambda fit: len(fit.theta),
    "m_i": lambda fit: np.diff(theta_offsets(fit)),
    "q_i": lambda fit: np.diff(term_offsets(fit)),
    "n_rfacs": lambda fit: len({term.group for term in _terms(fit)}),
    "Gp": term_offsets,
    "Tp": theta_offsets,
    "Lind": theta_index,
    "ST": ratio_factors,
    "Ztlist": level_rows,
    "mmList": model_matrices,
    "RZX": cross_factor,
    "devcomp": deviance_components,
}


def getme(fit: LmmFit, name: str | Iterable[str]) -> Any:
    """Pieces of a fitted model by their names in lme4's ``getME``.

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

        ``fixef``: Series; ``mu`` (n,): fitted values; ``is_REML``, and ``REML``: p, or 0 by ML.
        ``N`` = n; ``k`` = ``n_rtrms``; ``n_rfacs`` grouping factors; ``m`` entries of theta,
        ``m_i`` of each term; ``q_i`` columns of Z of each term.  ``Gp`` and ``Tp``: where the
        terms' columns of Z and entries of theta begin, and the end.  ``Lind``: positions in
        theta (from 0) of the entries of Lambda, row by row.  ``ST``: S on the diagonal and T
        below it of each term's factor T S.  ``Ztlist``: for each effect its rows of Z'.
        ``mmList``: the (n, effects) model matrix of each term.  ``RZX`` (q, p): in the order
        of u, where lme4 permutes the rows of several terms.  ``devcomp``: dict of ``cmp`` and
        ``dims``.

        Several names give a dict, ``"ALL"`` every piece.

    Returns
    -------
    ndarray, int, float, bool, list, dict, Series or DataFrame

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
    if name == "ALL":
        name = list(_PIECES)
    if not isinstance(name, str) and isinstance(name, Iterable):
        return {one: getme(fit, one) for one in name}
    if not isinstance(name, str) or name not in _PIECES:
        raise LmmError(f"no piece of a fit is called {name!r}; there are {', '.join(_PIECES)}")
    require_estimates(fit)
    return _PIECES[name](fit)
