"""Syntax of model formulas: text to a tree of nodes with positions, and back to text.

The grammar is R's formula language as lme4 uses it. Reading a formula evaluates nothing: the
tree holds names, numbers, quoted text, calls and operators, and every later stage works on it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from lmmjax.errors import FormulaError
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

MAX_LENGTH = 10_000
MAX_DEPTH = 50

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    |(?P<name>(?:[^\W\d]|\.(?!\d))[\w.]*)
    |(?P<quoted>`[^`]+`)
    |(?P<text>"[^"\\]*"|'[^'\\]*')
    |(?P<operator>%in%|\*\*|\|\||[<>=!]=|[~+\-*/:^|(),=<>])""",
    re.VERBOSE,
)

# Binary operators from loosest to tightest binding, as in R (a formula's `~` is split off first).
_LEVELS = (("|", "||"), COMPARISONS, ("+", "-"), ("*", "/"), ("%in%",), (":",))
_COMPARISON, _SUM = 1, 2


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    position: int


def _tokenize(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            fail(position, _why_not_allowed(text[position]))
        kind = match.lastgroup or ""
        if kind == "name" and match.group().startswith("__"):
            fail(position, f"the name {match.group()!r} is not allowed in a formula")
        if kind != "space":
            tokens.append(_Token(kind, match.group(), position))
        position = match.end()
    tokens.append(_Token("end", "end of the formula", len(text)))
    return tokens


def _why_not_allowed(character: str) -> str:
    if character in "{}[]":
        return f"{character!r} is not allowed: a formula holds columns and listed functions only"
    if character in "\"'`":
        return f"the quote {character} is not closed, is empty, or holds a backslash"
    return f"unexpected character {character!r}"


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens = _tokenize(text)
        self.next = 0
        self.depth = 0
        self.arithmetic = 0  # inside this many calls, or in the response

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def take(self) -> _Token:
        token = self.token
        self.next += 1
        return token

    def at(self, *symbols: str) -> bool:
        return self.token.kind == "operator" and self.token.text in symbols

    def expect(self, symbol: str, why: str) -> _Token:
        if not self.at(symbol):
            fail(self.token.position, f"expected {symbol!r} {why}, found {self.token.text!r}")
        return self.take()

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            fail(self.token.position, f"nested more than {MAX_DEPTH} levels deep")

    def formula(self) -> tuple[Node | None, Node]:
        self.arithmetic = 1
        response = None if self.at("~") else self.binary(0)
        self.arithmetic = 0
        if not self.at("~"):
            if self.token.kind == "end":
                fail(self.token.position, "a formula needs a '~', as in 'y ~ x + (1 | group)'")
            fail(self.token.position, f"unexpected {self.token.text!r}")
        self.take()
        fixed = self.binary(0)
        if self.token.kind != "end":
            what = "a second '~'" if self.at("~") else repr(self.token.text)
            fail(self.token.position, f"unexpected {what}")
        return response, fixed

    def binary(self, level: int) -> Node:
        if level == len(_LEVELS):
            return self.power()
        left = self.signed() if level == _SUM else self.binary(level + 1)
        length = 0
        while self.at(*_LEVELS[level]):
            operator = self.take()
            length += 1
            if level == _COMPARISON and not self.arithmetic:
                fail(operator.position, f"a comparison {operator.text!r} can stand inside I() only")
            if level == _COMPARISON and length > 1:
                fail(operator.position, "comparisons cannot be chained; multiply two of them")
            # sums of terms may be long: they are walked by loops, all else by recursion
            if length > MAX_DEPTH and (level != _SUM or self.arithmetic):
                fail(operator.position, f"more than {MAX_DEPTH} {operator.text!r} in a row")
            right = self.binary(level + 1)
            left = Operation(operator.position, operator.text, left, right)
        return left

    def signed(self) -> Node:
        if not self.at("+", "-"):
            return self.binary(_SUM + 1)
        sign = self.take()
        self.enter()
        inner = self.signed()
        self.depth -= 1
        return Operation(sign.position, sign.text, None, inner)

    def power(self) -> Node:
        if self.at("+", "-"):  # a sign inside a product: 2 * -x
            return self.signed()
        base = self.primary()
        if not self.at("^", "**"):
            return base
        operator = self.take()
        self.enter()
        exponent = self.power()
        self.depth -= 1
        return Operation(operator.position, "^", base, exponent)

    def primary(self) -> Node:
        token = self.take()
        if token.kind == "number":
            if math.isinf(float(token.text)):
                fail(token.position, f"{token.text} is too large; numbers have to be finite")
            return Number(token.position, token.text)
        if token.kind == "text":
            return Text(token.position, token.text[1:-1])
        if token.kind == "quoted":
            return Name(token.position, token.text[1:-1], quoted=True)
        if token.kind == "name":
            if self.at("("):
                return self.call(token)
            return Name(token.position, token.text)
        if token.text == "(" and token.kind == "operator":
            self.enter()
            inner = self.binary(0)
            self.expect(")", f"to close the '(' at character {token.position + 1}")
            self.depth -= 1
            return Paren(token.position, inner)
        fail(token.position, f"expected a column or a term, found {token.text!r}")

    def call(self, function: _Token) -> Call:
        self.take()
        self.enter()
        self.arithmetic += 1
        args: list[Node] = []
        keywords: list[tuple[str, Node]] = []
        while not self.at(")"):
            following = self.tokens[min(self.next + 1, len(self.tokens) - 1)]
            if self.token.kind == "name" and following.text == "=":
                key = self.take().text
                self.take()
                keywords.append((key, self.binary(0)))
            elif keywords:
                fail(self.token.position, "an unnamed argument follows a named one")
            else:
                args.append(self.binary(0))
            if not self.at(")"):
                self.expect(",", f"or ')' in the call of {function.text}()")
        self.take()
        self.depth -= 1
        self.arithmetic -= 1
        return Call(function.position, function.text, tuple(args), tuple(keywords))


def read(text: str) -> tuple[Node | None, Node]:
    """Read a formula into the tree of its response (None if there is none) and of the rest.

    Parameters
    ----------
    text : str
        A formula such as ``"y ~ x + (1 | g)"``.

    Raises
    ------
    FormulaError
        Where the text is not a formula; the message names the character.

    Examples
    --------
    >>> from lmmjax.formula_nodes import deparse
    >>> response, terms = read("y ~ x*z")
    >>> deparse(terms)
    'x * z'
    """
    if not isinstance(text, str):
        raise FormulaError(f"a formula is a string, not {type(text).__name__}")
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"the formula has {len(text)} characters; {MAX_LENGTH} are allowed")
    if not text.strip():
        raise FormulaError("the formula is empty; write for example '~ x + (1 | group)'")
    return _Parser(text).formula()
