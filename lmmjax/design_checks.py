"""Checks of a design that need its groups and matrices: errors first, then warnings."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd

from lmmjax.design_columns import Factor, as_numbers, column, is_factor, level_text
from lmmjax.errors import CodingWarning, DesignError, RankWarning, warn
from lmmjax.formula import Bar, ParsedFormula
from lmmjax.formula_functions import FACTOR_FUNCTIONS, columns_read
from lmmjax.formula_nodes import Call, Name, deparse
from lmmjax.rank import independent_columns

_CROWDED = 0.8  # of the observations: a fixed factor with that many levels is hardly one
_FEW = 10  # observations with which a coincidence is too likely
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
# Column names that say "label" rather than "amount".
_IDENTIFIER = re.compile(
    r"(?:^|[_.\s])(?:id|ids|code|batch|plate|lane|run|donor|subject|patient|individual|"
    r"participant|person|animal|sample|site|center|centre|clinic|hospital|block|family|litter|"
    r"cage|well|chip|array|slide|library|flowcell|group|cluster|school|class|region)$"
    r"|[a-z](?:ID|Id)$",
    re.IGNORECASE,
)


def check_groups(
    groups: Mapping[str, Factor],
    n: int,
    known_residual: bool = False,
    related: Collection[str] = (),
) -> None:
    """Check the sizes of the grouping factors, and that no two are the same.

    Parameters
    ----------
    groups : mapping of str to Factor
        By name.
    n : int
        Number of observations.
    known_residual : bool
        Whether the residual variance is known: a level per observation is no problem then.
    related : collection of str
        Factors whose levels have a known covariance: it tells them from others and the residual.

    Raises
    ------
    DesignError
        For a grouping factor with one level, or as many levels as observations, or two grouping
        factors that are the same up to the names of their levels.
    """
    for name, factor in groups.items():
        levels = len(factor.levels)
        if levels < 2:
            raise DesignError(
                f"the grouping factor {name!r} has one level; at least two are needed: "
                "remove its random-effects term"
            )
        if levels >= n and not known_residual and name not in related:
            raise DesignError(
                f"the grouping factor {name!r} has as many levels ({levels}) as there are "
                "observations, so its variance cannot be told from the residual variance"
            )
    for (name_a, a), (name_b, b) in combinations(groups.items(), 2):
        if len(a.levels) != len(b.levels) or name_a in related or name_b in related:
            continue
        pairs = np.unique(a.codes.astype(np.int64) * len(b.levels) + b.codes)
        if len(pairs) == len(a.levels):
            raise DesignError(
                f"the grouping factors {name_a!r} and {name_b!r} are identical up to the names of "
                "their levels; keep one of them"
            )


def check_term(
    bar: Bar, z: np.ndarray, names: Sequence[str], factor: Factor, told_apart: bool = False
) -> None:
    """Check the columns left of one bar: none zero, none dependent, fewer effects than n.

    ``told_apart``: something else tells many effects from the residuals.

    Raises
    ------
    DesignError
    """
    n, q = z.shape
    for name, values in zip(names, z.T, strict=True):
        if not values.any():
            raise DesignError(
                f"the column {name!r} of the random-effects term {bar.text} is zero in every "
                "observation; remove it"
            )
    if q * len(factor.levels) >= n and not told_apart:
        raise DesignError(
            f"the random-effects term {bar.text} has {q * len(factor.levels)} random effects "
            f"({q} columns, {len(factor.levels)} levels) for {n} observations; simplify it"
        )
    kept = independent_columns(z).kept
    if not kept.all():
        aliased = [name for name, keep in zip(names, kept, strict=True) if not keep]
        raise DesignError(
            f"in the random-effects term {bar.text} the column {aliased[0]!r} depends linearly on "
            "those before it; remove it"
        )


def report_rank(names: Sequence[str], kept: np.ndarray, rank_deficient: str) -> None:
    """Say which fixed-effects columns are dropped as linearly dependent.

    Raises
    ------
    DesignError
        If there are any and `rank_deficient` is ``"error"``.
    """
    if rank_deficient not in ("drop", "error"):
        raise DesignError(f"rank_deficient is 'drop' or 'error', not {rank_deficient!r}")
    if kept.all():
        return
    aliased = [name for name, keep in zip(names, kept, strict=True) if not keep]
    shown = ", ".join(aliased[:10]) + (f", ... ({len(aliased)} in all)" if aliased[10:] else "")
    message = f"fixed effects depend linearly on those before them: {shown}"
    if rank_deficient == "error":
        raise DesignError(f"{message}; remove them, or use rank_deficient='drop'")
    warn(f"{message}; they are dropped and their coefficients are NaN", RankWarning)


def no_residual_freedom(parsed: ParsedFormula, data: pd.DataFrame, rank: int) -> DesignError:
    """The error for as many fixed effects as observations, naming a factor that is to blame.

    Examples
    --------
    >>> from lmmjax.formula import parse_formula
    >>> data = pd.DataFrame({"age": ["41,13", "7,5"]})
    >>> print(no_residual_freedom(parse_formula("~ age"), data, 2))
    2 observations for 2 fixed effects leave no residual degrees of freedom: the column 'age' is \
text ('41,13') with 2 levels; write numbers with a decimal point
    """
    told = "; ".join(_crowded_factors(parsed, data))
    return DesignError(
        f"{len(data)} observations for {rank} fixed effects leave no residual degrees of freedom"
        + (f": {told}" if told else "; leave some of them out")
    )


def _crowded_factors(parsed: ParsedFormula, data: pd.DataFrame) -> list[str]:
    """Fixed factors with nearly a level per observation, in words."""
    nodes = dict.fromkeys(v for term in parsed.fixed_terms for v in term.variables)
    told = []
    for node in nodes:
        made = isinstance(node, Call) and node.function in FACTOR_FUNCTIONS
        name = next((name.name for name in columns_read(node)), None)
        of_text = isinstance(node, Name) and is_factor(column(data, node.name))
        if name is None or not (made or of_text):
            continue
        values = [level_text(value) for value in column(data, name).dropna().unique()]
        if len(values) < _CROWDED * len(data):
            continue
        what, remedy = f"{deparse(node)} is a factor", "is it meant to be one?"
        if not made:
            what = f"the column {name!r} is text ({values[0]!r})"
            remedy = "convert it if it is meant to be numeric"
        if any(_DECIMAL_COMMA.fullmatch(value) for value in values):
            remedy = "write numbers with a decimal point"
        told.append(f"{what} with {len(values)} levels; {remedy}")
    return told


def warn_numeric_labels(parsed: ParsedFormula, data: pd.DataFrame) -> None:
    """Warn where labels stand as numbers among the fixed effects, or numbers as labels.

    The former are integer columns that name things; the latter factors with nearly as many levels
    as there are observations.
    """
    for told in _crowded_factors(parsed, data) if len(data) >= _FEW else ():
        warn(f"{told} ({len(data)} observations)", CodingWarning)
    groups = {name for bar in parsed.bars for name in bar.group}
    variables = dict.fromkeys(
        variable.name
        for term in parsed.fixed_terms
        for variable in term.variables
        if isinstance(variable, Name)
    )
    for name in variables:
        if is_factor(column(data, name)):
            continue
        values = as_numbers(column(data, name))
        if not np.array_equal(values, np.round(values)):
            continue
        if name in groups:
            reason = "is a grouping factor too"
        elif len(np.unique(values)) > 2 and (_IDENTIFIER.search(name) or _numbers_the_rows(values)):
            reason = "looks like an identifier"
        else:
            continue
        warn(
            f"the integer column {name!r} {reason} but is a number among the fixed effects (one "
            f"slope); write C({name}) for one effect per level",
            CodingWarning,
        )


def _numbers_the_rows(values: np.ndarray) -> bool:
    """Whether the values count the observations: 0, 1, 2, ... or 1, 2, 3, ... in some order."""
    if len(values) < _FEW:
        return False
    ordered = np.sort(values)
    return bool(ordered[0] in (0.0, 1.0) and np.all(np.diff(ordered) == 1.0))


def warn_reused_labels(groups: Mapping[str, Factor], bars: Sequence[Bar]) -> None:
    """Warn where one grouping factor seems to be numbered anew within another.

    Individual 1 of family 1 and individual 1 of family 2 are one level of ``(1 | individual)``.
    Crossed factors look alike, so this asks for numbers as labels that start anew in every level
    of the other factor, and for several observations per combination; labels such as i1, i2, ...
    count only where the other factor's levels hold different numbers of them.
    """
    columns = {bar.group_label: bar.group for bar in bars}
    together = [set(bar.group) for bar in bars]
    for (name_a, a), (name_b, b) in combinations(groups.items(), 2):
        if len(columns[name_a]) > 1 or len(columns[name_b]) > 1:
            continue
        if any({columns[name_a][0], columns[name_b][0]} <= group for group in together):
            continue
        if len(a.levels) < len(b.levels):
            name_a, a, name_b, b = name_b, b, name_a, a
        for outer_name, outer, inner_name, inner in (
            (name_a, a, name_b, b),
            (name_b, b, name_a, a),
        ):
            if _numbered_within(inner, outer):
                warn(
                    f"the labels of {inner_name!r} start anew within {outer_name!r}, and equal "
                    f"labels count as one group; if {inner_name} {inner.levels[0]!r} of two "
                    f"levels of {outer_name!r} are different, write "
                    f"(1 | {outer_name}:{inner_name})",
                    CodingWarning,
                )
                break


#: Attributes that one individual has one value of.
_OF_AN_INDIVIDUAL = re.compile(r"^(sex|gender)$", re.IGNORECASE)
#: Groups that hold several individuals, and whose attributes may differ therefore.
_OF_SEVERAL = re.compile(r"fam|pair|twin|litter|couple|house|sib", re.IGNORECASE)


def warn_shared_identifiers(
    parsed: ParsedFormula, data: pd.DataFrame, groups: Mapping[str, Factor]
) -> None:
    """Warn where an identifier seems to stand for individuals of both sexes.

    Identifier 7 of a brother and of his sister is one level of ``(1 | id)``.  This asks for a
    name that says identifier, for most levels with more than one sex, and for observations that
    agree in all other covariates and are told apart by sex.
    """
    variables = {
        v.name for term in parsed.fixed_terms for v in term.variables if isinstance(v, Name)
    }
    sexes = [name for name in variables if _OF_AN_INDIVIDUAL.match(name)]
    for bar in parsed.bars:
        name = bar.group_label
        if len(bar.group) > 1 or not _IDENTIFIER.search(name) or _OF_SEVERAL.search(name):
            continue
        rows = pd.DataFrame({"group": groups[name].codes})
        others = [v for v in sorted(variables) if v not in sexes and v != name]
        for other in others:
            rows[f"covariate {other}"] = np.asarray(column(data, other))
        for sex in sexes:
            split = rows.assign(sex=np.asarray(column(data, sex)))
            both = split.groupby("group")["sex"].nunique().to_numpy() > 1
            if both.mean() > 0.5 and not split.duplicated().any() and rows.duplicated().any():
                warn(
                    f"{sex!r} differs within {int(both.sum())} of the {len(both)} levels of "
                    f"{name!r}; if a label stands for several individuals, write "
                    f"({bar.lhs} | {sex}:{name})",
                    CodingWarning,
                )
                break


def _numbered_within(inner: Factor, outer: Factor) -> bool:
    matches = [re.fullmatch(r"(\D*)0*(\d{1,9})", level) for level in inner.levels]
    prefixes = {m.group(1) for m in matches if m}
    if not all(matches) or len(prefixes) != 1:
        return False
    numbers = np.array([int(m.group(2)) for m in matches if m])
    first = numbers.min()
    if first not in (0, 1) or set(numbers.tolist()) != set(range(first, first + len(numbers))):
        return False
    rank = np.argsort(np.argsort(numbers))[inner.codes]
    cells = np.unique(outer.codes.astype(np.int64) * len(inner.levels) + rank)
    if len(inner.codes) < 1.5 * len(cells):
        return False
    of, rank = np.divmod(cells, len(inner.levels))
    count = np.bincount(of, minlength=len(outer.levels))
    largest = np.zeros(len(outer.levels), dtype=np.int64)
    np.maximum.at(largest, of, rank)
    if prefixes != {""} and np.all(count == count[0]):
        return False
    # ranks 0 .. k - 1 without a gap in every level, and most levels with more than one
    return bool(np.all(largest == count - 1) and np.median(count) >= 2)
