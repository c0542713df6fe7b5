"""The design of new data, coded as the model's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lmmjax.design import Design
from lmmjax.design_columns import as_factor, column, interaction
from lmmjax.design_rows import as_table, check_names, listed, no_response
from lmmjax.errors import LmmError, UnseenLevelError
from lmmjax.formula_functions import columns_read
from lmmjax.random_term import RandomTerm


@dataclass(frozen=True)
class NewTerm:
    """A random-effects term at new observations.

    Attributes
    ----------
    z : ndarray, shape (m, q)
        NaN in rows with a missing covariate or group.
    codes : ndarray of int32, shape (m,)
        Index into the levels of the model's term; -1 where the group is unknown or missing.
    """

    z: np.ndarray
    codes: np.ndarray


@dataclass(frozen=True)
class NewDesign:
    """Arrays for m new observations; :func:`new_design` makes it.

    Attributes
    ----------
    observations : pandas.Index
    X : ndarray, shape (m, rank)
        NaN in rows with a missing covariate or group.
    offset : ndarray of shape (m,), or None
    terms : tuple of NewTerm
        In the order of the model's terms; empty where random effects were not asked for.
    response : ndarray of shape (m,), or None
    """

    observations: pd.Index
    X: np.ndarray = field(repr=False)
    offset: np.ndarray | None = field(repr=False)
    terms: tuple[NewTerm, ...] = field(repr=False)
    response: np.ndarray | None = field(repr=False)


def new_table(newdata: pd.DataFrame | Mapping[str, Any]) -> pd.DataFrame:
    """New data as a DataFrame; a single value stands for all rows, or for one row.

    Raises
    ------
    ShapeError, EmptyDataError, DesignError
        As :func:`lmmjax.design_rows.as_table`.

    Examples
    --------
    >>> new_table({"x": [1.0, 2.0], "g": "a"})["g"].tolist()
    ['a', 'a']
    """
    if isinstance(newdata, Mapping):
        single = [name for name, values in newdata.items() if np.ndim(values) == 0]
        rows = max((len(v) for name, v in newdata.items() if name not in single), default=1)
        repeated = {name: [newdata[name]] * rows for name in single}
        newdata = {name: repeated.get(name, values) for name, values in newdata.items()}
    return as_table(newdata)


def new_design(
    design: Design,
    newdata: pd.DataFrame | Mapping[str, Any],
    *,
    need_response: bool = False,
    new_levels: str = "error",
    random: bool = True,
) -> NewDesign:
    """Code new data with the levels, contrasts and transforms of a design.

    Parameters
    ----------
    design : Design
    newdata : DataFrame or mapping
        The columns of the formula's right-hand side, m rows; in a mapping a single value
        stands for all rows.
    need_response : bool
        Whether the response is read too.
    new_levels : {"error", "population"}
        A group the model has not seen is an error, or gets no random effect (code -1).
    random : bool
        False leaves the random-effects terms, and their columns, alone.

    Returns
    -------
    NewDesign

    Raises
    ------
    UnseenLevelError
        For an unknown level of a fixed factor, or of a grouping factor with
        ``new_levels="error"``.
    FormulaError
        If a column is missing.

    Examples
    --------
    >>> from lmmjax.design import build_design
    >>> data = pd.DataFrame({"x": [1.0, 2, 3, 5, 8, 9], "g": list("aabbcc")})
    >>> design = build_design("~ x + (1 | g)", data)
    >>> new_design(design, {"x": [4.0], "g": ["b"]}).terms[0].codes
    array([1], dtype=int32)
    """
    if new_levels not in ("error", "population"):
        raise LmmError(f"new_levels is 'error' or 'population', not {new_levels!r}")
    table = new_table(newdata)
    parsed, encoder = design.parsed, design.spec.encoder
    variables = [v for term in parsed.fixed_terms for v in term.variables]
    wanted = list(parsed.columns)
    if not random:
        wanted = [n for v in (*variables, *parsed.offset_nodes) for n in columns_read(v)]
    response_node = parsed.response_node if need_response else None
    if need_response and response_node is None:
        raise no_response()
    check_names([*wanted, *(columns_read(response_node) if response_node else ())], table)

    complete = np.ones(len(table), dtype=bool)
    for name in wanted:
        complete &= column(table, name.name).notna().to_numpy(dtype=bool)
    rows = table.loc[complete]

    def spread(values: np.ndarray) -> np.ndarray:
        full = np.full((len(table), *values.shape[1:]), np.nan)
        full[complete] = values
        return full

    X = encoder.apply(parsed.fixed_terms, rows).values[:, design.fixed_kept]
    offsets = [spread(encoder.numbers(node, rows, learning=False)) for node in parsed.offset_nodes]
    terms = [
        NewTerm(
            spread(encoder.apply(term.bar.terms, rows).values),
            _group_codes(term, table, new_levels),
        )
        for term in (design.terms if random else ())
    ]
    return NewDesign(
        observations=table.index,
        X=spread(X),
        offset=np.sum(offsets, axis=0) if offsets else None,
        terms=tuple(terms),
        response=None if response_node is None else encoder.response(response_node, table),
    )


def _group_codes(term: RandomTerm, table: pd.DataFrame, new_levels: str) -> np.ndarray:
    factor = interaction([as_factor(column(table, name)) for name in term.bar.group])
    position = {text: i for i, text in enumerate(term.levels)}
    lookup = np.array([position.get(text, -1) for text in factor.levels] + [-1], dtype=np.int32)
    unseen = [text for text, code in zip(factor.levels, lookup, strict=False) if code < 0]
    if unseen and new_levels == "error":
        raise UnseenLevelError(
            f"new level(s) of the grouping factor {term.group!r}: {listed(unseen)}; "
            "use new_levels='population' to predict them without a random effect"
        )
    return lookup[factor.codes]
