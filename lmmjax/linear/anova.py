"""Analysis of variance of linear models: the terms of one fit, or several fits compared."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from lmmjax.design import Design
from lmmjax.errors import CodingWarning, DesignError, LmmError, NestingError, ShapeError, warn
from lmmjax.inference.nesting import check_nested
from lmmjax.linear.least_squares import added_sum_of_squares
from lmmjax.linear.results import LmFit
from lmmjax.linear.terms import contains, full_matrix, term_columns

_TYPES: dict[Any, str] = {"I": "I", "II": "II", "III": "III", 1: "I", 2: "II", 3: "III"}


def anova_table(fit: LmFit, type: str | int = "I") -> pd.DataFrame:
    """F tests of the terms of a linear model.

    Parameters
    ----------
    fit : LmFit
    type : {"I", "II", "III"}
        Which other terms each term is adjusted for. ``"I"``: those before it (R's ``anova``);
        ``"II"``: those that do not contain it; ``"III"``: all others, the intercept too (both as
        ``car::Anova``). Type III depends on the coding of factors: main effects are averages over
        the levels of other factors only if contrasts sum to zero.

    Returns
    -------
    DataFrame
        One row per term, and ``"Residuals"``; columns ``Df``, ``Sum Sq``, ``Mean Sq``,
        ``F value`` and ``Pr(>F)``. Type III has a row ``"(Intercept)"``. Type I leaves out terms
        without a coefficient of their own; types II and III show them with 0 degrees of freedom.

    Raises
    ------
    DesignError
        Type III with linearly dependent columns.
    LmmError
        Unknown type, or not a linear model.

    Warns
    -----
    CodingWarning
        Type III, and a factor in an interaction is coded by contrasts that do not sum to zero.

    Notes
    -----
    Type II with linearly dependent columns compares models with and without the term, each with
    all the columns of its terms, as ``car`` does.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.linear import lm
    >>> fit = lm("Reaction ~ Days", lmmjax.datasets.load_sleepstudy())
    >>> anova_table(fit).loc["Days", "F value"].round(3)
    np.float64(71.464)
    """
    _check_fit(fit)
    kind = _TYPES.get(type.upper() if isinstance(type, str) else type)
    if kind is None:
        raise LmmError(f"type is 'I', 'II' or 'III', not {type!r}")
    if kind == "I":
        labels, ss, df = _sequential(fit)
    else:
        labels, ss, df = _adjusted(fit, kind)
    squares, counts = np.array([*ss, fit.rss]), np.array([*df, fit.df_resid])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = squares / counts
        f = np.append(mean[:-1] / fit.sigma**2, np.nan)
    return pd.DataFrame(
        {
            "Df": counts.astype(int),
            "Sum Sq": squares,
            "Mean Sq": mean,
            "F value": f,
            "Pr(>F)": stats.f.sf(f, counts, fit.df_resid),
        },
        index=pd.Index([*labels, "Residuals"]),
    )


def _check_fit(fit: Any) -> None:
    if not isinstance(fit, LmFit):
        raise LmmError(f"a table of a linear model needs a fit by lm, not {type(fit).__name__}")


def _sequential(fit: LmFit) -> tuple[list[str], list[float], list[int]]:
    kept = fit.design.fixed_kept
    position = np.cumsum(kept) - 1
    labels, ss, df = [], [], []
    for label, columns in term_columns(fit.design):
        own = position[columns[kept[columns]]]
        if label == "(Intercept)" or not len(own):
            continue
        effects = fit.solution.effects[own]
        labels.append(label)
        ss.append(float(effects @ effects))
        df.append(len(own))
    return labels, ss, df


def _adjusted(fit: LmFit, kind: str) -> tuple[list[str], list[float], list[int]]:
    design = fit.design
    if kind == "III":
        _check_type_three(design)
    X, y = full_matrix(design), _target(fit)
    terms = list(zip(design.parsed.fixed_terms, term_columns(design), strict=True))
    labels, ss, df = [], [], []
    for term, (label, columns) in terms:
        if kind == "II" and not term.variables:
            continue
        others = [
            c for other, (_, c) in terms
            if other is not term and not (kind == "II" and contains(other, term))
        ]  # fmt: skip
        first = X[:, np.concatenate([*others, np.array([], dtype=int)]).astype(int)]
        added, count = added_sum_of_squares(first, X[:, columns], y, fit.weights)
        labels.append(label)
        ss.append(added if count else np.nan)
        df.append(count)
    return labels, ss, df


def _target(fit: LmFit) -> np.ndarray:
    assert fit.design.response is not None
    offset = fit.design.offset
    return fit.design.response if offset is None else fit.design.response - offset


def _check_type_three(design: Design) -> None:
    if not design.fixed_kept.all():
        dropped = [n for n, k in zip(design.fixed_names, design.fixed_kept, strict=True) if not k]
        raise DesignError(
            f"type III needs every coefficient, and {', '.join(dropped[:5])} depend(s) linearly "
            "on those before; remove such terms, or use type 'II'"
        )
    crossed = dict.fromkeys(
        label for term in design.parsed.fixed_terms if len(term.labels) > 1 for label in term.labels
    )
    factors = design.spec.encoder.factors
    uneven = [
        label
        for label in crossed
        if label in factors and np.any(np.abs(factors[label][1].matrix.sum(axis=0)) > 1e-8)
    ]
    if uneven:
        choice = ", ".join(f"{label!r}: 'sum'" for label in uneven)
        warn(
            f"type III tests of what interacts with {', '.join(uneven)} depend on contrasts that "
            "do not sum to zero, and are about its reference level; fit with "
            f"contrasts={{{choice}}}",
            CodingWarning,
        )


def compare(*fits: LmFit) -> pd.DataFrame:
    """F tests between nested linear models, as R's ``anova(m0, m1, ...)``.

    Parameters
    ----------
    *fits : two or more LmFit
        Of the same response at the same observations, in any order; they are sorted by their
        number of coefficients, and whether each is a special case of the next is checked.

    Returns
    -------
    DataFrame
        One row per model, indexed by its formula: ``Res.Df``, ``RSS``, and against the row above
        ``Df``, ``Sum of Sq``, ``F`` and ``Pr(>F)``. The F tests use the residual variance of the
        largest model.

    Raises
    ------
    NestingError
        The models are not nested, or two of them are the same.
    ShapeError
        Observations, values or weights differ.
    LmmError
        Fewer than two fits, or not fits of ``lm``.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.linear import lm
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> table = compare(lm("Reaction ~ 1", data), lm("Reaction ~ Days", data))
    >>> table["F"].iloc[1].round(3)
    np.float64(71.464)
    """
    for fit in fits:
        _check_fit(fit)
    if len(fits) < 2:
        raise LmmError("a comparison needs at least two fits")
    for other in fits[1:]:
        _check_comparable(fits[0], other)
    ordered = sorted(fits, key=lambda fit: fit.rank)
    df, ss = [np.nan], [np.nan]
    for smaller, larger in itertools.pairwise(ordered):
        if smaller.rank == larger.rank:
            raise NestingError(
                f"{smaller.formula!r} and {larger.formula!r} have the same number of "
                f"coefficients, {smaller.rank}, so neither is a special case of the other"
            )
        check_nested(smaller.design, larger.design)
        df.append(larger.rank - smaller.rank)
        ss.append(_between(smaller, larger))
    largest = ordered[-1]
    f = np.array(ss) / np.array(df) / largest.sigma**2
    return pd.DataFrame(
        {
            "Res.Df": [fit.df_resid for fit in ordered],
            "RSS": [fit.rss for fit in ordered],
            "Df": pd.array([pd.NA, *(int(d) for d in df[1:])], dtype="Int64"),
            "Sum of Sq": ss,
            "F": f,
            "Pr(>F)": stats.f.sf(f, np.array(df), largest.df_resid),
        },
        index=pd.Index([fit.formula for fit in ordered], name="model"),
    )


def _between(smaller: LmFit, larger: LmFit) -> float:
    """Difference of the residual sums of squares, without subtracting large numbers."""
    offsets = [0.0 if fit.design.offset is None else fit.design.offset for fit in (smaller, larger)]
    if np.any(offsets[0] != offsets[1]):
        return smaller.rss - larger.rss
    X = smaller.design.X, larger.design.X
    return added_sum_of_squares(*X, _target(larger), larger.weights)[0]


def _check_comparable(first: LmFit, second: LmFit) -> None:
    if not first.design.observations.equals(second.design.observations):
        raise ShapeError(
            f"the fits use different observations ({first.n_obs} and {second.n_obs}); where a "
            "covariate is missing, drop those rows for both models"
        )
    if not np.array_equal(np.asarray(first.design.response), np.asarray(second.design.response)):
        raise ShapeError(
            f"the fits are of different values ({first.response} and {second.response}); fit both "
            "models to the same response"
        )
    weights = [1.0 if fit.weights is None else fit.weights for fit in (first, second)]
    if np.any(weights[0] != weights[1]):
        raise ShapeError("the fits have different weights; fit both models with the same ones")
