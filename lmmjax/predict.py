"""Predictions of one fit at new observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .design import Design
from .design_rows import listed
from .errors import LmmError, UnseenLevelError
from .formula_functions import columns_read
from .lmm_fit_re_form import TermPart, selected_parts
from .newdata import new_design, new_table
from .prediction_error import INTERVALS, prediction_variance, with_errors
from .row_weights import prediction_weights

if TYPE_CHECKING:
    from .lmm_fit import LmmFit

#: A row of X this far (relative) outside the rows seen by a response is not estimable.
ESTIMABLE = 1e-7


def predict(
    fit: LmmFit,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    re_form: Any = None,
    new_levels: str = "error",
    se_fit: bool = False,
    interval: str | None = None,
    level: float = 0.95,
    weights: Any = None,
) -> pd.Series | pd.DataFrame:
    """See :meth:`lmmjax.lmm_fit.LmmFit.predict`."""
    if new_levels not in ("error", "population", "missing"):
        raise LmmError(f"new_levels is 'error', 'population' or 'missing', not {new_levels!r}")
    if interval is not None and interval not in INTERVALS:
        raise LmmError(f"interval is None, 'confidence' or 'prediction', not {interval!r}")
    if weights is not None and interval != "prediction":
        raise LmmError("weights of predictions are used with interval='prediction' only")
    design = fit.model.design
    parts = selected_parts(design, re_form)
    if newdata is None:
        table = design.spec.table.loc[fit._seen]
        out, x, terms = _at_own_observations(fit, parts)
    else:
        table = new_table(newdata)
        out, x, terms = _at_new_observations(fit, table, parts, new_levels)
    if not se_fit and interval is None:
        return out
    variance = np.full(len(out), np.nan)
    if fit.status.has_estimates:
        complete = ~np.isnan(out.to_numpy())
        rows = [(k, z[complete], codes[complete]) for k, z, codes in terms]
        variance[complete] = prediction_variance(fit, x[complete], rows)
    residual: np.ndarray | float = np.nan
    if interval == "prediction":
        # linear and mixed fits alike: what a new observation's weight is, and when to say so
        new_weights = prediction_weights(fit, weights, table, newdata is None)
        with np.errstate(divide="ignore"):
            residual = fit.sigma**2 / np.asarray(new_weights, dtype=float)
    return with_errors(fit, out, variance, residual, se_fit, interval, level)


#: A term in a prediction: its position in the design, rows of Z, levels (-1: unseen).
TermRows = tuple[int, np.ndarray, np.ndarray]


def _at_new_observations(
    fit: LmmFit, table: pd.DataFrame, parts: list[TermPart], new_levels: str
) -> tuple[pd.Series, np.ndarray, list[TermRows]]:
    design = _narrowed(fit.model.design, parts)
    # unknown levels are told apart below: a level can be new to one response only
    new = new_design(design, table, new_levels="population", random=bool(parts))
    out = new.X @ np.nan_to_num(fit._beta)
    if not fit.status.has_estimates:
        return pd.Series(np.nan, index=new.observations, name=fit.response), new.X, []
    if np.isnan(fit._beta).any():
        out[~_estimable(fit, new.X)] = np.nan
    if new.offset is not None:
        out = out + new.offset
    terms: list[TermRows] = []
    for part, term in zip(parts, new.terms, strict=True):
        k = part.position
        modes = fit._modes.terms[k][0]
        z = part.rows(term.z, modes.shape[1])
        known = np.append(~np.isnan(modes).any(axis=1), False)
        unseen = ~known[term.codes] & ~np.isnan(z).any(axis=1)
        if unseen.any() and new_levels == "error":
            _refuse_new_levels(fit, part, table, term.codes, unseen)
        lookup = np.vstack([np.nan_to_num(modes), np.zeros(z.shape[1])])
        out = out + np.sum(z * lookup[term.codes], axis=1)
        if new_levels == "missing":
            out[unseen] = np.nan
        terms.append((k, z, np.where(known[term.codes], term.codes, -1)))
    return pd.Series(out, index=new.observations, name=fit.response), new.X, terms


def _narrowed(design: Design, parts: list[TermPart]) -> Design:
    """The design with some of its random effects, and the columns these need."""
    terms = tuple(replace(design.terms[part.position], bar=part.bar) for part in parts)
    parsed = design.parsed
    nodes = [v for term in parsed.fixed_terms for v in term.variables]
    nodes += [v for term in terms for t in term.bar.terms for v in t.variables]
    nodes += parsed.offset_nodes
    wanted = {name.name for node in nodes for name in columns_read(node)}
    wanted |= {name for term in terms for name in term.bar.group}
    columns = tuple(name for name in parsed.columns if name.name in wanted)
    return replace(design, terms=terms, parsed=replace(parsed, columns=columns))


def _at_own_observations(
    fit: LmmFit, parts: list[TermPart]
) -> tuple[pd.Series, np.ndarray, list[TermRows]]:
    """Predictions at the rows used: X beta as the engine has it, without loss of digits."""
    design, seen = fit.model.design, fit._seen
    out = fit._modes.linear[:, 0].copy()
    terms: list[TermRows] = []
    for part in parts:
        k, columns = part.position, list(part.columns)
        term, modes = design.terms[k], fit._modes.terms[k][0]
        z = np.zeros_like(term.z)
        z[:, columns] = term.z[:, columns]
        out += np.sum(z * modes[term.codes], axis=1)
        terms.append((k, z[seen], term.codes[seen]))
    if design.offset is not None:
        out += design.offset
    return fit._on_observations(out), design.X[seen], terms


def _estimable(fit: LmmFit, x: np.ndarray) -> np.ndarray:
    """Rows of x that are combinations of the rows of X which this response has.

    A coefficient that the response's own observations do not determine is left out of the
    fit; where it would matter, there is no prediction.
    """
    own = fit.model.design.X[fit._seen]
    scale = np.sqrt(np.mean(fit.model.design.X**2, axis=0))
    _, s, vt = np.linalg.svd(own / scale, full_matrices=True)
    rank = int(np.sum(s > ESTIMABLE * s.max(initial=0.0)))
    outside = (x / scale) @ vt[rank:].T
    size = np.linalg.norm(x / scale, axis=1)
    return ~(np.linalg.norm(outside, axis=1) > ESTIMABLE * np.maximum(size, 1.0))


def _refuse_new_levels(
    fit: LmmFit, part: TermPart, table: pd.DataFrame, codes: np.ndarray, unseen: np.ndarray
) -> None:
    term = fit.model.design.terms[part.position]
    known = sorted({term.levels[code] for code in codes[unseen] if code >= 0})
    if known:  # in the model, but not among this response's observations
        raise UnseenLevelError(
            f"level(s) of the grouping factor {term.group!r} without an observation of "
            f"{fit.response!r}: {listed(known)}; use new_levels='population' to predict them "
            "without a random effect, or 'missing' for NaN"
        )
    new_design(_narrowed(fit.model.design, [part]), table, new_levels="error")
    raise AssertionError("unreachable: new_design names the unknown levels")  # pragma: no cover
