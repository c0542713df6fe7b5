"""The text of a linear model, laid out as R's ``summary(lm)``, and its table in HTML."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

import numpy as np

from lmmjax.summary_format import significant, table

if TYPE_CHECKING:
    from lmmjax.linear.results import LmFit

DIGITS = 4
LEGEND = "Signif. codes:  0 ‘***’ 0.001 ‘**’ 0.01 ‘*’ 0.05 ‘.’ 0.1 ‘ ’ 1"
_WIDTH = 80
_EPS = float(np.finfo(np.float64).eps)


def summary(fit: LmFit) -> str:
    """See :meth:`lmmjax.linear.results.LmFit.summary`."""
    parts = [_call(fit), _residuals(fit), _coefficients(fit), _quality(fit)]
    return "\n\n".join("\n".join(line.rstrip() for line in part) for part in parts)


def _call(fit: LmFit) -> list[str]:
    weights = fit.options.get("weights")
    told = (
        "" if weights is None else f", weights = {weights if isinstance(weights, str) else '...'}"
    )
    return ["Call:", f"lm(formula = {fit.formula}{told})"]


def _residuals(fit: LmFit) -> list[str]:
    weighted = fit.weights is not None and np.ptp(fit.weights) > 0
    title = f"{'Weighted ' if weighted else ''}Residuals:"
    residuals = fit.residuals("pearson")
    names, values = [str(label) for label in residuals.index], residuals.to_numpy()
    if fit.df_resid > 5:
        names = ["Min", "1Q", "Median", "3Q", "Max"]
        values = np.quantile(values, [0, 0.25, 0.5, 0.75, 1])
        largest = np.max(np.abs(values))
        # what is tiny beside the largest is shown as zero
        values = np.round(values, max(0, int(DIGITS + 1.5 - np.log10(largest))))
    text = significant(values + 0.0, DIGITS)
    width = max(map(len, [*names, *text]))
    per_line = max(1, _WIDTH // (width + 1))
    lines = [title]
    for start in range(0, len(text), per_line):
        for row in (names, text):
            lines.append(" ".join(item.rjust(width) for item in row[start : start + per_line]))
    return lines


def _coefficients(fit: LmFit) -> list[str]:
    if not len(fit.design.fixed_names):
        return ["No Coefficients"]
    dropped = int((~fit.design.fixed_kept).sum())
    title = "Coefficients:"
    if dropped:
        title += f" ({dropped} not defined because of singularities)"
    return [title, *coefficient_lines(fit)]


def coefficient_lines(fit: LmFit) -> list[str]:
    """The table of coefficients with stars and their legend, as R's ``printCoefmat`` prints it."""
    numbers = fit.coefficients.to_numpy()
    kept = fit.design.fixed_kept
    text = np.full((len(numbers), 4), "NA", dtype=object)
    p = numbers[kept, 3]
    if kept.any():
        text[kept, :2] = _estimates(numbers[kept, :2])
        text[kept, 2] = significant(np.round(numbers[kept, 2], 3) + 0.0, DIGITS)
        text[kept, 3] = p_values(p, 3)
    starred = bool((p < 0.1).any())
    rows = [[str(name), *row] for name, row in zip(fit.design.fixed_names, text, strict=True)]
    lines = table(rows, ["", *fit.coefficients.columns])
    if not starred:
        return lines
    marks = iter(map(stars, p))
    marked = [f"{line} {next(marks) if keep else ''}"
              for line, keep in zip(lines[1:], kept, strict=True)]  # fmt: skip
    return [lines[0], *marked, "---", LEGEND]


def _estimates(values: np.ndarray) -> np.ndarray:
    """Estimates and standard errors with as many decimals as the smallest needs."""
    size = np.abs(values[np.isfinite(values) & (values != 0)])
    smallest = 1 + int(np.floor(np.log10(size.min()))) if len(size) else 0
    rounded = np.round(values, max(1, DIGITS - smallest)) + 0.0
    text = np.array(significant(rounded.T.ravel(), DIGITS), dtype=object).reshape(2, -1).T
    # what rounding made zero is shown by itself
    lost = (rounded == 0) & (values != 0)
    if lost.any():
        text[lost] = significant(values[lost], DIGITS - 1)
    return text


def p_values(values: np.ndarray, digits: int) -> list[str]:
    """P-values as R's ``format.pval`` gives them: tiny ones as ``< 2e-16``."""
    tiny = values < _EPS
    out = np.full(len(values), "NA", dtype=object)
    with np.errstate(divide="ignore"):
        power = np.floor(np.log10(np.where(values > 0, values, 1e-50)))
    fixed = ~tiny & ((power >= (-4 if digits > 1 else -3)) | (values == 0)) & ~np.isnan(values)
    scientific = ~tiny & ~fixed & ~np.isnan(values)
    for chosen in (fixed, scientific):
        if chosen.any():
            out[chosen] = significant(values[chosen], digits)
    if tiny.any():
        keep, others = max(1, digits - 2), out[fixed | scientific]
        widest = max((len(item) for item in others), default=0)
        if len(others) and keep > 1 and keep + 6 > widest:
            keep = max(1, widest - 7)
        tight = keep == 1 and (not len(others) or widest <= 6)
        out[tiny] = f"<{'' if tight else ' '}{significant([_EPS], keep)[0]}"
    return list(out)


def stars(p: float) -> str:
    """R's mark for a p-value."""
    for limit, mark in ((0.001, "***"), (0.01, "**"), (0.05, "*"), (0.1, ".")):
        if p <= limit:
            return mark
    return ""


def _quality(fit: LmFit) -> list[str]:
    sigma = significant([float(f"{fit.sigma:.{DIGITS - 1}e}")], 7)[0]
    lines = [f"Residual standard error: {sigma} on {fit.df_resid} degrees of freedom"]
    missing = fit.design.n_dropped
    if missing:
        what = "observation" if missing == 1 else "observations"
        lines.append(f"  ({missing} {what} deleted due to missingness)")
    test = fit.f_statistic
    if test is not None:
        p = p_values(np.array([test.p]), DIGITS)[0]
        lines += [
            f"Multiple R-squared:  {_general(fit.r_squared)},"
            f"\tAdjusted R-squared:  {_general(fit.adj_r_squared)}",
            f"F-statistic: {_general(test.value)} on {test.df1} and {test.df2} DF,  p-value: {p}",
        ]
    return lines


def _general(value: float) -> str:
    """R's ``formatC``, which pads short numbers."""
    return format(value, f"{DIGITS + 1}.{DIGITS}g")


def html(fit: LmFit) -> str:
    """The table of coefficients in HTML, with a line about the fit below."""
    lines = [f"<p><b>Linear model</b> <code>{escape(fit.formula)}</code></p>", "<table>"]
    names = [*fit.coefficients.columns, ""]
    lines.append("<tr><th></th>" + "".join(f"<th>{escape(n)}</th>" for n in names) + "</tr>")
    for name, row in zip(fit.design.fixed_names, fit.coefficients.to_numpy(), strict=True):
        known = not np.isnan(row[0])
        cells = [f"{x:.4g}" if known else "NA" for x in row[:3]]
        cells += [p_values(row[3:], 3)[0], stars(row[3])] if known else ["NA", ""]
        body = "".join(f"<td style='text-align:right'>{escape(c)}</td>" for c in cells)
        lines.append(f"<tr><th style='text-align:left'>{escape(name)}</th>{body}</tr>")
    lines.append("</table>")
    told = (
        f"{fit.n_obs} observations, residual standard error {fit.sigma:.4g} on {fit.df_resid} "
        f"degrees of freedom, R² {fit.r_squared:.4g}, adjusted {fit.adj_r_squared:.4g}"
    )
    return "\n".join([*lines, f"<p>{told}</p>"])
