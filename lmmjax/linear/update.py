"""Fits with one thing changed: :func:`update_formula` and :func:`update`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, overload

import pandas as pd

from lmmjax.errors import DroppedRowsWarning, FormulaError, LmmError, warn
from lmmjax.formula import ParsedFormula, parse_formula
from lmmjax.formula_nodes import Call, Name, Node, Operation, Paren, deparse, strip_parens
from lmmjax.formula_syntax import read
from lmmjax.formula_terms import expand, signed_parts
from lmmjax.linear.fit import lm
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

_LM_OPTIONS = ("weights", "na", "contrasts", "rank_deficient")
_LMER_OPTIONS = ("reml", "sigma", "relmat", *_LM_OPTIONS)


def update_formula(old: str, new: str) -> str:
    """A formula changed by another one, in which ``.`` stands for what was there.

    Parameters
    ----------
    old : str
        A formula of ``lm`` or ``lmer``.
    new : str
        Left of ``~``, ``.`` is the old response (a missing left-hand side keeps it); right of it,
        ``.`` is the old right-hand side. Terms are added by ``+`` and removed by ``-``, random
        effects and offsets too; random effects are compared by what they mean, so that
        ``- (Days | g)`` removes ``(1 + Days | g)``, and ``- (1 | g)`` takes the intercept out of
        ``(Days || g)``.

    Returns
    -------
    str
        The terms written out in R's order, as R's ``update.formula`` gives them; random effects
        follow the fixed ones.

    Raises
    ------
    FormulaError
        Not a formula; ``.`` for a response that the old formula lacks; or a random-effects term
        to be removed is not there. (As in R, removing a fixed term that is not there does nothing.)

    Examples
    --------
    >>> update_formula("Reaction ~ Days + (Days | Subject)", "log(.) ~ . - Days")
    'log(Reaction) ~ 1 + (Days | Subject)'
    >>> update_formula("y ~ x", "~ . * z + (1 | g)")
    'y ~ x + z + x:z + (1 | g)'
    """
    old_response, old_right = read(old)
    new_response, new_right = read(new)
    response = old_response
    if new_response is not None:
        response = _substitute(new_response, old_response, new)
    right = _substitute(new_right, old_right, new)
    text = _written(right)
    if response is not None:
        text = f"{deparse(strip_parens(response))} {text}"
    parse_formula(text)
    return text


def _substitute(node: Node, old: Node | None, text: str) -> Node:
    """The tree with ``.`` replaced; a compound replacement is put in parentheses."""
    match node:
        case Name(name=".", quoted=False):
            if old is None:
                raise FormulaError(f"{text!r} has '.' for a response, and there was none")
            return Paren(node.position, old) if isinstance(old, Operation) else old
        case Paren(position=position, inner=inner):
            return Paren(position, _substitute(inner, old, text))
        case Call(position=position, function=function, args=args, keywords=keywords):
            swapped = [strip_operation(_substitute(a, old, text)) for a in args]
            named = tuple((key, _substitute(value, old, text)) for key, value in keywords)
            return Call(position, function, tuple(swapped), named)
        case Operation(position=position, symbol=symbol, left=left, right=right):
            left = None if left is None else _substitute(left, old, text)
            return Operation(position, symbol, left, _substitute(right, old, text))
    return node


def strip_operation(node: Node) -> Node:
    """An argument needs no parentheses of its own."""
    return node.inner if isinstance(node, Paren) else node


@dataclass
class _Random:
    """Random-effects terms as written, with the pieces they stand for."""

    terms: list[tuple[str, dict[tuple[frozenset[str], frozenset[str]], str]]]

    @staticmethod
    def _pieces(part: Node) -> dict[tuple[frozenset[str], frozenset[str]], str]:
        bars = parse_formula(f"~ 1 + {deparse(part)}").bars
        return {
            (frozenset(t.label for t in bar.terms), frozenset(bar.group)): bar.text for bar in bars
        }

    def add(self, part: Node) -> None:
        pieces = self._pieces(part)
        there = {key for _, kept in self.terms for key in kept}
        if not set(pieces) <= there:
            self.terms.append((deparse(part), pieces))

    def remove(self, part: Node) -> None:
        gone = self._pieces(part)
        there = {key for _, kept in self.terms for key in kept}
        if not set(gone) <= there:
            have = ", ".join(text for text, _ in self.terms) or "none"
            raise FormulaError(
                f"there is no random-effects term {deparse(part)} to remove; the formula has {have}"
            )
        result = []
        for text, pieces in self.terms:
            left = {key: piece for key, piece in pieces.items() if key not in gone}
            if len(left) == len(pieces):
                result.append((text, pieces))
            else:
                result += [(piece, {key: piece}) for key, piece in left.items()]
        self.terms = result


def _written(right: Node) -> str:
    """``~`` and the terms of a right-hand side, expanded."""
    fixed: Node | None = None
    random, offsets = _Random([]), {}
    for sign, part in signed_parts(right):
        node = strip_parens(part)
        if isinstance(node, Operation) and node.symbol in ("|", "||"):
            (random.add if sign == "+" else random.remove)(part)
        elif isinstance(node, Call) and node.function == "offset":
            text = deparse(node)
            if sign == "+":
                offsets[text] = None
            else:
                offsets.pop(text, None)
        elif fixed is None and sign == "+":
            fixed = part
        else:
            fixed = Operation(part.position, sign, fixed, part)
    terms = expand(fixed)
    labels = [term.label for term in terms if term.variables]
    intercept = any(not term.variables for term in terms)
    if not labels:
        labels = ["1" if intercept else "0"]
    elif not intercept:
        offsets["- 1"] = None
    parts = [*labels, *(text for text, _ in random.terms), *offsets]
    return "~ " + " + ".join(parts).replace("+ - 1", "- 1")


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
        A change, see :func:`update_formula`: ``"~ . - Days"``, ``"log(.) ~ ."``.
    data : DataFrame or mapping, optional
        Default: the table of an `LmFit`, as it was given; of an `LmmFit` the observations it
        uses, with the columns that its formula reads.
    **changes
        Other arguments of ``lm`` or ``lmer``: ``weights``, ``na``, ``contrasts``,
        ``rank_deficient``, and ``reml`` of a mixed model. The others stay as they were.

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
    text = fit.formula if formula is None else update_formula(fit.formula, formula)
    if isinstance(fit, LmFit):
        return _update_linear(fit, text, data, changes)
    return _update_mixed(fit, text, data, changes)


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


def _update_mixed(fit: LmmFit, text: str, data: Any, changes: dict[str, Any]) -> LmmFit:
    design = fit.model.design
    parsed = parse_formula(text)
    options: dict[str, Any] = {"reml": fit.reml, **known_of(fit, text), **changes}
    if "contrasts" not in changes:
        options["contrasts"] = _still_read(design.spec.encoder.contrasts, parsed)
    if data is not None:
        if fit.fits.weights is not None and "weights" not in changes:
            raise _weights_needed()
        return lmer(text, data, **options)
    table, old = stored_table(fit), design.parsed
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
