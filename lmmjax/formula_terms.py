"""The algebra of formulas: ``a*b + c - 1`` to an ordered list of terms.

A term is a product of variables. As in R, terms are ordered by their number of variables and
then by first appearance, and the variables inside a term by first appearance in the formula, so
the labels (and the names of coefficients) are those of R.
"""

from __future__ import annotations

from dataclasses import dataclass

from lmmjax.formula_nodes import Call, Name, Node, Number, Operation, Text, deparse, fail
from lmmjax.formula_nodes import strip_parens as inside

MAX_TERMS = 5_000


@dataclass(frozen=True)
class Term:
    """A product of variables; an intercept is the product of none.

    Attributes
    ----------
    variables : tuple of Node
        Columns and function calls, in order.
    labels : tuple of str
        Their text, the same length.
    """

    variables: tuple[Node, ...]
    labels: tuple[str, ...]

    @property
    def label(self) -> str:
        """``"Sex:Time"``; ``"(Intercept)"`` for the intercept."""
        return ":".join(self.labels) if self.labels else "(Intercept)"


class _Expansion:
    """Terms as bit masks over the variables seen so far (the intercept is 0)."""

    def __init__(self) -> None:
        self.variables: dict[str, Node] = {}

    def variable(self, node: Node) -> int:
        label = deparse(node)
        self.variables.setdefault(label, node)
        return 1 << list(self.variables).index(label)

    def sum(self, node: Node, intercept: bool) -> list[int]:
        """Terms of a sum; ``0``, ``1`` and ``-1`` switch the intercept on and off."""
        masks: dict[int, None] = {0: None} if intercept else {}
        for sign, part in signed_parts(node):
            stripped = inside(part)
            if isinstance(stripped, Number):
                if stripped.value not in (0.0, 1.0):
                    fail(stripped.position, "only 0 and 1 may stand as numbers; use I() to compute")
                if (sign == "+") == (stripped.value == 1.0):
                    masks = {0: None, **masks}
                else:
                    masks.pop(0, None)
                continue
            for mask in self.product(part):
                if sign == "+":
                    masks[mask] = None
                else:
                    masks.pop(mask, None)
            if len(masks) > MAX_TERMS:
                fail(_position(part), f"the formula expands to more than {MAX_TERMS} terms")
        return list(masks)

    def product(self, node: Node) -> list[int]:
        node = inside(node)
        match node:
            case Name() | Call():
                return [self.variable(node)]
            case Number(position=position):
                fail(position, "0 and 1 can be added or removed, not multiplied")
            case Text(position=position):
                fail(position, "quoted text is not a term; put a column name in backticks")
            case Operation(symbol="+" | "-"):
                return self.sum(node, intercept=False)
            case Operation(symbol="^", left=left, right=right) if left is not None:
                return self.power(left, right)
            case Operation(position=position, symbol=symbol, left=left, right=right):
                if left is None or symbol in ("|", "||"):
                    what = "a sign" if left is None else "a random-effects term"
                    fail(position, f"{symbol!r}: {what} cannot stand inside another term")
                return self.combine(symbol, self.product(left), self.product(right), position)
        raise AssertionError(node)  # pragma: no cover

    def power(self, base: Node, exponent: Node) -> list[int]:
        number = inside(exponent)
        if not isinstance(number, Number) or number.value not in range(1, 21):
            fail(
                _position(exponent),
                "the power of terms is a whole number from 1 to 20; use I() to compute",
            )
        once = result = self.product(base)
        for _ in range(int(number.value) - 1):
            grown = self.combine("*", result, once, number.position)
            if len(grown) == len(result):
                break
            result = grown
        return result

    def combine(self, symbol: str, left: list[int], right: list[int], position: int) -> list[int]:
        if len(left) * len(right) > 40 * MAX_TERMS:
            fail(position, f"the formula expands to more than {MAX_TERMS} terms")
        everything = [a | b for a in left for b in right]
        all_left = all_right = 0
        for mask in left:
            all_left |= mask
        for mask in right:
            all_right |= mask
        match symbol:
            case ":":
                masks = everything
            case "*":
                masks = left + right + everything
            case "/":
                masks = left + [all_left | mask for mask in right]
            case _:  # %in%
                masks = [mask | all_right for mask in left]
        unique = list(dict.fromkeys(masks))
        if len(unique) > MAX_TERMS:
            fail(position, f"the formula expands to more than {MAX_TERMS} terms")
        return unique


def _position(node: Node) -> int:
    return node.position


def signed_parts(node: Node) -> list[tuple[str, Node]]:
    """The parts of a sum with their signs, left to right; parentheses around sums are opened.

    Examples
    --------
    >>> from lmmjax.formula_syntax import read
    >>> [(sign, deparse(part)) for sign, part in signed_parts(read("~ a - (b + c)")[1])]
    [('+', 'a'), ('-', 'b'), ('-', 'c')]
    """
    result: list[tuple[str, Node]] = []
    pending: list[tuple[str, Node]] = [("+", node)]
    while pending:
        sign, part = pending.pop()
        stripped = inside(part)
        if isinstance(stripped, Operation) and stripped.symbol in ("+", "-"):
            flipped = sign if stripped.symbol == "+" else ("-" if sign == "+" else "+")
            pending.append((flipped, stripped.right))
            if stripped.left is not None:
                pending.append((sign, stripped.left))
        else:
            result.append((sign, part))
    return result


def expand(node: Node | None, intercept: bool = True) -> tuple[Term, ...]:
    """Terms of a formula's right-hand side, ordered as R orders them.

    Parameters
    ----------
    node : Node or None
        The tree; None for an empty sum (an intercept alone).
    intercept : bool
        Whether there is an intercept unless the formula removes it.

    Raises
    ------
    FormulaError
        Where the tree is not a sum of products of variables.

    Examples
    --------
    >>> from lmmjax.formula_syntax import read
    >>> [term.label for term in expand(read("~ b:a + a*c")[1])]
    ['(Intercept)', 'a', 'c', 'b:a', 'a:c']
    """
    expansion = _Expansion()
    masks = [0] if node is None and intercept else []
    if node is not None:
        masks = expansion.sum(node, intercept)
    items = list(expansion.variables.items())
    terms: list[Term] = []
    for mask in sorted(masks, key=int.bit_count):
        chosen = [item for bit, item in enumerate(items) if mask >> bit & 1]
        terms.append(Term(tuple(v for _, v in chosen), tuple(k for k, _ in chosen)))
    return tuple(terms)
