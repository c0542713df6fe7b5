"""Fits of one response, of ``lmer``, ``lm`` or a batch, as batches of one on the same rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from lmmjax.errors import LmmError
from lmmjax.inference.comparison import one_response
from lmmjax.linear.refit import refit_stored, stored_weights
from lmmjax.linear.results import LmFit
from lmmjax.lmm_fit import LmmFit
from lmmjax.model import Model
from lmmjax.results import FitBatch


def batches_of_one(fits: Sequence[Any]) -> list[FitBatch]:
    """The fits as batches of one response, whose designs hold the same rows if they use the same.

    Parameters
    ----------
    fits : sequence of LmmFit or LmFit
        A linear model is fitted once more, by maximum likelihood, as a mixed model without
        random effects.

    Returns
    -------
    list of FitBatch

    Raises
    ------
    LmmError
        Something is not a fit of one response.

    Notes
    -----
    A response of a batch may lack values where the design has rows. If the designs of the fits
    differ, such a fit is made again on the rows that it uses.

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> (batch,) = batches_of_one([lmmjax.lm("Reaction ~ Days", data)])
    >>> round(float(batch.loglik.iloc[0]), 4)
    -950.1465
    """
    batches = [_as_batch(fit) for fit in fits]
    if _same_rows(batches):
        return batches
    return [
        _on_rows_used(fit) if isinstance(fit, LmmFit) and not fit._seen.all() else batch
        for fit, batch in zip(fits, batches, strict=True)
    ]


def _same_rows(batches: list[FitBatch]) -> bool:
    first = batches[0].model.design.observations
    return all(first.equals(batch.model.design.observations) for batch in batches[1:])


def _as_batch(fit: Any) -> FitBatch:
    if isinstance(fit, LmFit):
        return _without_random_effects(fit)
    if isinstance(fit, LmmFit):
        return one_response(fit.fits, int(fit.index))
    if isinstance(fit, list | tuple):
        raise LmmError(
            f"fits are given one by one, anova(m0, m1), not in a {type(fit).__name__}; write "
            "anova(*fits)"
        )
    raise LmmError(
        f"likelihood-ratio tests compare fits of lmer or lm, or fits[response] of a batch, not "
        f"{type(fit).__name__}"
    )


def _without_random_effects(fit: LmFit) -> FitBatch:
    design = replace(fit.design, kept=np.ones(fit.n_obs, dtype=bool))
    values = pd.Series(design.response, index=design.observations, name=fit.response)
    return Model(design, design.observations).fit(
        values, reml=False, weights=fit.weights, progress=False
    )


def _on_rows_used(fit: LmmFit) -> FitBatch:
    again = refit_stored(
        fit, fit.formula, fit.reml, weights=stored_weights(fit), rank_deficient="drop", quiet=True
    )
    batch = again.fits
    batch.responses = pd.Index([fit.response])
    return batch
