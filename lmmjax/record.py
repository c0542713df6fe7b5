"""From what the compiled program returns to what users hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .status import USABLE, Status
from .structure import canonical_theta

if TYPE_CHECKING:
    from .batch import BatchResult
    from .results import FitBatch

#: Penalised residual sum of squares below this fraction of the fixed-effects fit's is zero.
ZERO_RESIDUAL = 1e-12


def record(
    fits: FitBatch,
    columns: np.ndarray,
    result: BatchResult,
    x_transform: np.ndarray,
    unit: np.ndarray,
    weight_size: np.ndarray,
) -> None:
    """Enter a batch's results for some responses, translated from engine units.

    ``unit`` (k,): engine theta per user theta, for weights relative to ``weight_size``.
    """
    out = result.outcome
    fits.compile_seconds += result.compile_seconds
    back = np.linalg.inv(x_transform) if len(x_transform) else x_transform
    theta = np.empty((len(columns), fits.model.layout.n_theta))
    engine_theta = canonical_theta(fits.model.layout, out.theta)
    root = np.sqrt(weight_size)
    theta[:, fits.model.order.theta] = (engine_theta / unit[:, None] / root).T
    kept = out.kept.T > 0
    with np.errstate(invalid="ignore", over="ignore"):
        beta = out.fixed.T @ back.T
        vcov = np.einsum("ij,jkg,lk->gil", back, out.fixed_cov / weight_size, back, optimize=True)
        sigma = out.sigma * root
    if fits.model.design.sigma is not None:  # to the last digit
        sigma = np.where(np.isfinite(sigma), fits.model.design.sigma, np.nan)
    beta[~kept] = np.nan
    gone = ~kept[:, :, None] | ~kept[:, None]
    vcov[gone] = np.nan
    codes = np.full(len(columns), Status.CONVERGED.code, dtype=np.int8)
    codes[~result.finished] = Status.NOT_CONVERGED.code
    finite = np.isfinite(sigma) & np.isfinite(out.objective)
    codes[~finite] = Status.OVERFLOW.code
    codes[~out.identified] = Status.UNIDENTIFIABLE.code
    codes[(out.rss_fraction < ZERO_RESIDUAL) | ~(out.residual_ratio > 0)] = (
        Status.ZERO_RESIDUAL.code
    )
    codes[out.n <= out.rank] = Status.TOO_FEW_OBSERVATIONS.code
    usable = USABLE[codes]
    for target, source in (
        (fits._theta, theta),
        (fits._sigma, sigma),
        (fits._objective, out.objective),
        (fits._beta, beta),
        (fits._unit_vcov, vcov),
        (fits._rank, out.rank),
        (fits._gradient_norm, out.gradient_norm * root),
        (fits._lowest, out.lowest_eigenvalue * weight_size),
    ):
        mask = usable.reshape(-1, *[1] * (source.ndim - 1))
        target[columns] = np.where(mask, source, np.nan)
    fits._n_iter[columns] = out.n_iter
    fits.status_codes[columns] = codes
