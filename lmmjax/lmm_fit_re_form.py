"""``re_form``: the part of the random effects that a prediction or a simulation includes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from .design import Design
from .design_rows import listed
from .errors import FormulaError
from .formula import Bar, parse_formula
from .random_term import RandomTerm

#: Spellings of "no random effects" and of "all of them", without blanks.
NOTHING = ("none", "~0", "NA")
EVERYTHING = ("all",)


@dataclass(frozen=True)
class TermPart:
    """Effects of one random-effects term of the model.

    Attributes
    ----------
    position
        Of the term in the design.
    columns
        Those of the term's q effects that take part.
    bar
        The term of ``re_form``, whose model matrix holds them.
    coded
        Where they stand in that matrix.
    """

    position: int
    columns: tuple[int, ...]
    bar: Bar
    coded: tuple[int, ...]

    def rows(self, z: np.ndarray, q: int) -> np.ndarray:
        """The model matrix of ``bar`` (m, .) as rows of the term's Z, (m, q), zero elsewhere."""
        out = np.zeros((len(z), q))
        out[:, self.columns] = z[:, self.coded]
        return out


def selected_parts(design: Design, re_form: Any) -> list[TermPart]:
    """The effects that ``re_form`` names, by term in the design's order.

    Parameters
    ----------
    design
        Of the model.
    re_form
        None or ``"all"``; ``"none"``, ``"~0"``, NaN or False, as lme4's NA; or a formula of
        random-effects terms.  A term may take some of a vector-valued term's effects, by name:
        ``"~ (1 | g)"`` the intercepts of ``(x | g)``.

    Raises
    ------
    FormulaError
        It is none of these, or names what the model does not have.

    Examples
    --------
    >>> from lmmjax.design import build_design
    >>> data = {"x": [1.0, 2, 3, 5, 8, 9, 4, 4], "g": list("aabbccdd")}
    >>> design = build_design("~ x + (x | g)", data, checks=False)
    >>> [(part.position, part.columns) for part in selected_parts(design, "~ (0 + x | g)")]
    [(0, (1,))]
    """
    if re_form is None or (isinstance(re_form, str) and re_form in EVERYTHING):
        return [_whole(k, term) for k, term in enumerate(design.terms)]
    missing = re_form is pd.NA or (isinstance(re_form, float) and np.isnan(re_form))
    if missing or (isinstance(re_form, bool | np.bool_) and not re_form):
        return []
    if not isinstance(re_form, str):
        raise FormulaError(
            "re_form is None or 'all', 'none', or a formula such as '~ (1 | group)', "
            f"not {re_form!r}"
        )
    if re_form.replace(" ", "") in NOTHING:
        return []
    parsed = parse_formula(re_form)
    if (
        parsed.response is not None
        or parsed.offsets
        or any(term.variables for term in parsed.fixed_terms)
    ):
        raise FormulaError(f"re_form {re_form!r} names random-effects terms only: '~ (1 | group)'")
    parts = [part for bar in parsed.bars for part in _parts_of(design, bar)]
    return sorted(parts, key=lambda part: part.position)


def whole_terms(design: Design, re_form: Any) -> list[int]:
    """Positions of the terms that ``re_form`` names, all effects of each.

    Raises
    ------
    FormulaError
        As :func:`selected_parts`, or it names some effects of a term only.
    """
    taken: dict[int, set[int]] = {}
    for part in selected_parts(design, re_form):
        taken.setdefault(part.position, set()).update(part.columns)
    for k, columns in taken.items():
        term = design.terms[k]
        if len(columns) < term.n_columns:
            raise FormulaError(
                f"re_form {re_form!r} holds some of the effects of ({term.label}), whose draws "
                "depend on each other; name the whole term"
            )
    return list(taken)


def _whole(k: int, term: RandomTerm) -> TermPart:
    every = tuple(range(term.n_columns))
    return TermPart(k, every, term.bar, every)


def _parts_of(design: Design, bar: Bar) -> list[TermPart]:
    same = [(k, term) for k, term in enumerate(design.terms) if term.group == bar.group_label]
    for k, term in same:
        if term.lhs == bar.lhs:
            return [_whole(k, term)]
    labels = {label for _, term in same for part in term.bar.terms for label in part.labels}
    parts: list[TermPart] = []
    if same and all(label in labels for term in bar.terms for label in term.labels):
        # coded as the model codes it; the names tell which effects these are
        names = design.spec.encoder.apply(bar.terms, design.spec.table.iloc[:1]).names
        for k, term in same:
            shared = [name for name in names if name in term.columns]
            columns = tuple(term.columns.index(name) for name in shared)
            if columns:
                parts.append(TermPart(k, columns, bar, tuple(map(names.index, shared))))
        if sum(len(part.columns) for part in parts) == len(names):
            return parts
    have = listed([term.label for term in design.terms])
    raise FormulaError(f"re_form has {bar.text}, which is not in the model; it has {have}")
