"""Names that users of lme4, lmerTest or statsmodels try, and what they are here."""

from __future__ import annotations

from typing import TYPE_CHECKING

#: Their name, in small letters and without dots and underscores, to the expression here.
ELSEWHERE = {
    "varcorr": "fit.varcorr",
    "aic": "fit.aic",
    "bic": "fit.bic",
    "loglik": "fit.loglik",
    "llf": "fit.loglik",
    "remlcrit": "fit.objective",
    "getme": "fit.getme(name)",
    "repca": "fit.repca()",
    "issingular": "fit.singular",
    "isreml": "fit.reml",
    "bootmer": "fit.bootstrap(n)",
    "confint": "fit.confint()",
    "params": "fit.fixef",
    "feparams": "fit.fixef",
    "beta": "fit.fixef",
    "coefficients": "fit.fixef (or fit.coef() by level)",
    "bse": "fit.std_errors",
    "bsefe": "fit.std_errors",
    "se": "fit.std_errors",
    "stderrors": "fit.std_errors",
    "tvalues": "fit.fixef / fit.std_errors",
    "tstat": "fit.fixef / fit.std_errors",
    "tvalue": "fit.fixef / fit.std_errors",
    "covparams": "fit.vcov",
    "covre": "fit.varcorr",
    "vcomp": "fit.varcorr",
    "scale": "fit.sigma (the residual standard deviation)",
    "randomeffects": "fit.ranef()",
    "randomeffectscov": "fit.cond_var()",
    "condvar": "fit.cond_var()",
    "fixedeffects": "fit.fixef",
    "fittedvalues": "fit.fitted()",
    "resid": "fit.residuals()",
    "dfresidual": "fit.df_resid",
    "dfresiduals": "fit.df_resid",
    "rsquared": "fit.r2()",
    "cooksdistance": "fit.cooks_distance()",
    "hatvalues": "fit.hatvalues()",
    "converge": "fit.converged",
    "anova": "lmmjax.anova(fit0, fit1)",
    "lrtest": "lmmjax.lrtest(fit0, fit1)",
    "drop1": "lmmjax.drop1(fit)",
    "update": "lmmjax.update(fit, formula)",
    "terms": "fit.model.design.terms",
    "frame": "fit.model.design.spec.table",
    "topickle": "fit.save(directory)",
    "toparquet": "fit.save(directory)",
}


class NamesElsewhere:
    """Points from names of other packages to those of :class:`~lmmjax.lmm_fit.LmmFit`."""

    if not TYPE_CHECKING:  # type checkers report unknown names themselves

        def __getattr__(self, name: str):
            message = f"an LmmFit has no attribute {name!r}"
            if not name.startswith("_"):
                here = ELSEWHERE.get(name.lower().replace("_", "").replace(".", ""))
                message += "" if here is None else f"; use {here}"
            raise AttributeError(message, name=name, obj=self)
