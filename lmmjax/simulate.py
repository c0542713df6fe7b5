"""New responses drawn from a fitted model."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .errors import LmmError
from .lmm_fit_arguments import generator
from .lmm_fit_re_form import whole_terms
from .varcorr import term_factors

if TYPE_CHECKING:
    from .lmm_fit import LmmFit


def simulate(
    fit: LmmFit,
    n: int = 1,
    seed: int | np.random.Generator = 0,
    re_form: Any = "none",
    use_u: bool = False,
) -> pd.DataFrame:
    """See :meth:`lmmjax.lmm_fit.LmmFit.simulate`."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 0:
        raise LmmError(f"n={n!r}: give the number of responses to simulate, 0 or more")
    design, rng = fit.model.design, generator(seed)
    kept = whole_terms(design, None if use_u else re_form)
    out = np.full((len(fit.model.samples), n), np.nan)
    out[design.kept] = draw_responses(fit, int(n), rng, kept)
    columns = pd.Index([f"sim_{k + 1}" for k in range(n)])
    return pd.DataFrame(out, index=fit.model.samples, columns=columns)


def draw_responses(
    fit: LmmFit, n: int, rng: np.random.Generator, kept: Collection[int] = ()
) -> np.ndarray:
    """Responses (n_obs, n) at the design's observations, NaN where the fit uses none.

    Terms at the positions ``kept`` have their conditional modes, the others are drawn.
    """
    design = fit.model.design
    mean = fit._modes.linear[:, 0]
    if design.offset is not None:
        mean = mean + design.offset
    weights = np.ones(design.n)
    if fit.fits.weights is not None:
        weights = np.where(fit._seen, fit.fits.weights[:, fit.index], 1.0)
    draws = rng.standard_normal((design.n, n)) * (fit.sigma / np.sqrt(weights))[:, None]
    draws += mean[:, None]
    for k, (term, factor) in enumerate(zip(design.terms, term_factors(fit.fits), strict=True)):
        if k in kept:
            draws += np.sum(term.z * fit._modes.terms[k][0][term.codes], axis=1)[:, None]
            continue
        b = rng.standard_normal((term.n_levels, n, term.n_columns)) @ factor[fit.index].T
        if term.root is not None:
            b = np.einsum("lm,mnq->lnq", term.root, b)
        for column in range(term.n_columns):
            draws += term.z[:, column, None] * b[term.codes, :, column]
    draws[~fit._seen] = np.nan
    return draws
