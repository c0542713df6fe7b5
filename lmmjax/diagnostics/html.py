"""A fitted model as a small HTML page for notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from lmmjax.summary_format import significant

from .components import ngrps
from .convergence import check

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit

DIGITS = 4


def fit_html(fit: LmmFit) -> str:
    """A fit as HTML: formula, criterion, random effects, fixed effects, notes.

    Every name is escaped; there is no script and only inline style.

    Parameters
    ----------
    fit
        Fit of one response, with estimates or without.

    Returns
    -------
    str

    Examples
    --------
    >>> import lmmjax
    >>> from lmmjax.diagnostics import fit_html
    >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> "Reaction ~ Days + (Days | Subject)" in fit_html(fit)
    True
    """
    kind = "Linear mixed model" if fit.model.design.terms else "Linear model"
    method = "REML" if fit.reml else "maximum likelihood"
    parts = [f"<p><b>{kind} by {method}</b>: <code>{escape(fit.formula)}</code>"]
    if fit.model.design.parsed.response != fit.response:
        parts.append(f", response <code>{escape(str(fit.response))}</code>")
    parts.append("</p>")
    if fit.status.has_estimates:
        parts += [_criterion(fit), _random_effects(fit), _fixed_effects(fit)]
    notes = list(check(fit).boundary)
    if not fit.converged:
        notes.insert(0, f"{fit.status.value}: {fit.status.meaning}")
    dropped = [str(name) for name, value in fit.fixef.items() if np.isnan(value)]
    if dropped and fit.status.has_estimates:
        notes.append(f"without an estimate (linearly dependent): {', '.join(dropped)}")
    parts += [f"<p><i>{escape(note)}</i></p>" for note in notes]
    return f"<div>{''.join(parts)}</div>"


def _criterion(fit: LmmFit) -> str:
    name = "REML criterion" if fit.reml else "&minus;2 log-likelihood"
    counts = "".join(f", {escape(str(k))}: {v}" for k, v in ngrps(fit).items())
    groups = f"; levels{counts[1:]}" if counts else ""
    return (
        f"<p>{name} {fit.objective:.4f}, AIC {fit.aic:.1f}, BIC {fit.bic:.1f}; "
        f"{fit.n_obs} observations{groups}</p>"
    )


def _random_effects(fit: LmmFit) -> str:
    table = fit.varcorr
    is_variance = table["name2"].isna().to_numpy()
    variances = table[is_variance]
    numbers = [np.asarray(variances[column], dtype=float) for column in ("vcov", "sdcor")]
    texts = [significant(column, DIGITS) for column in numbers]
    rows = []
    for at, (_, row) in enumerate(variances.iterrows()):
        rows.append(
            [
                row["group"],
                row["name1"] if isinstance(row["name1"], str) else "",
                texts[0][at],
                texts[1][at],
            ]
        )
    html = _table("Random effects", ["Group", "Effect", "Variance", "Std. Dev."], rows, 2)
    correlations = [
        [row["group"], f"{row['name1']}, {row['name2']}", f"{row['sdcor']:.3f}"]
        for _, row in table[~is_variance].iterrows()
    ]
    if correlations:
        html += _table("Correlations", ["Group", "Effects", "Correlation"], correlations, 2)
    return html


def _fixed_effects(fit: LmmFit) -> str:
    estimate = fit.fixef.dropna()
    if estimate.empty:
        return ""
    error = fit.std_errors.to_numpy()[fit.fixef.notna().to_numpy()]
    with np.errstate(divide="ignore", invalid="ignore"):
        t = estimate.to_numpy() / error
    columns = [significant(values, DIGITS) for values in (estimate.to_numpy(), error)]
    columns.append([f"{value:.3f}" for value in t])
    rows = [list(row) for row in zip(map(str, estimate.index), *columns, strict=True)]
    return _table("Fixed effects", ["", "Estimate", "Std. Error", "t value"], rows, 1)


def _table(
    caption: str, header: Sequence[str], rows: Sequence[Sequence[object]], n_text: int
) -> str:
    """Rows of cells; the first ``n_text`` columns are text, the others right-aligned."""

    def cells(values: Sequence[object], tag: str) -> str:
        return "".join(
            f"<{tag} style='text-align:{'left' if k < n_text else 'right'}'>"
            f"{escape(str(value).strip())}</{tag}>"
            for k, value in enumerate(values)
        )

    body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in rows)
    title = f"<caption style='text-align:left'>{escape(caption)}</caption>"
    head = f"<thead><tr>{cells(header, 'th')}</tr></thead>"
    return f"<table>{title}{head}<tbody>{body}</tbody></table>"
