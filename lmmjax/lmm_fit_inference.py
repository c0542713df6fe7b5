"""What a fit of one response says about its parameters' uncertainty, as methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import numpy as np
import pandas as pd

from .lmm_fit_arguments import knows_lme4_arguments

if TYPE_CHECKING:
    from .inference.bootstrap import Bootstrap
    from .inference.profile import Profile
    from .lmm_fit import LmmFit


def _fit(self: object) -> LmmFit:
    return cast("LmmFit", self)


class InferenceMethods:
    """Intervals, profiles and bootstrap of an :class:`~lmmjax.lmm_fit.LmmFit`."""

    @knows_lme4_arguments
    def refit(self, y: np.ndarray | pd.Series | None = None, reml: bool | None = None) -> LmmFit:
        """The same model for another response, or by the other criterion.

        Parameters
        ----------
        y
            (n,) values at the observations of the design (``model.design.observations``),
            NaN where missing; a Series is aligned by label.  Default: the same response.
        reml
            Criterion; default: the same.

        Returns
        -------
        LmmFit

        Raises
        ------
        AlignmentError
            The labels of a Series are not those of the observations.
        ShapeError, DTypeError
            ``y`` has another length, or is not numbers.
        LmmError
            ``reml`` is neither True nor False.

        Examples
        --------
        >>> import lmmjax
        >>> data = lmmjax.datasets.load_sleepstudy()
        >>> fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data)
        >>> shuffled = data["Reaction"].sample(frac=1, random_state=0)
        >>> bool(abs(fit.refit(shuffled).objective - fit.objective) < 1e-9)
        True
        """
        from dataclasses import replace

        from .fit_options import check_reml
        from .refit import refit, response_values

        fit = _fit(self)
        reml = None if reml is None else check_reml(reml)
        values = None if y is None else response_values(fit.model, y)
        fits = refit(fit.fits.take([fit.index]), values, reml)
        name = getattr(y, "name", None)
        fits.responses = pd.Index([fit.response if name is None else name])
        return replace(fit, fits=fits, index=0)

    @knows_lme4_arguments
    def confint(
        self,
        method: str = "profile",
        level: float = 0.95,
        parameters: str | Sequence[str] | None = None,
        n: int = 1000,
        seed: int | np.random.Generator = 0,
    ) -> pd.DataFrame:
        """Confidence intervals; see :func:`lmmjax.inference.confint`."""
        from .inference.intervals import confint

        return confint(_fit(self), method, level, parameters, n, seed)

    @knows_lme4_arguments
    def profile(
        self, parameters: str | Sequence[str] | None = None, reach: float = 0.99
    ) -> Profile:
        """Likelihood profiles; see :func:`lmmjax.inference.profile.profile`."""
        from .inference.profile import profile

        return profile(_fit(self), parameters, reach)

    @knows_lme4_arguments
    def bootstrap(
        self,
        n: int = 1000,
        seed: int | np.random.Generator = 0,
        progress: bool | None = None,
        use_u: bool = False,
    ) -> Bootstrap:
        """Parametric bootstrap; see :func:`lmmjax.inference.bootstrap.bootstrap`."""
        from .inference.bootstrap import bootstrap

        return bootstrap(_fit(self), n, seed, progress, use_u)
