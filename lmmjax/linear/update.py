"""Fits with one thing changed: :func:`update`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, overload

import pandas as pd

from lmmjax.design_rows import as_table
from lmmjax.errors import DroppedRowsWarning, FormulaError, LmmError, warn
from lmmjax.formula import ParsedFormula, parse_formula
from lmmjax.formula_nodes import Name, quote
from lmmjax.linear.fit import lm
from lmmjax.linear.formula_update import update_formula
from lmmjax.linear.refit import (
    check_stored,
    known_of,
    refit_stored,
    stored_response,
    stored_table,
    stored_weights,
)
from lmmjax.linear.results import LmFit
from lmmjax.lmm_fit import LmmFit
from lmmjax.single import lmer

__all__ = ["update", "update_formula"]

_LM_OPTIONS = ("weights", "na", "contrasts", "rank_deficient")
_LMER_OPTIONS = ("reml", "start", "sigma", "relmat", *_LM_OPTIONS)


@overload
def update(fit: LmFit, formula: str | None = None, data: Any = None, **changes: Any) -> LmFit: ...
@overload
def update(fit: LmmFit, formula: str | None = None, data: Any = None, **changes: Any) -> LmmFit: ...
def update(
    fit: LmFit | LmmFit,
    formula: str | None = None,
    data: pd.DataFrame | Mapping[str, Any] | None = None,
    **changes: Any,
) -> LmFit | LmmFit:
    """Fit again with another formula, other data or other options.

    Parameters
    ----------
    fit : LmFit or LmmFit
    formula : str, optional
        A change, see :func:`update_formula`: ``"~ . - Days"``, ``"log(.) ~ ."``. The response
        of ``fits[gene]`` is the column named like the gene.
    data : DataFrame or mapping, optional
        Default: the table of an `LmFit`, as it was given; of an `LmmFit` only the observations
        it uses, with the columns that its formula reads: a formula that adds another column
        needs ``data`` again. With ``fits[gene]`` the table need not hold the gene: its values
        are added by label.
    **changes
        Other arguments of ``lm`` or ``lmer``: ``weights``, ``na``, ``contrasts``,
        ``rank_deficient``, and ``reml``, ``start``, ``sigma`` and ``relmat`` of a mixed model.
        The others stay as they were, but for ``start``, which is not kept.

    Returns
    -------
    LmFit or LmmFit
        As `fit`.

    Raises
    ------
    FormulaError
        The new formula is none, or needs columns that an `LmmFit` has not stored: give ``data``.
    LmmError
        An unknown option; new data for a mixed model with weights, without new weights; or
        something that is not a fit.

    Warns
    -----
    DroppedRowsWarning
        A mixed model left out rows with missing values, and the new formula no longer reads all
        the columns of the old one: without ``data`` those rows stay out.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.linear import lm
    >>> fit = lm("Reaction ~ Days", lmmjax.datasets.load_sleepstudy())
    >>> update(fit, "log(.) ~ . + I(Days^2)").formula
    'log(Reaction) ~ Days + I(Days^2)'
    """
    if not isinstance(fit, LmFit | LmmFit):
        raise LmmError(f"update needs a fit by lm or lmer, not {type(fit).__name__}")
    known = _LM_OPTIONS if isinstance(fit, LmFit) else _LMER_OPTIONS
    unknown = [name for name in changes if name not in known]
    if unknown:
        raise LmmError(f"update does not take {', '.join(unknown)}; it takes {', '.join(known)}")
    old = fit.formula if isinstance(fit, LmFit) else _with_response(fit)
    text = old if formula is None else update_formula(old, formula)
    if isinstance(fit, LmFit):
        return _update_linear(fit, text, data, changes)
    return _update_mixed(fit, old, text, data, changes)


def _with_response(fit: LmmFit) -> str:
    """The formula with what was fitted on its left: a batch's names none, or another."""
    design = fit.model.design
    if design.parsed.response == str(fit.response):
        return fit.formula
    return f"{quote(str(fit.response))} ~{fit.formula.partition('~')[2]}"


def _update_linear(fit: LmFit, text: str, data: Any, changes: dict[str, Any]) -> LmFit:
    options = {**fit.options, **changes}
    weights = options["weights"]
    if data is None:
        data = fit.data
    elif "weights" not in changes and weights is not None and not isinstance(weights, str):
        raise _weights_needed()
    if "contrasts" not in changes:
        options["contrasts"] = _still_read(options["contrasts"], parse_formula(text))
    return lm(text, data, **options)


def _update_mixed(
    fit: LmmFit, before: str, text: str, data: Any, changes: dict[str, Any]
) -> LmmFit:
    design = fit.model.design
    old, parsed = parse_formula(before), parse_formula(text)
    options: dict[str, Any] = {"reml": fit.reml, **known_of(fit, text), **changes}
    if "contrasts" not in changes:
        options["contrasts"] = _still_read(design.spec.encoder.contrasts, parsed)
    if data is not None:
        if fit.fits.weights is not None and "weights" not in changes:
            raise _weights_needed()
        return lmer(text, _with_gene(fit, old, as_table(data)), **options)
    table = stored_table(fit)
    weights = changes.get("weights", stored_weights(fit))
    if isinstance(weights, str):
        if weights not in table.columns:
            raise FormulaError(f"the fit has not kept the column {weights!r}; give data= too")
        weights = table[weights]
    options["weights"] = weights
    check_stored(text, table)
    _warn_rows_stay_out(fit, parsed)
    if parsed.response == old.response:
        options.pop("na", None)  # nothing is missing in the observations used
        known = {name: options.pop(name) for name in ("sigma", "relmat")}
        return refit_stored(fit, text, options.pop("reml"), known=known, **options)
    if isinstance(old.response_node, Name):
        table = table.assign(**{old.response_node.name: stored_response(fit)})
    check_stored(text, table, response=True)
    return lmer(text, table, **options)


def _with_gene(fit: LmmFit, old: ParsedFormula, table: pd.DataFrame) -> pd.DataFrame:
    """The table with the response of a batch's fit, where it has that fit's observations."""
    name = str(fit.response)
    if old.text == fit.formula or name in table.columns:
        return table
    values = stored_response(fit)
    if not values.index.isin(table.index).all():
        return table
    return table.assign(**{name: values.reindex(table.index)})


def _still_read(contrasts: Mapping[str, Any] | None, parsed: ParsedFormula) -> dict[str, Any]:
    read_by = {name.name for name in parsed.columns}
    return {name: choice for name, choice in (contrasts or {}).items() if name in read_by}


def _warn_rows_stay_out(fit: LmmFit, parsed: ParsedFormula) -> None:
    old = {name.name for name in fit.model.design.parsed.columns}
    fewer = old - {name.name for name in parsed.columns}
    if fit.model.design.n_dropped and fewer:
        warn(
            f"update uses the {fit.n_obs} observations of the fit; rows that it left out because "
            "of missing values stay out: give data= to use them",
            DroppedRowsWarning,
        )


def _weights_needed() -> LmmError:
    return LmmError(
        "the fit has weights; with new data give weights= too (a column, one number per row, or "
        "None)"
    )
