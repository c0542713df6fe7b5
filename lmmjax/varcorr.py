"""Covariance components as tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from .structure import triangle

if TYPE_CHECKING:
    from .results import FitBatch


def term_factors(fits: FitBatch, relative: bool = False) -> list[np.ndarray]:
    """sigma (or, relative, 1) times the factor Lambda of each term, (G, q, q), design's order."""
    out, start = [], 0
    for term in fits.model.design.terms:
        q = term.n_columns
        factor = np.zeros((len(fits), q, q))
        for i, j in triangle(q):
            factor[:, i, j] = fits._theta[:, start]
            start += 1
        if not relative:
            factor *= fits._sigma[:, None, None]
        out.append(factor)
    return out


def varcorr_table(fits: FitBatch) -> pd.DataFrame:
    """See :attr:`lmmjax.results.FitBatch.varcorr`."""
    labels: list[tuple[str, str | None, str | None]] = []
    vcov: list[np.ndarray] = []
    sdcor: list[np.ndarray] = []
    sigma = fits._sigma
    # standard deviations and correlations from the relative covariance: at responses of size
    # 1e160 variances exceed double precision, these do not
    with np.errstate(invalid="ignore", divide="ignore", over="ignore", under="ignore"):
        relative = fits.term_covariances(relative=True)
        for term, cov in zip(fits.model.design.terms, relative, strict=True):
            q = term.n_columns
            sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
            for i in range(q):
                labels.append((term.group, term.columns[i], None))
                vcov.append(cov[:, i, i] * sigma**2)
                sdcor.append(sd[:, i] * sigma)
            for j in range(q):
                for i in range(j + 1, q):
                    labels.append((term.group, term.columns[j], term.columns[i]))
                    vcov.append(cov[:, i, j] * sigma**2)
                    sdcor.append(cov[:, i, j] / (sd[:, i] * sd[:, j]))
        labels.append(("Residual", None, None))
        vcov.append(sigma**2)
        sdcor.append(sigma)
    total, parts = len(fits), len(labels)

    def tiled(field: int) -> np.ndarray:
        return np.tile(np.array([row[field] for row in labels], dtype=object), total)

    return pd.DataFrame(
        {
            "response": np.repeat(fits.responses.to_numpy(), parts),
            "group": tiled(0),
            "name1": tiled(1),
            "name2": tiled(2),
            "vcov": np.stack(vcov, axis=1).reshape(-1),
            "sdcor": np.stack(sdcor, axis=1).reshape(-1),
        }
    )
