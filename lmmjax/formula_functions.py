"""The functions a formula may call, what arguments they take, and which columns they read.

A formula may come from a configuration file, so nothing in it is ever executed: a call is checked
here against a fixed list, argument by argument, and computed by :mod:`lmmjax.formula_evaluate`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from lmmjax.formula_nodes import (
    COMPARISONS,
    Call,
    Name,
    Node,
    Number,
    Operation,
    Paren,
    Text,
    fail,
)
from lmmjax.formula_nodes import strip_parens as inside

# Parameters as "name:kind"; the first is the data. Kinds: expression (arithmetic on columns),
# column (to be made a factor), count (whole number from 1), number, flag (TRUE/FALSE),
# numbers (one or c(...)), labels (text or numbers, one or c(...)), contrast.
_SIGNATURES = {
    **dict.fromkeys(("log2", "log10", "log1p", "exp", "expm1", "sqrt", "abs", "I"), "x:expression"),
    "log": "x:expression base:number",
    "center": "x:expression",
    "scale": "x:expression center:flag scale:flag",
    "poly": "x:expression degree:count raw:flag",
    "bs": "x:expression df:count knots:numbers degree:count intercept:flag",
    **dict.fromkeys(("cs", "cr", "cc"), "x:expression df:count knots:numbers"),
    "ns": "x:expression df:count knots:numbers",
    **dict.fromkeys(("factor", "as.factor"), "x:column levels:labels"),
    "C": "x:column contrasts:contrast levels:labels",
}
FACTOR_FUNCTIONS = frozenset({"factor", "as.factor", "C"})
ALLOWED = tuple(sorted([*_SIGNATURES, "offset"], key=str.lower))

_CONTRASTS = {
    **dict.fromkeys(("Treatment", "contr.treatment", "treatment"), "treatment"),
    **dict.fromkeys(("Sum", "contr.sum", "sum"), "sum"),
    **dict.fromkeys(("Helmert", "contr.helmert", "helmert"), "helmert"),
    **dict.fromkeys(("Poly", "contr.poly", "poly"), "poly"),
}
_FLAGS = {"TRUE": True, "True": True, "T": True, "FALSE": False, "False": False, "F": False}
_MAX_COUNT = 1_000
_ARITHMETIC = ("+", "-", "*", "/", "^", *COMPARISONS)


@dataclass(frozen=True)
class ContrastChoice:
    """A coding of a factor by name (treatment, sum, helmert, poly) and, perhaps, its reference.

    The reference is a level's label, or its number, from 1.
    """

    kind: str = "treatment"
    reference: str | int | None = None


@cache
def _parameters(function: str) -> dict[str, str]:
    pairs = (item.split(":") for item in _SIGNATURES[function].split())
    return {name: kind for name, kind in pairs}


def contrast_kind(name: str) -> str | None:
    """``"sum"`` for ``Sum``, ``contr.sum`` and ``sum``; None for a name that is no contrast."""
    return _CONTRASTS.get(name)


def arguments(call: Call) -> dict[str, object]:
    """Arguments of a checked call by parameter name: the data as a node, the others as values.

    Raises
    ------
    FormulaError
        If the function is not allowed or an argument is not what the function takes.

    Examples
    --------
    >>> from lmmjax.formula_syntax import read
    >>> arguments(read("~ poly(x, 2, raw = TRUE)")[1])["degree"]
    2
    """
    if call.function not in _SIGNATURES:
        _fail_unknown(call)
    parameters = _parameters(call.function)
    names = list(parameters)
    if len(call.args) > len(names):
        fail(call.args[len(names)].position, f"too many arguments for {call.function}()")
    bound: dict[str, Node] = dict(zip(names, call.args, strict=False))
    for key, node in call.keywords:
        name = {"include_intercept": "intercept", "contr": "contrasts"}.get(key, key)
        if name not in parameters or name in bound:
            fail(node.position, f"{call.function}() does not take {key!r} here; it takes "
                 + ", ".join(names))  # fmt: skip
        bound[name] = node
    if "x" not in bound:
        fail(call.position, f"{call.function}() needs a column")
    return {name: _value(node, parameters[name], call) for name, node in bound.items()}


def _fail_unknown(call: Call) -> None:
    if call.function == "offset":
        fail(call.position, "offset() has to be a term of its own")
    last_part = call.function.rpartition(".")[2]
    close = difflib.get_close_matches(last_part, _SIGNATURES, n=1, cutoff=0.6)
    hint = f"did you mean {close[0]}()? " if close else ""
    fail(
        call.position,
        f"the function {call.function}() is not allowed in a formula; {hint}"
        f"allowed are {', '.join(ALLOWED)}",
    )


def _value(node: Node, kind: str, call: Call) -> object:
    stripped = inside(node)
    where = f"in {call.function}()"
    if kind == "expression":
        check_expression(node)
        return node
    if kind == "column":
        if not isinstance(stripped, Name):
            fail(node.position, f"a column name is needed {where}")
        return stripped
    if kind == "flag":
        if not isinstance(stripped, Name) or stripped.name not in _FLAGS or stripped.quoted:
            fail(node.position, f"TRUE or FALSE is needed {where}")
        return _FLAGS[stripped.name]
    if kind == "contrast":
        return _contrast(stripped, where)
    if kind in ("numbers", "labels"):
        items = (stripped,)
        if isinstance(stripped, Call) and stripped.function == "c" and not stripped.keywords:
            items = stripped.args
        if kind == "numbers":
            return tuple(_number(item, where) for item in items)
        return tuple(_label(item, where) for item in items)
    number = _number(stripped, where)
    if kind == "count":
        if number != int(number) or not 1 <= number <= _MAX_COUNT:
            fail(node.position, f"a whole number from 1 to {_MAX_COUNT} is needed {where}")
        return int(number)
    return number


def _number(node: Node, where: str) -> float:
    node, sign = inside(node), 1.0
    if isinstance(node, Operation) and node.left is None:
        sign = -1.0 if node.symbol == "-" else 1.0
        node = inside(node.right)
    if not isinstance(node, Number):
        fail(node.position, f"a number is needed {where}")
    return sign * node.value


def _label(node: Node, where: str) -> str:
    if isinstance(node, Text):
        return node.value
    return format(_number(node, where), ".15g")


def _contrast(node: Node, where: str) -> ContrastChoice:
    function = node.function if isinstance(node, Call) else getattr(node, "name", None)
    kind = contrast_kind(function) if function else None
    if kind is None:
        fail(node.position, f"Treatment, Sum, Helmert or Poly is needed {where}")
    if not isinstance(node, Call) or not (node.args or node.keywords):
        return ContrastChoice(kind)
    given = [*node.args, *(value for key, value in node.keywords if key in ("reference", "base"))]
    if kind != "treatment" or len(given) != 1 or len(node.args) + len(node.keywords) != 1:
        fail(node.position, 'write a reference level as Treatment("level")')
    level = inside(given[0])
    if function != "contr.treatment" or isinstance(level, Text):
        return ContrastChoice(kind, _label(level, where))
    if node.args:  # in R the number of levels
        fail(level.position, "write base = 2 for the second level, or its label in quotes")
    number = _number(level, where)
    if number != int(number) or number < 1:
        fail(level.position, f"the number of a level, from 1, is needed {where}")
    return ContrastChoice(kind, int(number))


def check_expression(node: Node) -> None:
    """Check that a tree is arithmetic on columns, numbers and allowed numeric functions."""
    match node:
        case Name() | Number():
            return
        case Paren(inner=inner):
            check_expression(inner)
        case Operation(symbol=symbol, left=left, right=right) if symbol in _ARITHMETIC:
            if left is not None:
                check_expression(left)
            check_expression(right)
        case Operation(position=position, symbol=symbol):
            fail(
                position,
                f"{symbol!r} is not arithmetic; only + - * / ^ and comparisons are, inside a "
                "function",
            )
        case Call(function=function, position=position):
            if function in FACTOR_FUNCTIONS:
                fail(position, f"{function}() makes a factor, which cannot be computed with")
            arguments(node)
        case Text(position=position):
            fail(position, "quoted text cannot be computed with; put a column name in backticks")


def check_term_variable(node: Node) -> None:
    """Check one variable of a term: a column, or an allowed call."""
    if isinstance(node, Call):
        arguments(node)


def is_logical(node: Node) -> bool:
    """Whether a variable is a comparison, ``I(x > 0)``: R makes a factor of it."""
    while isinstance(node, Paren) or (isinstance(node, Call) and node.function == "I"):
        node = node.inner if isinstance(node, Paren) else node.args[0]
    return isinstance(node, Operation) and node.symbol in COMPARISONS


def columns_read(node: Node) -> Iterator[Name]:
    """The columns a checked expression reads, in order (contrast names are no columns)."""
    match node:
        case Name():
            yield node
        case Paren(inner=inner):
            yield from columns_read(inner)
        case Operation(left=left, right=right):
            if left is not None:
                yield from columns_read(left)
            yield from columns_read(right)
        case Call():
            data = arguments(node)["x"]
            if isinstance(data, Name | Number | Call | Paren | Operation):
                yield from columns_read(data)
        case _:
            return
