"""Nodes of a formula's tree, and the tree's text as R's ``deparse`` writes it.

Names of coefficients and terms are made from this text. Positions are 0-based places in the
formula as it was given.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from lmmjax.errors import FormulaError

#: Operators that make 0 and 1, for arithmetic inside a function.
COMPARISONS = ("<", ">", "<=", ">=", "==", "!=")
_SYNTACTIC = re.compile(r"(?:[^\W\d_]|\.(?!\d))[\w.]*")


@dataclass(frozen=True)
class Number:
    """A numeric literal."""

    position: int
    text: str

    @property
    def value(self) -> float:
        return float(self.text)


@dataclass(frozen=True)
class Text:
    """A quoted string."""

    position: int
    value: str


@dataclass(frozen=True)
class Name:
    """A bare or backticked name: a column, or a constant of R such as ``TRUE``."""

    position: int
    name: str
    quoted: bool = False


@dataclass(frozen=True)
class Call:
    """``function(args, keyword = value)``."""

    position: int
    function: str
    args: tuple[Node, ...]
    keywords: tuple[tuple[str, Node], ...] = ()


@dataclass(frozen=True)
class Paren:
    """A parenthesised expression (kept, because names show it)."""

    position: int
    inner: Node


@dataclass(frozen=True)
class Operation:
    """``left symbol right``; ``left`` is None for a sign in front."""

    position: int
    symbol: str
    left: Node | None
    right: Node


Node = Number | Text | Name | Call | Paren | Operation


def fail(position: int, message: str) -> NoReturn:
    """Raise :class:`FormulaError` naming a position (0-based here, 1-based in the message)."""
    raise FormulaError(f"formula, at character {position + 1}: {message}")


def quote(name: str) -> str:
    """A column name as R writes it: in backticks if it is not a plain name."""
    return name if _SYNTACTIC.fullmatch(name) else f"`{name}`"


def deparse(node: Node) -> str:
    """The text of a tree as R writes it.

    Examples
    --------
    >>> deparse(Call(0, "log", (Name(4, "x"),), (("base", Number(6, "2.0")),)))
    'log(x, base = 2)'
    """
    match node:
        case Number(text=text):
            return format(float(text), ".15g")
        case Text(value=value):
            return f'"{value}"'
        case Name(name=name):
            return quote(name)
        case Call(function=function, args=args, keywords=keywords):
            parts = [deparse(a) for a in args] + [f"{k} = {deparse(v)}" for k, v in keywords]
            return f"{function}({', '.join(parts)})"
        case Paren(inner=inner):
            return f"({deparse(inner)})"
        case Operation(symbol=symbol, left=None, right=right):
            return f"{symbol}{deparse(right)}"
        case Operation():
            return _deparse_chain(node)


def _deparse_chain(node: Node) -> str:
    """Binary operations; a loop along the left, where a sum of many terms is deep."""
    parts: list[str] = []
    while isinstance(node, Operation) and node.left is not None:
        space = "" if node.symbol in ("^", ":", "/") else " "
        parts.append(f"{space}{node.symbol}{space}{deparse(node.right)}")
        node = node.left
    return deparse(node) + "".join(reversed(parts))


def strip_parens(node: Node) -> Node:
    """The node inside any number of parentheses."""
    while isinstance(node, Paren):
        node = node.inner
    return node
