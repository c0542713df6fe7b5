"""The stored observations of a mixed-model fit, fitted again with another formula."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from lmmjax.design import build_design
from lmmjax.design_rows import listed
from lmmjax.errors import FitWarning, FormulaError, LmmWarning, warn
from lmmjax.fit import check_single
from lmmjax.formula import parse_formula
from lmmjax.formula_functions import columns_read
from lmmjax.lmm_fit import LmmFit
from lmmjax.lmm_fit_arguments import start_theta
from lmmjax.model import Model

if TYPE_CHECKING:
    from collections.abc import Mapping


def stored_table(fit: LmmFit) -> pd.DataFrame:
    """The columns that the fit's right-hand side reads, at the observations of its response."""
    return fit.model.design.spec.table.loc[fit._seen]


def stored_response(fit: LmmFit) -> pd.Series:
    """The values fitted, offset included, by observation."""
    return fit._on_observations(fit.fits.raw_values[:, fit.index])


def stored_weights(fit: LmmFit) -> np.ndarray | None:
    """Prior weights of the observations of the response, or None."""
    weights = fit.fits.weights
    return None if weights is None else np.asarray(weights[fit._seen, fit.index], dtype=float)


def check_stored(formula: str, table: pd.DataFrame, response: bool = False) -> None:
    """Check that a formula reads columns of a table of stored ones only.

    Raises
    ------
    FormulaError
        It does not; the message names the columns and the remedy, ``data=``.
    """
    parsed = parse_formula(formula)
    wanted = [name.name for name in parsed.columns]
    if response and parsed.response_node is not None:
        wanted += [name.name for name in columns_read(parsed.response_node)]
    missing = [name for name in wanted if name not in table.columns]
    if missing:
        have = listed([str(c) for c in table.columns], 8) or "none"
        raise FormulaError(
            f"the fit keeps the columns that its formula reads ({have}), and {formula!r} also "
            f"needs {listed(missing)}; give the table as data="
        )


def refit_stored(
    fit: LmmFit,
    formula: str,
    reml: bool,
    *,
    weights: Any,
    contrasts: Mapping[str, Any] | None = None,
    rank_deficient: str = "drop",
    quiet: bool = False,
    known: Mapping[str, Any] | None = None,
    start: Any = None,
) -> LmmFit:
    """Fit the stored values of a response with another right-hand side.

    Parameters
    ----------
    fit : LmmFit
    formula : str
        Its right-hand side reads columns that the fit has stored; the left-hand side is a label.
    reml : bool
    weights
        As :func:`lmmjax.lmer`: one per observation of the response, or None.
    contrasts
        Coding of factors; default: that of the fit.
    rank_deficient : {"drop", "error"}
    quiet : bool
        Leave out warnings about the design, given when the fit was made.
    known : mapping, optional
        ``sigma`` and ``relmat``; default: what the fit takes as known.
    start
        theta (k,) to start from, as :func:`lmmjax.lmer`.

    Returns
    -------
    LmmFit

    Raises
    ------
    FormulaError
        A column is not stored.
    ResponseError, DesignError, ...
        As :func:`lmmjax.lmer`.

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data)
    >>> refit_stored(fit, "Reaction ~ 1 + (1 | Subject)", True, weights=None).n_obs
    180
    """
    table, response = stored_table(fit), stored_response(fit)
    check_stored(formula, table)
    if contrasts is None:
        read = {name.name for name in parse_formula(formula).columns}
        own = fit.model.design.spec.encoder.contrasts
        contrasts = {name: choice for name, choice in own.items() if name in read}
    with warnings.catch_warnings():
        if quiet:
            warnings.simplefilter("ignore", LmmWarning)
        design = build_design(
            formula, table, rank_deficient=rank_deficient, contrasts=dict(contrasts),
            **(known_of(fit, formula) if known is None else known),
        )  # fmt: skip
    design = replace(design, response=response.to_numpy(), response_name=str(fit.response))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FitWarning)  # of a batch of one: said by the status
        fits = Model(design, design.observations).fit(
            response, reml=reml, weights=weights, progress=False, start=start_theta(start)
        )
    old = stored_weights(fit)
    own = old is not None and weights is not None and np.array_equal(weights, old)
    result = LmmFit(fits, 0, fit.weights_label if own else getattr(weights, "name", None))
    check_single(result.status, str(result.response))
    if not result.converged:
        told = f"{result.response}, {formula!r}: {result.status.meaning}"
        warn(told, FitWarning)
    return result


def known_of(fit: LmmFit, formula: str) -> dict[str, Any]:
    """What a fit takes as known, ``sigma`` and ``relmat``, of the grouping factors of a formula."""
    groups = {bar.group_label for bar in parse_formula(formula).bars}
    tables = fit.model.design.relationships
    kept = {group: table for group, table in tables.items() if group in groups}
    return {"sigma": fit.model.design.sigma, "relmat": kept}
