"""Variance partition: which share of each response's variance goes to which term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from .results import FitBatch


def variance_fractions(fits: FitBatch, by: str = "term") -> pd.DataFrame:
    """Variance fractions by the definition of variancePartition (Hoffman & Schadt 2016).

    Fixed effects: the population variance of each contribution X_j beta_j, rescaled so that
    they sum to the variance of X beta.  A scalar random term: its variance component.  A
    vector-valued term: the mean over observations of z_i' Sigma z_i (Johnson 2014).
    Residuals: sigma^2.  Each is divided by their sum.

    Parameters
    ----------
    fits
        Fitted responses; ML estimates are what variancePartition uses.
    by
        ``"term"`` adds up the columns of a fixed-effects term; ``"column"`` keeps them apart.

    Returns
    -------
    DataFrame
        responses x (random terms, fixed terms, ``"Residuals"``); rows sum to one.
    """
    if by not in ("term", "column"):
        raise ValueError(f"by={by!r}: use 'term' or 'column'")
    design = fits.model.design
    names: list[str] = []
    parts: list[np.ndarray] = []
    groups = [term.group for term in design.terms]
    for term, cov in zip(design.terms, fits.term_covariances(), strict=True):
        moment = term.z.T @ term.z / design.n
        names.append(term.group if groups.count(term.group) == 1 else term.label)
        parts.append(np.einsum("gij,ij->g", cov, moment))
    centred = design.X - design.X.mean(axis=0)
    spread = centred.T @ centred / design.n
    beta = np.nan_to_num(fits._beta)
    single = beta**2 * np.diag(spread)
    total = np.einsum("gi,ij,gj->g", beta, spread, beta, optimize=True)
    summed = single.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(summed > 0, total / summed, 0.0)
    shares = np.zeros((len(fits), len(design.fixed_names)))
    shares[:, design.fixed_kept] = single * ratio[:, None]
    for label, columns in design.fixed_terms:
        if label == "(Intercept)":
            continue
        if by == "term":
            names.append(label)
            parts.append(shares[:, list(columns)].sum(axis=1))
        else:
            names += [design.fixed_names[c] for c in columns]
            parts += [shares[:, c] for c in columns]
    names.append("Residuals")
    parts.append(fits._sigma**2)
    matrix = np.stack(parts, axis=1)
    with np.errstate(invalid="ignore", over="ignore"):
        # relative to sigma first: a response of size 1e160 has variances beyond float64
        matrix /= matrix.sum(axis=1, keepdims=True)
    return pd.DataFrame(matrix, index=fits.responses, columns=names)


def variance_partition(
    Y: Any, formula: str, samples: pd.DataFrame, *, weights: Any = None, **fit_options: Any
) -> pd.DataFrame:
    """Variance fractions of every response in one line (ML fits, as variancePartition).

    Parameters
    ----------
    Y, formula, samples, weights
        As in :func:`lmmjax.compile` and :meth:`lmmjax.model.Model.fit`.

    Returns
    -------
    DataFrame
        responses x (terms..., ``"Residuals"``).

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.simulate_expression(n_responses=5, seed=1)
    >>> shares = lmmjax.variance_partition(
    ...     data.expression, "~ Age + (1|Individual) + (1|Tissue)", data.samples)
    >>> shares.columns.tolist()
    ['Individual', 'Tissue', 'Age', 'Residuals']
    """
    from .model import compile

    fits = compile(formula, samples).fit(Y, reml=False, weights=weights, **fit_options)
    return fits.variance_partition()
