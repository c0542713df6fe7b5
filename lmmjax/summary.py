"""The text of a fitted model, laid out as lme4's ``summary``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .summary_format import abbreviate, align, significant, table

if TYPE_CHECKING:
    from .lmm_fit import LmmFit

DIGITS = 4
#: Most fixed effects whose correlations are shown.
MAX_CORRELATIONS = 12
#: Weights that came without a name.
UNNAMED_WEIGHTS = "given by observation"


def summary(fit: LmmFit) -> str:
    """See :meth:`lmmjax.lmm_fit.LmmFit.summary`."""
    parts = [_header(fit)]
    if fit.status.has_estimates:
        parts += [
            _criterion(fit), _residuals(fit), _random_effects(fit), _fixed_effects(fit),
            _correlations(fit), _remarks(fit),
        ]  # fmt: skip
    else:
        parts.append([f"No estimates: {fit.status.value}. {fit.status.meaning}"])
    blocks = ["\n".join(line.rstrip() for line in part) for part in parts if part]
    return "\n\n".join(blocks)


def _header(fit: LmmFit) -> list[str]:
    kind = "Linear mixed model" if fit.model.design.terms else "Linear model"
    method = "REML" if fit.reml else "maximum likelihood"
    lines = [f"{kind} fit by {method}", f"Formula: {fit.formula}"]
    if fit.model.design.parsed.response != fit.response:
        lines.append(f"Response: {fit.response}")
    if fit.fits.weights is not None:
        lines.append(f"Weights: {fit.weights_label or UNNAMED_WEIGHTS}")
    return lines


def _criterion(fit: LmmFit) -> list[str]:
    if fit.reml:
        return [f"REML criterion at convergence: {significant([round(fit.objective, 1)], 7)[0]}"]
    numbers = np.round([fit.aic, fit.bic, fit.loglik, fit.objective], 1)
    text = [*significant(numbers, 7), str(fit.df_resid)]
    return _named_row(["AIC", "BIC", "logLik", "deviance", "df.resid"], text)


def _named_row(names: list[str], values: list[str]) -> list[str]:
    width = max(map(len, [*names, *values]))
    return [" ".join(item.rjust(width) for item in row) for row in (names, values)]


def _residuals(fit: LmmFit) -> list[str]:
    scaled = fit.scaled_residuals().to_numpy()
    quantiles = np.quantile(scaled, [0, 0.25, 0.5, 0.75, 1])
    largest = np.max(np.abs(quantiles))
    if largest > 0:  # what is tiny beside the largest is shown as zero
        quantiles = np.round(quantiles, max(0, int(DIGITS + 1.5 - np.log10(largest))))
    names = ["Min", "1Q", "Median", "3Q", "Max"]
    return ["Scaled residuals:", *_named_row(names, significant(quantiles + 0.0, DIGITS))]


def _random_effects(fit: LmmFit) -> list[str]:
    terms = fit.model.design.terms
    covariances = [cov[fit.index] for cov in fit.fits.term_covariances()]
    groups: list[str] = []
    for term in terms:  # several terms of one factor: Subject, Subject.1
        same = sum(other.group == term.group for other in terms[: len(groups)])
        groups.append(f"{term.group}.{same}" if same else term.group)
    variances = [v for cov in covariances for v in np.diag(cov)] + [fit.sigma**2]
    widest = max((term.n_columns for term in terms), default=1)
    variance = significant(variances, DIGITS)
    sd = significant(np.sqrt(variances), DIGITS)
    rows, row = [], 0
    for group, term, cov in zip(groups, terms, covariances, strict=True):
        correlation = _correlation_text(cov)
        for i, name in enumerate(term.columns):
            below = [correlation[i][j] if j < i else "" for j in range(widest - 1)]
            rows.append(["", group if i == 0 else "", name, variance[row], sd[row], *below])
            row += 1
    rows.append(["", "Residual", "", variance[row], sd[row], *[""] * (widest - 1)])
    header = ["", "Groups", "Name", "Variance", "Std.Dev."]
    header += ["Corr", *[""] * (widest - 2)] if widest > 1 else []
    counts = {term.group: _levels_seen(fit, k) for k, term in enumerate(terms)}
    told = "; ".join(f"{group}, {count}" for group, count in counts.items())
    last = f"Number of obs: {fit.n_obs}" + (f", groups:  {told}" if told else "")
    return ["Random effects:", *table(rows, header, left=len(header)), last]


def _levels_seen(fit: LmmFit, k: int) -> int:
    return len(np.unique(fit.model.design.terms[k].codes[fit._seen]))


def _correlation_text(cov: np.ndarray) -> list[list[str]]:
    sd = np.sqrt(np.diag(cov))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = cov / np.outer(sd, sd)
    text = ["NaN" if np.isnan(x) else f"{x:.2f}" for x in correlation.ravel()]
    aligned = align(text)
    q = len(cov)
    return [aligned[i * q : (i + 1) * q] for i in range(q)]


def _estimated(fit: LmmFit) -> tuple[np.ndarray, list[str]]:
    """Which coefficients have an estimate, and their names."""
    estimated = ~np.isnan(fit.fixef.to_numpy())
    return estimated, [str(name) for name in fit.fixef.index[estimated]]


def _fixed_effects(fit: LmmFit) -> list[str]:
    estimated, names = _estimated(fit)
    if not names:
        return []
    estimate, error = fit.fixef.to_numpy()[estimated], fit.std_errors.to_numpy()[estimated]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = estimate / error
    numbers = np.concatenate([estimate, error])
    size = np.abs(numbers[np.isfinite(numbers) & (numbers != 0)])
    smallest = 1 + int(np.floor(np.log10(size.min()))) if len(size) else 0
    text = significant(np.round(numbers, max(1, DIGITS - smallest)) + 0.0, DIGITS)
    t_text = significant(np.round(t, 3) + 0.0, DIGITS)
    columns = (names, text[: len(names)], text[len(names) :], t_text)
    rows = [list(row) for row in zip(*columns, strict=True)]
    return ["Fixed effects:", *table(rows, ["", "Estimate", "Std. Error", "t value"])]


def _correlations(fit: LmmFit) -> list[str]:
    estimated, names = _estimated(fit)
    p = len(names)
    if p < 2:
        return []
    if p > MAX_CORRELATIONS:
        return [f"Correlation of Fixed Effects: {p} x {p}, see vcov"]
    vcov = fit.vcov.to_numpy()[np.ix_(estimated, estimated)]
    sd = np.sqrt(np.diag(vcov))
    text = align([f"{x + 0.0:.3f}" for x in np.round(vcov / np.outer(sd, sd), 3).ravel()])
    rows = [
        [label, *(text[i * p + j] if j < i else "" for j in range(p - 1))]
        for i, label in enumerate(abbreviate(names, 11))
    ]
    header = ["", *abbreviate(names, 6)[:-1]]
    return ["Correlation of Fixed Effects:", *table(rows[1:], header, left=p)]


def _remarks(fit: LmmFit) -> list[str]:
    out = []
    dropped = [str(name) for name in fit.fixef.index[~_estimated(fit)[0]]]
    if dropped:
        out.append(f"dropped as linearly dependent: {', '.join(dropped)}")
    if not fit.converged:
        out.append(f"{fit.status.value}: {fit.status.meaning}")
    if fit.singular:
        out.append("boundary (singular) fit: a variance is zero or a correlation is +-1")
    return out
