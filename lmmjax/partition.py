"""Variance partition: which share of each response's variance goes to which term."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from .errors import LmmError
from .expression.anndata_view import is_anndata
from .modes import seen_cells

if TYPE_CHECKING:
    from .random_term import RandomTerm
    from .results import FitBatch


class _Moments(NamedTuple):
    """Of the observations each response has; first axis G, or 1 where all have the same.

    ``fixed`` (G, p, p): population covariance of X; ``terms``: mean of z z' per term.
    """

    fixed: np.ndarray
    terms: list[np.ndarray]


def _moments(fits: FitBatch) -> _Moments:
    design = fits.model.design
    centred = design.X - design.X.mean(axis=0)
    everything = np.ones((design.n, 1))
    some = np.flatnonzero(fits._n_obs < design.n)
    if not len(some):
        return _moments_on(everything, centred, design.terms)
    seen = seen_cells(fits, some)
    common = _moments_on(everything, centred, design.terms)
    own = _moments_on(seen.astype(float), centred, design.terms)

    def spread(shared: np.ndarray, special: np.ndarray) -> np.ndarray:
        out = np.repeat(shared, len(fits), axis=0)
        out[some] = special
        return out

    return _Moments(
        spread(common.fixed, own.fixed),
        [spread(a, b) for a, b in zip(common.terms, own.terms, strict=True)],
    )


def _moments_on(seen: np.ndarray, x: np.ndarray, terms: tuple[RandomTerm, ...]) -> _Moments:
    """Moments over the observations marked 1 in ``seen`` (n, G)."""
    count = np.maximum(seen.sum(axis=0), 1.0)[:, None, None]

    def second(a: np.ndarray) -> np.ndarray:
        n, q = a.shape
        if q == 0:
            return np.zeros((seen.shape[1], 0, 0))
        outer = (a[:, :, None] * a[:, None]).reshape(n, q * q)
        return (seen.T @ outer).reshape(-1, q, q) / count

    mean = (seen.T @ x)[:, :, None] / count
    return _Moments(second(x) - mean * np.swapaxes(mean, 1, 2), [second(term.z) for term in terms])


def check_by(by: str) -> None:
    """Raise unless ``by`` is one of its choices."""
    if by not in ("term", "column"):
        raise LmmError(f"by is 'term' or 'column', not {by!r}")


def variance_fractions(fits: FitBatch, by: str = "term") -> pd.DataFrame:
    """Variance fractions by the definition of variancePartition (Hoffman & Schadt 2016).

    Fixed effects: the population variance of each contribution X_j beta_j, rescaled so that
    they sum to the variance of X beta.  A scalar random term: its variance component.  A
    vector-valued term: the mean over observations of z_i' Sigma z_i (Johnson 2014).
    Observations are those the response has.
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
    check_by(by)
    design = fits.model.design
    names: list[str] = []
    parts: list[np.ndarray] = []
    groups = [term.group for term in design.terms]
    moments = _moments(fits)
    # relative to sigma: a response of size 1e160 has variances beyond double precision
    covariances = fits.term_covariances(relative=True)
    for term, cov, moment in zip(design.terms, covariances, moments.terms, strict=True):
        names.append(term.group if groups.count(term.group) == 1 else term.label)
        parts.append(np.sum(cov * moment, axis=(1, 2)))
    beta = np.nan_to_num(fits._beta / fits._sigma[:, None])
    single = beta**2 * np.diagonal(moments.fixed, axis1=1, axis2=2)
    total = np.sum(beta * (moments.fixed @ beta[:, :, None])[:, :, 0], axis=1)
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
    parts.append(fits._sigma / fits._sigma)
    matrix = np.stack(parts, axis=1)
    matrix /= matrix.sum(axis=1, keepdims=True)
    return pd.DataFrame(matrix, index=fits.responses, columns=names)


def variance_partition(
    Y: Any,
    formula: str,
    samples: Any = None,
    *,
    by: str = "term",
    weights: Any = None,
    **fit_options: Any,
) -> pd.DataFrame:
    """Variance fractions of every response in one line (ML fits, as variancePartition).

    Parameters
    ----------
    Y, formula, samples, weights
        As in :func:`lmmjax.compile` and :meth:`lmmjax.model.Model.fit`; an ``AnnData`` brings
        its ``obs`` as the samples.
    by
        ``"term"``, or ``"column"`` for every column of X by itself.
    **fit_options
        Further arguments of :meth:`lmmjax.model.Model.fit`.

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

    if samples is None:
        if not is_anndata(Y):
            raise LmmError("samples, the sample table, is needed unless Y is an AnnData")
        samples = Y
    check_by(by)
    fits = compile(formula, samples).fit(Y, reml=False, weights=weights, **fit_options)
    return fits.variance_partition(by)
