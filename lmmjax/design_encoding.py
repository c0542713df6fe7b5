"""From terms and columns to model matrices, coded and named as R does.

An :class:`Encoder` learns from the model's own table (levels, contrasts, transforms) and codes
new tables alike.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lmmjax.design_columns import Factor, as_factor, as_numbers, column, is_factor, is_numeric
from lmmjax.errors import DesignError, DTypeError, UnseenLevelError
from lmmjax.formula_contrasts import ContrastLike, Contrasts, contrasts_for, dummies
from lmmjax.formula_evaluate import Evaluator
from lmmjax.formula_functions import (
    FACTOR_FUNCTIONS,
    ContrastChoice,
    arguments,
    columns_read,
    is_logical,
)
from lmmjax.formula_nodes import Call, Name, Node, deparse
from lmmjax.formula_terms import Term

_MAX_VALUES = 200_000_000  # of one term's columns together: 1.6 GB


@dataclass(frozen=True)
class ModelMatrix:
    """A coded right-hand side.

    Attributes
    ----------
    values : ndarray, shape (n, p)
    names : tuple of str
        Coefficient names as R writes them.
    terms : tuple of (str, tuple of int)
        Label of each term and its columns.
    """

    values: np.ndarray
    names: tuple[str, ...]
    terms: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True)
class _Block:
    """The columns that one variable brings into a term."""

    values: np.ndarray
    suffixes: tuple[str, ...]


@dataclass
class Encoder:
    """Codes terms; remembers what it learned from the table the model is built on.

    Attributes
    ----------
    contrasts : mapping of str to ContrastLike
        The user's choices, by column.
    factors : dict
        Levels and contrasts by the label of the variable (``"Sex"``, ``"C(Time)"``).
    memory : dict
        What transforms such as ``poly`` learned, by label.
    """

    contrasts: Mapping[str, ContrastLike] = field(default_factory=dict)
    factors: dict[str, tuple[tuple[str, ...], Contrasts]] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)

    def learn(self, terms: Sequence[Term], table: pd.DataFrame) -> ModelMatrix:
        """Code `terms` on the model's own table, remembering levels and transforms."""
        return self._encode(terms, table, learning=True)

    def apply(self, terms: Sequence[Term], table: pd.DataFrame) -> ModelMatrix:
        """Code `terms` on another table as :meth:`learn` did on the model's own.

        Raises
        ------
        UnseenLevelError
            If a factor holds a level the model has not seen.
        """
        return self._encode(terms, table, learning=False)

    def numbers(self, node: Node, table: pd.DataFrame, learning: bool) -> np.ndarray:
        """Values of one numeric expression, (n,) or (n, k), checked to be finite."""

        evaluator = Evaluator(lambda name: as_numbers(column(table, name)), self.memory, learning)
        values = evaluator.values(node)
        if values.ndim == 0:
            values = np.full(len(table), float(values))
        finite = np.isfinite(values).all(axis=tuple(range(1, values.ndim)))
        if not finite.all():
            first = table.index[int(np.argmin(finite))]
            raise DesignError(
                f"{deparse(node)} is not a finite number for {int((~finite).sum())} "
                f"observation(s), the first being {str(first)!r}; correct or remove them"
            )
        return values

    def response(self, node: Node, table: pd.DataFrame) -> np.ndarray:
        """Values of the response, (n,), missing ones as NaN.

        Raises
        ------
        DTypeError
            If it is not numeric.
        """
        for name in columns_read(node):
            if not is_numeric(column(table, name.name)):
                raise DTypeError(
                    f"the response {name.name!r} is not numeric; it is text, a category or a date"
                )
        return Evaluator(lambda name: as_numbers(column(table, name))).values(node)

    def _encode(self, terms: Sequence[Term], table: pd.DataFrame, learning: bool) -> ModelMatrix:
        variables = {
            label: node
            for term in terms
            for label, node in zip(term.labels, term.variables, strict=True)
        }
        codes: dict[str, Factor] = {}
        numeric: dict[str, _Block] = {}
        for label, node in variables.items():
            if self._is_factor(label, node, table, learning):
                codes[label] = self._factor(label, node, table, learning)
            else:
                if learning:
                    self._refuse_contrasts(node)
                values = self.numbers(node, table, learning)
                columns = values[:, None] if values.ndim == 1 else values
                width = columns.shape[1]
                suffixes = tuple(str(i + 1) for i in range(width)) if width > 1 else ("",)
                numeric[label] = _Block(columns, suffixes)
        arrays: list[np.ndarray] = []
        names: list[str] = []
        labelled: list[tuple[str, tuple[int, ...]]] = []
        for term, full in zip(terms, full_codings(terms, set(codes)), strict=True):
            blocks = [
                (label, numeric[label] if label in numeric else self._block(label, codes, full))
                for label in term.labels
            ]
            self._check_size(term, blocks, len(table))
            values, columns = _product(blocks, len(table))
            labelled.append((term.label, tuple(range(len(names), len(names) + len(columns)))))
            arrays.append(values)
            names.extend(columns)
        stacked = np.hstack(arrays) if arrays else np.empty((len(table), 0))
        return ModelMatrix(stacked, tuple(names), tuple(labelled))

    @staticmethod
    def _check_size(term: Term, blocks: list[tuple[str, _Block]], n: int) -> None:
        width = math.prod(len(block.suffixes) for _, block in blocks)
        if width > 1_000 + 10 * n or width * n > _MAX_VALUES:
            raise DesignError(
                f"the term {term.label!r} has {width} columns for {n} observations; is one of its "
                "factors an identifier, or meant as a grouping factor (1 | ...)?"
            )

    def _is_factor(self, label: str, node: Node, table: pd.DataFrame, learning: bool) -> bool:
        if not learning:
            return label in self.factors
        if isinstance(node, Call):
            return node.function in FACTOR_FUNCTIONS or is_logical(node)
        return isinstance(node, Name) and is_factor(column(table, node.name))

    def _factor(self, label: str, node: Node, table: pd.DataFrame, learning: bool) -> Factor:
        given: dict[str, Any] = arguments(node) if isinstance(node, Call) else {"x": node}
        if is_logical(node):
            name, values = label, self.numbers(node, table, learning) != 0
            values = pd.Series(values, index=table.index, name=label)
        else:
            name = given["x"].name
            values = column(table, name)
        if not learning:
            return as_factor(values, self.factors[label][0])
        factor = as_factor(values)
        if "levels" in given:
            wanted = tuple(level for level in given["levels"] if level in factor.levels)
            try:
                factor = as_factor(values, wanted)
            except UnseenLevelError as error:
                raise DesignError(f"{label}: {error}") from None
        if len(factor.levels) < 2:
            raise DesignError(
                f"the factor {name!r} has fewer than two levels in the observations used; "
                "remove it from the formula"
            )
        choice = given.get("contrasts", self.contrasts.get(name, ContrastChoice()))
        self.factors[label] = (factor.levels, contrasts_for(name, factor.levels, choice))
        return factor

    def _refuse_contrasts(self, node: Node) -> None:
        """Refuse contrasts for a column that is used as numbers, rather than ignore them."""
        if isinstance(node, Name) and node.name in self.contrasts:
            raise DesignError(
                f"contrasts are given for {node.name!r}, which is numeric in the formula; write "
                f"C({node.name}) to make it a factor, or leave its contrasts out"
            )

    def _block(self, label: str, codes: dict[str, Factor], full: set[str]) -> _Block:
        levels, contrasts = self.factors[label]
        coding = dummies(levels) if label in full else contrasts
        return _Block(coding.matrix[codes[label].codes], coding.suffixes)


def full_codings(terms: Sequence[Term], factors: set[str]) -> list[set[str]]:
    """Per term, the factors to be coded with a column for every level; the others by contrasts.

    R's rule: a factor is coded by contrasts where the term without it is in the model too; if
    there is no intercept, the first factor of the first term with one is coded in full.

    Examples
    --------
    >>> from lmmjax.formula import parse_formula
    >>> full_codings(parse_formula("~ a + a:b").fixed_terms, {"a", "b"})
    [set(), set(), {'a'}]
    """
    present = {frozenset(term.labels) for term in terms}
    result: list[set[str]] = []
    pending = frozenset() not in present
    for term in terms:
        inside = [label for label in term.labels if label in factors]
        margins = {label: frozenset(term.labels) - {label} for label in inside}
        full = {label for label, rest in margins.items() if rest and rest not in present}
        if pending and inside:
            full.add(inside[0])
            pending = False
        result.append(full)
    return result


def _product(blocks: list[tuple[str, _Block]], n: int) -> tuple[np.ndarray, list[str]]:
    """Products of the columns of the blocks; the first block varies fastest, as in R."""
    if not blocks:
        return np.ones((n, 1)), ["(Intercept)"]
    label, block = blocks[0]
    values, names = block.values, [f"{label}{suffix}" for suffix in block.suffixes]
    for label, block in blocks[1:]:
        values = (block.values[:, :, None] * values[:, None, :]).reshape(n, -1)
        names = [f"{name}:{label}{suffix}" for suffix in block.suffixes for name in names]
    return values, names
