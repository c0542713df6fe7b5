"""From a formula and a sample table to the arrays of a model.

Main names: :func:`build_design`, :class:`Design`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pandas as pd

from lmmjax import design_checks as checking
from lmmjax.design_columns import Factor, as_factor, column, interaction
from lmmjax.design_encoding import Encoder
from lmmjax.design_identifiability import (
    CovarianceTerm,
    check_identifiable,
    check_related_identifiable,
)
from lmmjax.design_relationship import relationship_roots
from lmmjax.design_rows import (
    as_table,
    check_finite,
    check_names,
    check_response,
    complete_rows,
    no_response,
)
from lmmjax.errors import DesignError, DTypeError, FormulaError
from lmmjax.formula import Bar, ParsedFormula, parse_formula
from lmmjax.formula_contrasts import ContrastLike
from lmmjax.formula_functions import columns_read
from lmmjax.random_term import RandomTerm
from lmmjax.rank import independent_columns


@dataclass(frozen=True)
class DesignSpec:
    """What is needed to code new data like the model's own: see :func:`lmmjax.newdata.new_design`.

    Attributes
    ----------
    encoder : Encoder
        Factor levels, contrasts, and what transforms such as ``poly`` learned.
    group_levels : dict
        Levels of each column that is part of a grouping factor.
    table : DataFrame
        The columns that the right-hand side reads, at the observations used.
    """

    encoder: Encoder
    group_levels: dict[str, tuple[str, ...]]
    table: pd.DataFrame = field(repr=False)


@dataclass(frozen=True)
class Design:
    """Arrays and structure of a model; :func:`build_design` makes it.

    Attributes
    ----------
    parsed : ParsedFormula
    observations : pandas.Index
        Row labels of the n observations used.
    kept : ndarray of bool, shape (n_rows,)
        Which rows of the table they are.
    X : ndarray, shape (n, rank)
        Fixed-effects model matrix, linearly dependent columns left out, otherwise as coded.
    fixed_names : tuple of str
        Names of all coefficients, dependent ones included.
    fixed_kept : ndarray of bool, shape (len(fixed_names),)
        Which of them are columns of `X`.
    fixed_terms : tuple of (str, tuple of int)
        Label of each term and its indices into `fixed_names`; ``"(Intercept)"`` is one.
    condition_number : float
        Of `X`, centred and scaled.
    offset : ndarray of shape (n,), or None
    terms : tuple of RandomTerm
        By decreasing number of levels, otherwise as written.
    response : ndarray of shape (n,), or None
    response_name : str or None
    n_dropped : int
        Rows left out because of missing values.
    spec : DesignSpec
    sigma : float or None
        The residual standard deviation, where it is known.
    """

    parsed: ParsedFormula
    observations: pd.Index = field(repr=False)
    kept: np.ndarray = field(repr=False)
    X: np.ndarray = field(repr=False)
    fixed_names: tuple[str, ...]
    fixed_kept: np.ndarray = field(repr=False)
    fixed_terms: tuple[tuple[str, tuple[int, ...]], ...]
    condition_number: float
    offset: np.ndarray | None = field(repr=False)
    terms: tuple[RandomTerm, ...]
    response: np.ndarray | None = field(repr=False)
    response_name: str | None
    n_dropped: int
    spec: DesignSpec = field(repr=False)
    sigma: float | None = None

    @property
    def n(self) -> int:
        """Number of observations."""
        return self.X.shape[0]

    @property
    def rank(self) -> int:
        """Number of independent fixed effects."""
        return self.X.shape[1]

    @property
    def relationships(self) -> dict[str, pd.DataFrame]:
        """Known covariances by grouping factor, as ``relmat`` gives them."""
        known = {term.group: term.relationship for term in self.terms}
        return {group: table for group, table in known.items() if table is not None}


def build_design(
    formula: str | ParsedFormula,
    data: pd.DataFrame | Mapping[str, Any],
    *,
    na: str = "drop",
    rank_deficient: str = "drop",
    contrasts: Mapping[str, ContrastLike] | None = None,
    response_values: bool = False,
    checks: bool = True,
    sigma: float | None = None,
    relmat: Mapping[str, Any] | None = None,
) -> Design:
    """Build the arrays of a model.

    Text, boolean and categorical columns get treatment contrasts, the first level being the
    reference; ordered categoricals too (write ``C(x, Poly)`` for polynomials). Grouping factors
    are categorical whatever their dtype.

    Parameters
    ----------
    formula : str or ParsedFormula
        See :func:`lmmjax.formula.parse_formula`.
    data : DataFrame or mapping
        One row per observation, index = sample names.
    na : {"drop", "raise"}
        Rows with missing values are dropped with a warning, or are an error.
    rank_deficient : {"drop", "error"}
        Linearly dependent fixed effects are dropped (the first wins) with a warning, or are an
        error.
    contrasts : mapping, optional
        Coding by column: ``"sum"``, ``"helmert"``, ``"poly"``, ``"treatment"``, or a matrix.
    response_values : bool
        Whether the left-hand side is a column to be read; otherwise it is ignored.
    checks : bool
        False leaves out the checks for designs that do not identify the variance components.
    sigma : float, optional
        The residual standard deviation, if it is known.
    relmat : mapping, optional
        Known covariances of the levels of grouping factors, by name: see
        :mod:`lmmjax.design_relationship`.

    Returns
    -------
    Design

    Raises
    ------
    FormulaError, DesignError, DTypeError, EmptyDataError, NonFiniteError, ResponseError, ShapeError
        For bad input; the message names what and where, and the remedy.

    Examples
    --------
    >>> data = pd.DataFrame({"x": [1.0, 2, 3, 5, 8, 9], "g": list("aabbcc")})
    >>> design = build_design("~ x + (1 | g)", data)
    >>> design.fixed_names, design.terms[0].levels
    (('(Intercept)', 'x'), ('a', 'b', 'c'))
    """
    parsed = formula if isinstance(formula, ParsedFormula) else parse_formula(formula)
    data = as_table(data)
    response_node = parsed.response_node if response_values else None
    if response_values and response_node is None:
        raise no_response()
    read_for_response = tuple(columns_read(response_node)) if response_node is not None else ()
    check_names((*read_for_response, *parsed.columns), data)
    encoder = Encoder(dict(contrasts or {}))
    _check_contrast_names(encoder.contrasts, parsed)

    response = None
    if response_node is not None and parsed.response is not None:
        response = encoder.response(response_node, data)
        check_response(parsed.response, response, data)
    named = (parsed.response, response) if parsed.response and response is not None else None
    kept = complete_rows(parsed.columns, data, na, named)
    used = cast(pd.DataFrame, data.loc[kept, [name.name for name in parsed.columns]])
    check_finite(parsed, used)

    group_columns = dict.fromkeys(name for bar in parsed.bars for name in bar.group)
    group_factors = {name: as_factor(column(used, name)) for name in group_columns}
    groups = {
        bar.group_label: interaction([group_factors[name] for name in bar.group])
        for bar in parsed.bars
    }
    n = len(used)
    sigma = _checked_sigma(sigma)
    roots = relationship_roots(relmat, groups)
    if checks:
        checking.check_groups(groups, n, known_residual=sigma is not None, related=set(roots))
    fixed = encoder.learn(parsed.fixed_terms, used)
    terms = [
        _random_term(
            bar, groups[bar.group_label], encoder, used, checks, sigma, roots.get(bar.group_label)
        )
        for bar in parsed.bars
    ]
    independent = independent_columns(fixed.values)
    rank = int(independent.kept.sum())
    if checks and n <= rank:
        raise checking.no_residual_freedom(parsed, used, rank)
    checking.report_rank(fixed.names, independent.kept, rank_deficient)
    if checks:
        check = check_identifiable if not roots else check_related_identifiable
        check(
            [CovarianceTerm(t.label, t.group, t.codes, t.z, t.n_levels, t.root) for t in terms],
            independent.basis,
            known_residual=sigma is not None,
        )
    checking.warn_numeric_labels(parsed, used)
    checking.warn_reused_labels(groups, parsed.bars)
    checking.warn_shared_identifiers(parsed, used, groups)
    offsets = [encoder.numbers(node, used, learning=True) for node in parsed.offset_nodes]
    return Design(
        parsed=parsed,
        observations=used.index,
        kept=kept,
        X=np.ascontiguousarray(fixed.values[:, independent.kept]),
        fixed_names=fixed.names,
        fixed_kept=independent.kept,
        fixed_terms=fixed.terms,
        condition_number=independent.condition_number,
        offset=np.sum(offsets, axis=0) if offsets else None,
        terms=tuple(sorted(terms, key=lambda term: -term.n_levels)),
        response=None if response is None else response[kept],
        response_name=parsed.response,
        n_dropped=int((~kept).sum()),
        spec=DesignSpec(encoder, {name: f.levels for name, f in group_factors.items()}, used),
        sigma=sigma,
    )


def _checked_sigma(sigma: Any) -> float | None:
    if sigma is None:
        return None
    if isinstance(sigma, bool) or not isinstance(sigma, int | float | np.number):
        raise DTypeError(f"sigma is a number, the residual standard deviation, not {sigma!r}")
    if not (np.isfinite(sigma) and sigma > 0):
        raise DesignError(f"sigma={sigma}: the residual standard deviation is positive and finite")
    return float(sigma)


def _random_term(
    bar: Bar,
    factor: Factor,
    encoder: Encoder,
    used: pd.DataFrame,
    checks: bool,
    sigma: float | None,
    root: np.ndarray | None,
) -> RandomTerm:
    matrix = encoder.learn(bar.terms, used)
    if checks:
        told_apart = sigma is not None or root is not None
        checking.check_term(bar, matrix.values, matrix.names, factor, told_apart)
    return RandomTerm(
        group=bar.group_label,
        lhs=bar.lhs,
        columns=matrix.names,
        levels=factor.levels,
        codes=factor.codes,
        z=matrix.values,
        bar=bar,
        root=root,
    )


def _check_contrast_names(contrasts: Mapping[str, ContrastLike], parsed: ParsedFormula) -> None:
    known = {name.name for name in parsed.columns}
    for name in contrasts:
        if name not in known:
            raise FormulaError(f"contrasts are given for {name!r}, which the formula does not use")
