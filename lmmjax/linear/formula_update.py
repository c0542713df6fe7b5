"""Formulas changed by others, in which ``.`` stands for what was there: :func:`update_formula`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lmmjax.errors import FormulaError
from lmmjax.formula import parse_formula
from lmmjax.formula_functions import columns_read
from lmmjax.formula_nodes import Call, Name, Node, Operation, Paren, deparse, quote, strip_parens
from lmmjax.formula_syntax import read
from lmmjax.formula_terms import expand, signed_parts


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


def all_columns(formula: str, columns: Iterable[str]) -> str:
    """A formula with ``.`` on its right-hand side written out: all columns but the response's.

    Parameters
    ----------
    formula : str
    columns : iterable of str
        Of the table.

    Raises
    ------
    FormulaError
        There are no other columns.

    Examples
    --------
    >>> all_columns("y ~ . - b", ["y", "a", "b", "c d"])
    'y ~ a + `c d`'
    """
    response, right = read(formula)
    if not _has_dot(right):
        return formula
    used = {name.name for name in columns_read(response)} if response is not None else set()
    others = [name for name in columns if name not in used]
    if not others:
        raise FormulaError(f"{formula!r} has '.', and the table has no columns but the response's")
    _, everything = read("~ " + " + ".join(map(quote, others)))
    left = "" if response is None else f"{deparse(strip_parens(response))} "
    return left + _written(_substitute(right, everything, formula))


def _has_dot(node: Node) -> bool:
    nodes = [node]
    while nodes:  # no recursion: a sum of many terms is deep
        match nodes.pop():
            case Name(name=".", quoted=False):
                return True
            case Paren(inner=inner):
                nodes.append(inner)
            case Call(args=args, keywords=keywords):
                nodes += [*args, *(value for _, value in keywords)]
            case Operation(left=left, right=right):
                nodes += [right] if left is None else [left, right]
    return False


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
