"""Single-term deletions: :func:`drop1` for linear models and for mixed models."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from lmmjax.errors import LmmError
from lmmjax.linear.anova import _target
from lmmjax.linear.least_squares import added_sum_of_squares
from lmmjax.linear.refit import refit_stored, stored_weights
from lmmjax.linear.results import LmFit
from lmmjax.linear.terms import full_matrix, scope_terms, term_columns
from lmmjax.linear.update import update_formula
from lmmjax.lmm_fit import LmmFit


def drop1(
    fit: LmFit | LmmFit, scope: str | Sequence[str] | None = None, test: str | None = None
) -> pd.DataFrame:
    """What becomes of a fit when each of its fixed terms in turn is dropped, as R's ``drop1``.

    Parameters
    ----------
    fit : LmFit or LmmFit
    scope : formula or list of terms, optional
        The terms to drop, ``"~ a + b:c"`` or ``["a", "b:c"]``; default: every term that no other
        term contains (a main effect stays while its interaction is there).
    test : {None, "Chisq", "F"}
        Likelihood-ratio tests, or (linear models only) F tests against the fit.

    Returns
    -------
    DataFrame
        One row per term after ``"<none>"``, the fit as it is. Of a linear model: ``Df`` lost,
        ``Sum of Sq`` lost, ``RSS`` left and ``AIC``, here n log(RSS / n) + 2 p without the
        constants of :attr:`LmFit.aic`, as R's ``extractAIC``; with a test ``Pr(>Chi)``, or
        ``F value`` and ``Pr(>F)``. Of a mixed model: ``npar`` lost and ``AIC`` of maximum-
        likelihood fits; with ``test="Chisq"`` also ``LRT`` and ``Pr(Chi)``.

    Raises
    ------
    FormulaError
        A term of the scope is not in the model.
    LmmError
        An unknown test, an F test of a mixed model, or something that is not a fit.

    Notes
    -----
    A mixed model is fitted again by maximum likelihood without each term, on the observations
    that the fit uses; random effects stay.

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.linear import lm
    >>> fit = lm("Reaction ~ Days", lmmjax.datasets.load_sleepstudy())
    >>> drop1(fit, test="F").loc["Days", ["Sum of Sq", "F value"]].round(2).tolist()
    [162702.65, 71.46]
    """
    if not isinstance(fit, LmFit | LmmFit):
        raise LmmError(f"drop1 needs a fit by lm or lmer, not {type(fit).__name__}")
    if test not in (None, "Chisq", "F"):
        raise LmmError(f"test is None, 'Chisq' or 'F', not {test!r}")
    if isinstance(fit, LmFit):
        return _drop_linear(fit, scope_terms(scope, fit.design.parsed.fixed_terms), test)
    if test == "F":
        raise LmmError("drop1 of a mixed model has no F test; use test='Chisq'")
    return _drop_mixed(fit, scope_terms(scope, fit.model.design.parsed.fixed_terms), test)


def _drop_linear(fit: LmFit, dropped: list[str], test: str | None) -> pd.DataFrame:
    X, y, n = full_matrix(fit.design), _target(fit), fit.n_obs
    columns = dict(term_columns(fit.design))
    lost = []
    for label in dropped:
        inside = np.isin(np.arange(X.shape[1]), columns[label])
        lost.append(added_sum_of_squares(X[:, ~inside], X[:, inside], y, fit.weights))
    ss = np.array([np.nan, *(s for s, _ in lost)])
    df = np.array([0, *(d for _, d in lost)])
    rss = fit.rss + np.nan_to_num(ss)
    table = pd.DataFrame(
        {
            "Df": pd.array([pd.NA, *df[1:].tolist()], dtype="Int64"),
            "Sum of Sq": ss,
            "RSS": rss,
            "AIC": n * np.log(rss / n) + 2.0 * (fit.rank - df),
        },
        index=["<none>", *dropped],
    )
    some = np.where(df > 0, df, np.nan)
    if test == "Chisq":
        table["Pr(>Chi)"] = stats.chi2.sf(n * np.log1p(ss / fit.rss), some)
    if test == "F":
        table["F value"] = ss / some / fit.sigma**2
        table["Pr(>F)"] = stats.f.sf(table["F value"], some, fit.df_resid)
    return table


def _drop_mixed(fit: LmmFit, dropped: list[str], test: str | None) -> pd.DataFrame:
    formula, weights = fit.formula, stored_weights(fit)
    full = fit
    if fit.reml:
        full = refit_stored(fit, formula, False, weights=weights, quiet=True)
    fits = [full]
    for label in dropped:
        smaller = update_formula(formula, f"~ . - {label}")
        fits.append(refit_stored(fit, smaller, False, weights=weights, quiet=True))
    npar = np.array([full.df - other.df for other in fits])
    table = pd.DataFrame(
        {
            "npar": pd.array([pd.NA, *npar[1:].tolist()], dtype="Int64"),
            "AIC": [other.aic for other in fits],
        },
        index=["<none>", *dropped],
    )
    if test == "Chisq":
        lrt = np.array([other.objective - full.objective for other in fits])
        lrt[0] = np.nan
        table["LRT"] = lrt
        table["Pr(Chi)"] = stats.chi2.sf(lrt, np.where(npar > 0, npar, np.nan))
    return table
