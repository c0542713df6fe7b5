"""Did the fit work, is it on the boundary, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from lmmjax.status import Status

from .boundary import few_levels, on_boundary

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit

#: Ratio of standard deviations of covariates that is worth a remark; lme4's.
SCALE_RATIO = 1e3

_ADVICE = {
    Status.NOT_CONVERGED: (
        "the optimiser stopped early: fit with more starting points, "
        "lmmjax.compile(...).fit(Y, n_starts=10), or with fewer random effects"
    ),
    Status.ZERO_RESIDUAL: (
        "nothing is left over as noise: drop fixed effects, or a grouping factor with about one "
        "level per observation"
    ),
    Status.CONSTANT_RESPONSE: "the response does not vary: leave it out",
    Status.MISSING: "the response has no value: leave it out, or look for a label that differs",
    Status.NONFINITE: "the response holds an infinite value: replace it by NaN or correct it",
    Status.TOO_FEW_OBSERVATIONS: (
        "more observations, fewer fixed effects or fewer groups are needed"
    ),
    Status.UNIDENTIFIABLE: (
        "a grouping factor has a single level among the values of this response: drop its term, "
        "or add observations of other levels"
    ),
    Status.OVERFLOW: "the response is too large for double precision: divide it by a constant",
}


@dataclass(frozen=True)
class Check:
    """What :func:`check` found.

    Attributes
    ----------
    ok
        The fit converged and is not on the boundary.
    status
        What became of the fit.
    gradient_norm
        Largest absolute entry of the gradient of the objective in theta; NaN without estimates.
    smallest_hessian_eigenvalue
        Of the objective in theta; positive at a minimum.
    singular
        Whether the fit is on the boundary.
    boundary
        What is there: variances of zero, correlations of +-1, terms of deficient rank.
    advice
        What to do; a remark may stand here for a fit that is ok.
    response
        Name of the response.
    """

    ok: bool
    status: Status
    gradient_norm: float
    smallest_hessian_eigenvalue: float
    singular: bool
    boundary: tuple[str, ...]
    advice: tuple[str, ...]
    response: Any = None

    def _facts(self) -> list[tuple[str, str]]:
        facts = [("status", f"{self.status.value}. {self.status.meaning}")]
        if self.status.has_estimates:
            facts += [
                ("largest gradient", f"{self.gradient_norm:.2g}"),
                ("smallest eigenvalue of Hessian", f"{self.smallest_hessian_eigenvalue:.4g}"),
                ("boundary", "; ".join(self.boundary) or "no"),
            ]
        return facts

    def _title(self) -> str:
        return f"{self.response}: {'no problem found' if self.ok else 'look at this fit'}"

    def __str__(self) -> str:
        lines = [self._title(), *(f"  {name}: {text}" for name, text in self._facts())]
        return "\n".join(lines + [f"  -> {text}" for text in self.advice])

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(name)}</th>"
            f"<td style='text-align:left'>{escape(text)}</td></tr>"
            for name, text in self._facts()
        )
        advice = "".join(f"<li>{escape(text)}</li>" for text in self.advice)
        return (
            f"<div><p><b>{escape(self._title())}</b></p><table>{rows}</table>"
            f"{f'<ul>{advice}</ul>' if advice else ''}</div>"
        )


def check(fit: LmmFit) -> Check:
    """Convergence, boundary and scale of a fit, with what to do about each.

    A fit is on the boundary where a diagonal entry of Lambda, in units of the root mean square
    of its column of Z, is below 1e-4 (:attr:`lmmjax.LmmFit.singular`).  That is no error: the
    estimates are the optimum, but a simpler model has the same likelihood.

    Parameters
    ----------
    fit
        Fit of one response, with estimates or without.

    Returns
    -------
    Check

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import check
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> found = check(fit)
    >>> found.ok, found.boundary, found.advice
    (True, (), ())
    """
    advice = [] if fit.converged else [_ADVICE[fit.status]]
    boundary: list[str] = []
    if fit.singular:
        for name, remedy in on_boundary(fit):
            boundary.append(name)
            advice.append(remedy)
    if fit.status.has_estimates:
        advice += few_levels(fit) if fit.singular else []
        advice += _remarks(fit)
    return Check(
        ok=fit.converged and not fit.singular,
        status=fit.status,
        gradient_norm=float(fit.fits._gradient_norm[fit.index]),
        smallest_hessian_eigenvalue=float(fit.fits._lowest[fit.index]),
        singular=fit.singular,
        boundary=tuple(boundary),
        advice=tuple(advice),
        response=fit.response,
    )


def _remarks(fit: LmmFit) -> list[str]:
    """About the fixed effects; none of these is wrong with the fit."""
    design, out = fit.model.design, []
    missing = [str(name) for name, value in fit.fixef.items() if np.isnan(value)]
    if missing:
        out.append(
            f"no estimate for {', '.join(missing)}, linearly dependent on other fixed effects: "
            "drop them from the formula, or add observations that tell them apart"
        )
    x = design.X[fit._seen]
    names = np.array(design.fixed_names, dtype=object)[design.fixed_kept]
    sd = x.std(axis=0)
    numeric = (sd > 0) & ~np.all((x == 0) | (x == 1), axis=0)
    if numeric.sum() > 1:
        low, high = (
            int(np.flatnonzero(numeric)[pick(sd[numeric])]) for pick in (np.argmin, np.argmax)
        )
        if sd[high] > SCALE_RATIO * sd[low]:
            out.append(
                f"rescale {names[high]} or {names[low]}: their standard deviations are "
                f"{sd[high]:.3g} and {sd[low]:.3g}, so their coefficients are hard to compare "
                "(the fit itself is not affected)"
            )
    return out
