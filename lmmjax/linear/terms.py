"""Terms of a linear model's right-hand side: their columns, and which contains which."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lmmjax.design import Design
from lmmjax.errors import FormulaError
from lmmjax.formula import parse_formula
from lmmjax.formula_terms import Term


def full_matrix(design: Design) -> np.ndarray:
    """The fixed-effects model matrix with its linearly dependent columns, (n, all columns)."""
    if design.fixed_kept.all():
        return design.X
    return design.spec.encoder.apply(design.parsed.fixed_terms, design.spec.table).values


def term_columns(design: Design) -> list[tuple[str, np.ndarray]]:
    """Label of each term, the intercept included, and its columns of the full matrix."""
    return [(label, np.array(columns, dtype=int)) for label, columns in design.fixed_terms]


def contains(larger: Term, smaller: Term) -> bool:
    """Whether one term is of higher order than another and has all of its variables.

    Examples
    --------
    >>> terms = parse_formula("~ a * b").fixed_terms
    >>> contains(terms[3], terms[1]), contains(terms[2], terms[1])
    (True, False)
    """
    return set(larger.labels) > set(smaller.labels)


def droppable(terms: Sequence[Term]) -> list[str]:
    """Labels of the terms that no other term contains; never the intercept.

    Examples
    --------
    >>> droppable(parse_formula("~ a * b + c").fixed_terms)
    ['c', 'a:b']
    """
    return [
        term.label
        for term in terms
        if term.variables and not any(contains(other, term) for other in terms)
    ]


def scope_terms(scope: str | Sequence[str] | None, terms: Sequence[Term]) -> list[str]:
    """The terms to drop, one by one, as labels of the model's own.

    Parameters
    ----------
    scope
        A formula (``"~ a + a:b"``), a list of terms, or None for all that are marginal to none.
    terms
        Of the model.

    Raises
    ------
    FormulaError
        The scope names a term that the model does not have, or is no formula.

    Examples
    --------
    >>> scope_terms(["b:a"], parse_formula("~ a * b").fixed_terms)
    ['a:b']
    """
    if scope is None:
        return droppable(terms)
    as_formula = isinstance(scope, str)
    texts = [scope if "~" in scope else f"~ {scope}"] if as_formula else scope
    wanted: list[Term] = []
    for text in texts:
        parsed = parse_formula(text if as_formula else f"~ 0 + {text}")
        if parsed.bars or parsed.offsets or parsed.response is not None:
            raise FormulaError(f"a scope names fixed-effects terms, as '~ a + a:b', not {text!r}")
        wanted += [term for term in parsed.fixed_terms if term.variables or not as_formula]
    labels = {frozenset(term.labels): term.label for term in terms if term.variables}
    unknown = [term.label for term in wanted if frozenset(term.labels) not in labels]
    if unknown:
        have = ", ".join(labels.values()) or "no terms"
        raise FormulaError(
            f"scope has {', '.join(unknown)}, not a term of the model; it has {have}"
        )
    return [labels[frozenset(term.labels)] for term in wanted]
