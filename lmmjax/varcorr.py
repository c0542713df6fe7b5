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
    for term, cov in zip(fits.model.design.terms, fits.term_covariances(), strict=True):
        q = term.n_columns
        sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
        for i in range(q):
            labels.append((term.group, term.columns[i], None))
            vcov.append(cov[:, i, i])
            sdcor.append(sd[:, i])
        for j in range(q):
            for i in range(j + 1, q):
                labels.append((term.group, term.columns[j], term.columns[i]))
                vcov.append(cov[:, i, j])
                with np.errstate(invalid="ignore", divide="ignore"):
                    sdcor.append(cov[:, i, j] / (sd[:, i] * sd[:, j]))
    labels.append(("Residual", None, None))
    vcov.append(fits._sigma**2)
    sdcor.append(fits._sigma)
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
