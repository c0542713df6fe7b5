"""What a fit of one response says about its parameters' uncertainty, as methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from .inference.bootstrap import Bootstrap
    from .inference.profile import Profile
    from .lmm_fit import LmmFit


def _fit(self: object) -> LmmFit:
    return cast("LmmFit", self)


class InferenceMethods:
    """Intervals, profiles and bootstrap of an :class:`~lmmjax.lmm_fit.LmmFit`."""

    def refit(self, y: np.ndarray | pd.Series | None = None, reml: bool | None = None) -> LmmFit:
        """The same model for another response, or by the other criterion.

        Parameters
        ----------
        y
            (n,) values at the observations of the design (``model.design.observations``),
            NaN where missing; default: the same response.
        reml
            Criterion; default: the same.

        Returns
        -------
        LmmFit

        Raises
        ------
        ShapeError
            ``y`` has another length.
        """
        from .errors import ShapeError
        from .lmm_fit import LmmFit
        from .refit import refit

        fit, values = _fit(self), None
        if y is not None:
            values = np.asarray(y, dtype=float).reshape(-1, 1)
            if len(values) != fit.model.n:
                raise ShapeError(f"y has {len(values)} values, the design {fit.model.n}")
        fits = refit(fit.fits.take([fit.index]), values, reml)
        fits.responses = pd.Index([getattr(y, "name", None) or fit.response])
        return LmmFit(fits, 0)

    def confint(
        self,
        method: str = "profile",
        level: float = 0.95,
        parameters: Sequence[str] | None = None,
        n: int = 1000,
        seed: int | np.random.Generator = 0,
    ) -> pd.DataFrame:
        """Confidence intervals; see :func:`lmmjax.inference.confint`."""
        from .inference.intervals import confint

        return confint(_fit(self), method, level, parameters, n, seed)

    def profile(self, parameters: Sequence[str] | None = None, reach: float = 0.99) -> Profile:
        """Likelihood profiles; see :func:`lmmjax.inference.profile.profile`."""
        from .inference.profile import profile

        return profile(_fit(self), parameters, reach)

    def bootstrap(
        self,
        n: int = 1000,
        seed: int | np.random.Generator = 0,
        progress: bool | None = None,
    ) -> Bootstrap:
        """Parametric bootstrap; see :func:`lmmjax.inference.bootstrap.bootstrap`."""
        from .inference.bootstrap import bootstrap

        return bootstrap(_fit(self), n, seed, progress)
