"""Parametric bootstrap: responses simulated from a fit and fitted in one batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmmjax.errors import LmmError
from lmmjax.inference.parameters import parameter_table
from lmmjax.lmm_fit_arguments import generator
from lmmjax.refit import refit
from lmmjax.simulate import draw_responses

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit
    from lmmjax.results import FitBatch

KINDS = ("percentile", "basic", "normal")


@dataclass(frozen=True)
class Bootstrap:
    """Replicates of a fit's estimates, made by :func:`bootstrap`.

    Attributes
    ----------
    fit
        The fit that the responses were drawn from.
    fits
        The fits of the simulated responses.
    """

    fit: LmmFit
    fits: FitBatch

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """(replicates, parameters): ``sd_...``, ``cor_...``, ``sigma`` and the fixed effects.

        Correlations of a zero standard deviation are NaN, and so are replicates without a fit.
        """
        return parameter_table(self.fits)

    def confint(self, level: float = 0.95, kind: str = "percentile") -> pd.DataFrame:
        """Bootstrap confidence intervals.

        Parameters
        ----------
        level
            Confidence level.
        kind
            ``"percentile"``; ``"basic"``: the percentiles reflected about the estimate;
            ``"normal"``: estimate minus bias plus or minus a multiple of the standard error.
            As in Davison and Hinkley (1997), chapter 5.

        Returns
        -------
        DataFrame
            One row per parameter, columns named by their percentages; standard deviations
            are cut off at zero.  NaN for a parameter that fewer than two replicates have.

        Raises
        ------
        LmmError
            Unknown kind or level, or fewer than two replicates.
        """
        from scipy.stats import norm

        from lmmjax.inference.intervals import bounds_table, check_level

        check_level(level)
        if kind not in KINDS:
            raise LmmError(f"kind is 'percentile', 'basic' or 'normal', not {kind!r}")
        tail = 0.5 * (1.0 - level)
        if len(self.fits) < 2:
            wanted = int(np.ceil(1.0 / tail - 1e-9)) - 1
            raise LmmError(
                f"no interval from {len(self.fits)} replicate; at level {level:g} the percentiles "
                f"lie among the replicates from {wanted} on, and 1000 or more are better"
            )
        estimate = parameter_table(self.fit.fits.take([self.fit.index])).iloc[0]
        rows = []
        for name, values in self.estimates.items():
            seen = np.sort(values.to_numpy()[np.isfinite(values.to_numpy())])
            here = float(estimate[name])
            if len(seen) < 2:
                rows.append((np.nan, np.nan))
                continue
            if kind == "normal":
                centre, half = 2 * here - seen.mean(), norm.ppf(1 - tail) * seen.std(ddof=1)
                low, high = centre - half, centre + half
            else:
                low, high = _quantile(seen, tail), _quantile(seen, 1.0 - tail)
                if kind == "basic":
                    low, high = 2 * here - high, 2 * here - low
            if str(name).startswith("sd_") or name == "sigma":
                low = max(low, 0.0)
            rows.append((low, high))
        return bounds_table(list(self.estimates.columns), rows, level)


def bootstrap(
    fit: LmmFit,
    n: int = 1000,
    seed: int | np.random.Generator = 0,
    progress: bool | None = None,
    use_u: bool = False,
) -> Bootstrap:
    """Draw ``n`` responses from a fit, with new random effects, and fit them all at once.

    Parameters
    ----------
    fit
        A fit by :func:`lmmjax.lmer`, or one of a batch.
    n
        Number of replicates.
    seed
        Seed or NumPy generator: the same seed gives the same replicates.
    progress
        Progress bar on stderr; default: when stderr is a terminal.
    use_u
        Keep the random effects at their conditional modes instead of drawing new ones.

    Returns
    -------
    Bootstrap

    Raises
    ------
    LmmError
        ``n`` or the seed is not usable, or there is no fit to draw from.

    Examples
    --------
    >>> import lmmjax
    >>> fit = lmmjax.lmer("Yield ~ 1 + (1 | Batch)", {
    ...     "Yield": [3.1, 2.9, 4.2, 4.4, 1.8, 2.2], "Batch": list("aabbcc")})
    >>> replicates = fit.bootstrap(200, seed=1)
    >>> replicates.estimates.shape
    (200, 3)
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise LmmError(f"n={n!r}: give the number of replicates, 1 or more")
    if not fit.status.has_estimates:
        raise LmmError(f"{fit.response}: there is no fit to draw from ({fit.status.value})")
    kept = range(len(fit.model.design.terms)) if use_u else ()
    draws = draw_responses(fit, int(n), generator(seed), kept)
    fits = refit(fit.fits.take([fit.index]), draws, progress=progress)
    return Bootstrap(fit, fits)


def _quantile(ordered: np.ndarray, probability: float) -> float:
    """Quantile at (R + 1) probability, interpolated on the normal scale.

    Davison and Hinkley (1997), equation 5.8.
    """
    from scipy.stats import norm

    count = len(ordered)
    rank = (count + 1) * probability
    k = int(np.clip(np.floor(rank), 1, count))
    if rank < 1 or k >= count:
        return float(ordered[0] if rank < 1 else ordered[-1])
    if rank == k:
        return float(ordered[k - 1])
    z, z0, z1 = norm.ppf([probability, k / (count + 1), (k + 1) / (count + 1)])
    return float(ordered[k - 1] + (z - z0) / (z1 - z0) * (ordered[k] - ordered[k - 1]))
