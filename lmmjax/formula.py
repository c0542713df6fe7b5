"""Model formulas: lme4's syntax, read into fixed effects, random-effects terms and offsets.

Main names: :func:`parse_formula`, :class:`ParsedFormula`, :class:`Bar`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lmmjax.errors import FormulaError
from lmmjax.formula_functions import check_expression, check_term_variable, columns_read
from lmmjax.formula_nodes import Call, Name, Node, Operation, deparse, fail
from lmmjax.formula_nodes import strip_parens as inside
from lmmjax.formula_syntax import read
from lmmjax.formula_terms import Term, expand, signed_parts

_GROUP_FUNCTIONS = ("factor", "as.factor", "C")


@dataclass(frozen=True)
class Bar:
    """One random-effects term ``(lhs | group)``.

    Attributes
    ----------
    lhs : str
        Left of the bar, as R writes it: ``"1"``, ``"Days"``, ``"0 + Days"``.
    group : tuple of str
        Columns whose combinations are the groups: ``("Subject",)``, ``("b", "a")`` for ``b:a``.
    text : str
        ``"(Days | Subject)"``.
    group_label : str
        The grouping factor's name as lme4 prints it: ``"b:a"`` for ``(1 | a/b)``.
    position : int
        Where the term starts in the formula's text (0-based).
    terms : tuple of Term
        The terms of the left-hand side, intercept included if there is one.
    """

    lhs: str
    group: tuple[str, ...]
    text: str
    group_label: str = field(compare=False)
    position: int = field(compare=False, repr=False)
    terms: tuple[Term, ...] = field(compare=False, repr=False)


@dataclass(frozen=True)
class ParsedFormula:
    """A formula taken apart; :func:`parse_formula` makes it.

    Attributes
    ----------
    text : str
        The formula as given.
    response : str or None
        The left-hand side, None for ``~ ...``.
    fixed : str
        The fixed effects, expanded: ``"1 + Age + Sex + Age:Sex"``; starts with 0 or 1.
    bars : tuple of Bar
        Random-effects terms; ``||`` and ``/`` are already split.
    offsets : tuple of str
        The insides of ``offset(...)``.
    """

    text: str
    response: str | None
    fixed: str
    bars: tuple[Bar, ...]
    offsets: tuple[str, ...]
    fixed_terms: tuple[Term, ...] = field(compare=False, repr=False)
    response_node: Node | None = field(compare=False, repr=False)
    offset_nodes: tuple[Node, ...] = field(compare=False, repr=False)
    columns: tuple[Name, ...] = field(compare=False, repr=False)
    """Every column the right-hand side reads, once, where it first stands."""

    @property
    def has_intercept(self) -> bool:
        """Whether the fixed effects hold an intercept."""
        return any(not term.variables for term in self.fixed_terms)


def check_formula(formula: Any) -> None:
    """Refuse a formula that is none, as where the arguments are in the wrong order.

    Raises
    ------
    FormulaError
        ``formula`` is not text.
    """
    if not isinstance(formula, str):
        raise FormulaError(
            f"the formula comes first and is text, such as 'y ~ x + (1 | group)'; "
            f"the first argument is a {type(formula).__name__}"
        )


def parse_formula(text: str) -> ParsedFormula:
    """Read a mixed-model formula.

    Parameters
    ----------
    text : str
        lme4's syntax: ``"y ~ Age + (1 | Individual) + (1 | a/b) + (x || g) + offset(v)"``. The
        response may be left out. Functions are limited to a fixed list (``log``, ``poly``, ``C``,
        ``I``, ...); anything else is an error, and nothing is executed.

    Returns
    -------
    ParsedFormula

    Raises
    ------
    FormulaError
        If the text is not such a formula; the message says at which character, and why.

    Examples
    --------
    >>> parsed = parse_formula("Reaction ~ Days + (Days | Subject)")
    >>> parsed.response, parsed.fixed, parsed.bars[0].group
    ('Reaction', '1 + Days', ('Subject',))
    """
    check_formula(text)
    response, right = read(text)
    if response is not None:
        check_expression(response)
    bars: list[Bar] = []
    offsets: list[Node] = []
    kept: list[tuple[str, Node]] = []
    for sign, part in signed_parts(right):
        node = inside(part)
        if isinstance(node, Operation) and node.symbol in ("|", "||"):
            if part is node:
                fail(node.position, f"put the term around {node.symbol!r} in parentheses")
            if sign == "-":
                fail(part.position, "a random-effects term can be added, not removed")
            bars.extend(_read_bar(node, part.position))
        elif isinstance(node, Call) and node.function == "offset":
            if sign == "-" or len(node.args) != 1 or node.keywords:
                fail(node.position, "write an offset as '+ offset(column)'")
            check_expression(node.args[0])
            offsets.append(node.args[0])
        else:
            kept.append((sign, part))
    fixed_terms = _expand_checked(_join(kept))
    _refuse_duplicates(bars)
    fixed = " + ".join([
        "1" if any(not term.variables for term in fixed_terms) else "0",
        *(term.label for term in fixed_terms if term.variables),
    ])  # fmt: skip
    return ParsedFormula(
        text=text,
        response=None if response is None else deparse(response),
        fixed=fixed,
        bars=tuple(bars),
        offsets=tuple(deparse(node) for node in offsets),
        fixed_terms=fixed_terms,
        response_node=response,
        offset_nodes=tuple(offsets),
        columns=_columns(fixed_terms, bars, offsets),
    )


def _join(parts: list[tuple[str, Node]]) -> Node | None:
    """A sum of signed parts as one tree."""
    tree: Node | None = None
    for sign, part in parts:
        if tree is not None or sign == "-":
            part = Operation(part.position, sign, tree, part)
        tree = part
    return tree


def _expand_checked(node: Node | None) -> tuple[Term, ...]:
    terms = expand(node)
    for term in terms:
        for variable in term.variables:
            check_term_variable(variable)
            if isinstance(variable, Name) and variable.name == "." and not variable.quoted:
                fail(variable.position, "'.' (all other columns) is not supported; name them")
    return terms


def _read_bar(bar: Operation, position: int) -> list[Bar]:
    assert bar.left is not None
    terms = _expand_checked(bar.left)
    if not terms:
        fail(position, "nothing stands left of the bar; write (1 | group) for an intercept")
    if bar.symbol == "|":
        pieces = [(deparse(bar.left), terms)]
    else:  # split by term, not by column: a factor keeps its full covariance, as in lme4
        pieces = [("1" if not term.variables else f"0 + {term.label}", (term,)) for term in terms]
    return [
        Bar(lhs, group, f"({lhs} | {label})", label, position, piece)
        for lhs, piece in pieces
        for group, label in _read_groups(bar.right)
    ]


def _read_groups(node: Node) -> list[tuple[tuple[str, ...], str]]:
    """Grouping factors right of a bar: (columns, label) each; ``a/b`` gives ``b:a`` and ``a``."""
    node = inside(node)
    if isinstance(node, Operation) and node.symbol == "/":
        assert node.left is not None
        outer = _read_groups(node.left)
        columns, label = outer[0]
        inner_columns, inner_label = _read_interaction(node.right)
        wrapped = f"({label})" if len(columns) > 1 else label
        return [((*inner_columns, *columns), f"{inner_label}:{wrapped}"), *outer]
    return [_read_interaction(node)]


def _read_interaction(node: Node) -> tuple[tuple[str, ...], str]:
    node = inside(node)
    match node:
        case Name(name=name, quoted=quoted):
            if name == "." and not quoted:
                fail(node.position, "'.' is not a grouping factor")
            return (name,), name
        case Call(function=function, args=(argument,), keywords=()) if (
            function in _GROUP_FUNCTIONS and isinstance(inside(argument), Name)
        ):
            return _read_interaction(argument)  # groups are categorical whatever their dtype
        case Operation(symbol=":", left=left, right=right) if left is not None:
            (first, first_label), (second, second_label) = map(_read_interaction, (left, right))
            if set(first) & set(second):
                fail(node.position, "a column is crossed with itself in a grouping factor")
            return first + second, f"{first_label}:{second_label}"
    fail(
        node.position,
        f"{deparse(node)!r} is not a grouping factor; write columns, a:b or a/b, "
        "and one random-effects term for each",
    )


def _refuse_duplicates(bars: list[Bar]) -> None:
    seen: dict[tuple[frozenset[str], str], Bar] = {}
    for bar in bars:
        for term in bar.terms:
            key = (frozenset(bar.group), term.label)
            other = seen.setdefault(key, bar)
            if other is bar:
                continue
            if other.terms == bar.terms or (not term.variables and len(bar.terms) == 1):
                fail(bar.position, f"duplicate random-effects term {bar.text}")
            what = "the intercept" if not term.variables else term.label
            fail(
                bar.position,
                f"{what} varies by {bar.group_label} in two terms, {other.text} and {bar.text}; "
                f"write (0 + ... | {bar.group_label}) in one of them",
            )


def _columns(fixed: tuple[Term, ...], bars: list[Bar], offsets: list[Node]) -> tuple[Name, ...]:
    found: dict[str, Name] = {}
    terms = [*fixed, *(term for bar in bars for term in bar.terms)]
    for node in [*(v for term in terms for v in term.variables), *offsets]:
        for name in columns_read(node):
            found.setdefault(name.name, name)
    for bar in bars:
        for name in bar.group:
            found.setdefault(name, Name(bar.position, name))
    return tuple(found.values())
