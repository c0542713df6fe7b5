"""What a fit of one response says about other observations, as methods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pandas as pd

from .lmm_fit_arguments import knows_lme4_arguments

if TYPE_CHECKING:
    from .lmm_fit import LmmFit


def _fit(self: object) -> LmmFit:
    return cast("LmmFit", self)


class PredictionMethods:
    """Predictions and simulated responses of an :class:`~lmmjax.lmm_fit.LmmFit`."""

    @knows_lme4_arguments
    def predict(
        self,
        newdata: pd.DataFrame | Mapping[str, Any] | None = None,
        re_form: Any = None,
        new_levels: str = "error",
        se_fit: bool = False,
        interval: str | None = None,
        level: float = 0.95,
        weights: Any = None,
    ) -> pd.Series | pd.DataFrame:
        """Predictions at new observations.

        Parameters
        ----------
        newdata
            The columns of the formula's right-hand side, in a mapping a single value for all
            rows; default: the observations used.
        re_form
            ``None`` or ``"all"`` includes all random effects, ``"none"`` (or NaN, False) none of
            them, a formula such as ``"~ (1 | Subject)"`` those it names, which may be some of
            the effects of a term: here the intercepts of ``(Days | Subject)``.
        new_levels
            Levels of a grouping factor that the fit has not seen: ``"error"``,
            ``"population"`` (no random effect), or ``"missing"`` (the prediction is NaN).
        se_fit
            Add standard errors: those of fixed and random effects taken jointly, theta and
            sigma taken as known; the effects of a new level add their variance.
        interval
            ``"confidence"`` for the mean or ``"prediction"`` for a new observation, with normal
            quantiles at ``level``.
        weights
            With ``interval="prediction"``: array, Series or column name, a new observation has
            variance sigma^2 / weight.  Default: those of the fit at its own observations, 1 for
            new data; a warning says so if the fit has weights.

        Returns
        -------
        Series, or DataFrame
            Predictions; with ``se_fit`` or ``interval`` a table with columns ``fit``,
            ``se_fit``, ``lower``, ``upper``.  NaN where a covariate is missing, or where the
            response's own observations do not determine a coefficient that is needed.

        Raises
        ------
        UnseenLevelError, FormulaError, LmmError

        Examples
        --------
        >>> import lmmjax
        >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
        ...                   lmmjax.datasets.load_sleepstudy())
        >>> fit.predict({"Days": [0.0, 10.0]}, re_form="none").round(3).tolist()
        [251.405, 356.078]
        """
        from .predict import predict

        return predict(_fit(self), newdata, re_form, new_levels, se_fit, interval, level, weights)

    @knows_lme4_arguments
    def simulate(
        self,
        n: int = 1,
        seed: int | np.random.Generator = 0,
        re_form: Any = "none",
        use_u: bool = False,
    ) -> pd.DataFrame:
        """Responses drawn from the fitted model, with new random effects.

        Parameters
        ----------
        n
            Number of responses.
        seed
            Seed, or a NumPy generator.
        re_form
            Terms that keep their conditional modes, as in :meth:`predict` (whole terms only);
            the others are drawn anew.  Default: all are drawn.
        use_u
            Keep all, as ``re_form=None``.

        Returns
        -------
        DataFrame
            All samples of the model x ``sim_1 ... sim_n``, NaN in rows that the fit does not
            use: ``fit.model.fit(fit.simulate(1000, seed))`` fits them.

        Raises
        ------
        LmmError, FormulaError
            ``n``, ``seed`` or ``re_form`` is not usable.
        """
        from .simulate import simulate

        return simulate(_fit(self), n, seed, re_form, use_u)
