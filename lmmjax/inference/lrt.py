"""Likelihood-ratio tests between fits: :func:`anova` and :func:`lrtest`."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from lmmjax.errors import LmmError, RefitWarning, warn
from lmmjax.inference.comparison import (
    Comparison,
    check_comparable,
    compare,
    fixed_parts_differ,
    table,
)
from lmmjax.inference.mixture import chi2_sf
from lmmjax.inference.multiplicity import benjamini_hochberg
from lmmjax.inference.single_fits import batches_of_one
from lmmjax.linear.results import LmFit
from lmmjax.refit import refit as fit_again
from lmmjax.results import FitBatch

if TYPE_CHECKING:
    from lmmjax.single import LmmFit


def anova(
    *fits: FitBatch | LmmFit | LmFit,
    refit: bool = True,
    allow_not_converged: bool = False,
    type: str | int | None = None,
) -> pd.DataFrame:
    """Likelihood-ratio tests between nested mixed models, F tests for linear ones.

    Parameters
    ----------
    *fits : two FitBatch, two or more LmmFit and LmFit, or one LmFit
        One `LmFit` gives its analysis of variance, several the F tests between them; see
        :func:`lmmjax.linear.anova.anova_table` and :func:`lmmjax.linear.anova.compare`. Else
        fits of the same values at the same observations, in any order; the one with fewer
        parameters is the null model. Whether it is nested in the other is checked by the
        spaces that the models span, not by names. A linear model takes part by its maximum
        likelihood, as the model without random effects.
    refit : bool
        REML fits whose fixed effects differ are refitted by ML, which a warning says (False: an
        error). For `LmmFit`, every REML fit is, as lme4's ``anova`` does; False keeps REML.
    allow_not_converged : bool
        Give p-values for fits that have not converged, too.
    type : str or int
        Of the sums of squares in the analysis of variance of one `LmFit`: I (default), II or
        III.

    Returns
    -------
    DataFrame
        Of two `FitBatch`, one row per response:

        - ``loglik0``, ``loglik1``: (restricted) log-likelihoods;
        - ``df0``, ``df1``: numbers of parameters;
        - ``chisq``, ``df``: twice the difference of the former, difference of the latter;
        - ``p_chisq``: upper tail of the plain chi-square;
        - ``p_value``: under the right null;
        - ``fdr``: Benjamini-Hochberg adjusted ``p_value``, over the responses that have one;
        - ``null``: the right null, such as ``"0.5 chisq(0) + 0.5 chisq(1)"``;
        - ``status``: ``"ok"``; ``"failed_fit"`` where a fit has not converged, or the larger
          model fits worse than the smaller beyond rounding; ``"not_estimable"`` where missing
          values make the models the same. The last two have no p-value.

        Of single fits, one row per model, indexed by its formula, with the columns of R's table
        (``Chisq``, ``Df`` and ``Pr(>Chisq)`` against the row above), then ``p_value`` and
        ``null``.

    Raises
    ------
    NestingError
        Neither model is a special case of the other, or REML fits cannot be compared as they are.
    AlignmentError, ShapeError
        The fits are of different responses, observations, values or weights.
    LmmError
        A single mixed model (:func:`lmmjax.drop1` tests its terms), fits in a list, or `type`
        for anything but one `LmFit`.

    Notes
    -----
    The right null is a chi-square where only fixed effects, or covariances among effects that
    have a variance, are added. An added variance lies on its boundary under the null, and the
    statistic follows a mixture of chi-squares (Self & Liang 1987): half chisq(0), half chisq(1)
    for one variance; half chisq(q), half chisq(q + 1) for one more effect in a term of q (Stram
    & Lee 1994); weights from the information at the smaller fit for two or three variances, or
    a new term of two effects. For other cones the largest possible mixture is used and ``null``
    begins with "at most": those p-values are conservative. Fixed effects tested at the same time
    add their degrees of freedom to every component. Variances of the smaller model are taken to
    be positive. All this holds for many levels: with few, tests of fixed effects reject too
    often under ML, and tests of variances somewhat too rarely.

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> y = data[["Reaction"]].to_numpy()
    >>> small, large = (lmmjax.compile(f, data).fit(y, reml=False) for f in
    ...                 ("~ Days + (1 | Subject)", "~ Days + (Days | Subject)"))
    >>> table = lmmjax.anova(small, large)
    >>> float(table["chisq"].iloc[0].round(3)), table["null"].iloc[0]
    (42.139, '0.5 chisq(1) + 0.5 chisq(2)')
    """
    if type is not None and not (len(fits) == 1 and isinstance(fits[0], LmFit)):
        raise LmmError(
            f"type={type!r} is of the sums of squares of one lm fit; leave it out to compare fits"
        )
    if fits and all(isinstance(fit, LmFit) for fit in fits):
        return _linear(fits, "I" if type is None else type)
    _check_several(fits, "anova")
    batches = [fit for fit in fits if isinstance(fit, FitBatch)]
    if len(batches) == len(fits) == 2:
        return _batch_table(batches[0], batches[1], refit, allow_not_converged)
    if batches:
        raise LmmError("anova compares two FitBatch, or fits of one response: fits0[gene], ...")
    singles = batches_of_one(fits)
    for other in singles[1:]:
        check_comparable(singles[0], other)
    singles.sort(key=_parameters)
    if refit and any(fit.reml for fit in singles):
        # what is not nested is refused before anything is fitted again
        differ = [fixed_parts_differ(*pair) for pair in itertools.pairwise(singles)]
        singles = _refit(singles, any(differ))
    return _r_table(singles, allow_not_converged)


def _linear(fits: tuple, type: str | int) -> pd.DataFrame:
    from lmmjax.linear.anova import anova_table, compare

    return anova_table(fits[0], type) if len(fits) == 1 else compare(*fits)


def _check_several(fits: tuple, name: str) -> None:
    if len(fits) > 1:
        return
    told = f"{name} compares at least two fits, given one by one: {name}(m0, m1)"
    if fits and isinstance(fits[0], list | tuple):
        told += f"; write {name}(*fits) for fits in a {fits[0].__class__.__name__}"
    elif fits:
        told += "; drop1(fit, test='Chisq') tests the fixed-effects terms of one fit"
    raise LmmError(told)


def lrtest(*fits: LmmFit | LmFit, reml_ok: bool = False) -> pd.DataFrame:
    """Likelihood-ratio tests of fits as they are, the table of R's ``lmtest::lrtest``.

    Parameters
    ----------
    *fits : two or more LmmFit or LmFit
        In any order; each is tested against the next smaller one. A linear model has an
        ordinary log-likelihood, so the mixed models beside it have to be fits by ML.
    reml_ok : bool
        Compare REML fits even if their fixed effects differ, as ``lmtest`` does unasked: a
        warning says why the result is no test, ``Chisq`` is the absolute difference, and
        ``p_value`` is missing.

    Returns
    -------
    DataFrame
        One row per model, the smallest first: ``#Df``, ``LogLik``, ``Df``, ``Chisq``,
        ``Pr(>Chisq)`` (plain chi-square), ``p_value`` (right null) and ``null``.

    Raises
    ------
    NestingError, AlignmentError, ShapeError
        As :func:`anova` with ``refit=False``.
    LmmError
        Fewer than two fits, or something else.

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> small = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data)
    >>> large = lmmjax.lmer("Reaction ~ Days + (Days | Subject)", data)
    >>> float(lmmjax.lrtest(small, large)["Chisq"].iloc[1].round(3))
    42.837
    """
    _check_several(fits, "lrtest")
    linear = [fit for fit in fits if isinstance(fit, LmFit)]
    if len(linear) == len(fits):
        return _linear_lrtest(linear)
    batches = sorted(batches_of_one(fits), key=_parameters)
    results = [compare(*pair, reml_ok=reml_ok) for pair in itertools.pairwise(batches)]
    rows = _rows(results)
    return pd.DataFrame(
        {
            "#Df": rows["npar"],
            "LogLik": [results[0].loglik0[0], *(r.loglik1[0] for r in results)],
            "Df": rows["Df"],
            "Chisq": rows["Chisq"],
            "Pr(>Chisq)": rows["Pr(>Chisq)"],
            "p_value": rows["p_value"],
            "null": rows["null"],
        },
        index=_formulas(batches),
    )


def _linear_lrtest(fits: list[LmFit]) -> pd.DataFrame:
    """The same table for linear models, by maximum likelihood."""
    from lmmjax.linear.anova import compare

    compare(*fits)  # checks that they are nested, and of the same values
    fits = sorted(fits, key=lambda fit: fit.df)
    chisq = np.array([np.nan, *(2.0 * np.diff([fit.loglik for fit in fits]))])
    df = np.array([1, *np.diff([fit.df for fit in fits])])
    p = chi2_sf(chisq, df)
    return pd.DataFrame(
        {
            "#Df": [fit.df for fit in fits],
            "LogLik": [fit.loglik for fit in fits],
            "Df": pd.array([pd.NA, *df[1:]], dtype="Int64"),
            "Chisq": chisq,
            "Pr(>Chisq)": p,
            "p_value": p,
            "null": ["", *(f"chisq({count})" for count in df[1:])],
        },
        index=pd.Index([fit.formula for fit in fits], name="model"),
    )


def _batch_table(
    first: FitBatch, second: FitBatch, refit: bool, allow_not_converged: bool
) -> pd.DataFrame:
    check_comparable(first, second)
    pair = [first, second]
    if refit and (first.reml or second.reml):
        differ = fixed_parts_differ(first, second)
        if differ or first.reml != second.reml:
            pair = _refit(pair, differ)
    result = compare(pair[0], pair[1], allow_not_converged)
    return table(result, benjamini_hochberg(result.p_value))


def _refit(fits: list[FitBatch], differ: bool) -> list[FitBatch]:
    """Every REML fit by ML; ``differ``: the fixed effects are not the same in all."""
    formulas = " and ".join(repr(f.model.formula) for f in fits if f.reml)
    if differ:
        reason = "because log-likelihoods of REML fits depend on the fixed effects"
    elif not all(f.reml for f in fits):
        reason = "because the fits beside them are by ML"
    else:
        reason = "as lme4's anova does"
    kept = "" if differ or not all(f.reml for f in fits) else "; refit=False keeps REML"
    warn(f"refitted by ML, {reason}: {formulas}{kept}", RefitWarning)
    return [fit_again(f, reml=False) if f.reml else f for f in fits]


# ---- one response -------------------------------------------------------------------------


def _parameters(fits: FitBatch) -> int:
    return fits.model.n_parameters


def _formulas(fits: list[FitBatch]) -> pd.Index:
    return pd.Index([f.model.formula for f in fits], name="model")


def _rows(results: list[Comparison]) -> dict[str, Any]:
    """Columns of successive tests; the first row, which is tested against none, is missing."""
    fits = [results[0].smaller, *(r.larger for r in results)]
    nan = [np.nan]
    return {
        "npar": [_parameters(f) for f in fits],
        "Chisq": nan + [r.chisq[0] for r in results],
        "Df": pd.array([pd.NA, *(int(r.df[0]) for r in results)], dtype="Int64"),
        "Pr(>Chisq)": nan + [r.p_chisq[0] for r in results],
        "p_value": nan + [r.p_value[0] for r in results],
        "null": ["", *(r.null[0] for r in results)],
    }


def _r_table(fits: list[FitBatch], allow_not_converged: bool) -> pd.DataFrame:
    results = [
        compare(smaller, larger, allow_not_converged)
        for smaller, larger in itertools.pairwise(fits)
    ]
    rows = _rows(results)
    number = lambda name: [cast(float, getattr(f, name).iloc[0]) for f in fits]  # noqa: E731
    return pd.DataFrame(
        {
            "npar": rows["npar"],
            "AIC": number("aic"),
            "BIC": number("bic"),
            "logLik": number("loglik"),
            "deviance": number("objective"),
            "Chisq": rows["Chisq"],
            "Df": rows["Df"],
            "Pr(>Chisq)": rows["Pr(>Chisq)"],
            "p_value": rows["p_value"],
            "null": rows["null"],
        },
        index=_formulas(fits),
    )
