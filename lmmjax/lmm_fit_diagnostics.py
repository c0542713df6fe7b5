"""Pieces and diagnostics of a fit of one response, as methods."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

if TYPE_CHECKING:
    from .diagnostics import Check, Influence
    from .lmm_fit import LmmFit


def _fit(self: object) -> LmmFit:
    return cast("LmmFit", self)


class DiagnosticMethods:
    """Diagnostics of an :class:`~lmmjax.lmm_fit.LmmFit`; see :mod:`lmmjax.diagnostics`."""

    def coef(self) -> dict[str, pd.DataFrame]:
        """Coefficients of every level: :func:`lmmjax.diagnostics.coef`."""
        from .diagnostics import coef

        return coef(_fit(self))

    def ngrps(self) -> pd.Series:
        """Levels of every grouping factor: :func:`lmmjax.diagnostics.ngrps`."""
        from .diagnostics import ngrps

        return ngrps(_fit(self))

    def repca(self, rotation: bool = False) -> dict[str, pd.DataFrame]:
        """Principal components of the random effects: :func:`lmmjax.diagnostics.repca`."""
        from .diagnostics import repca

        return repca(_fit(self), rotation)

    def getme(self, name: str | Sequence[str]) -> Any:
        """Pieces of the model by lme4's names for them: :func:`lmmjax.diagnostics.getme`."""
        from .diagnostics import getme

        return getme(_fit(self), name)

    def check(self) -> Check:
        """Whether to trust the fit, and what to do: :func:`lmmjax.diagnostics.check`."""
        from .diagnostics import check

        return check(_fit(self))

    def hatvalues(self) -> pd.Series:
        """Leverages: :func:`lmmjax.diagnostics.hatvalues`."""
        from .diagnostics import hatvalues

        return hatvalues(_fit(self))

    def cooks_distance(self) -> pd.Series:
        """Cook's distances: :func:`lmmjax.diagnostics.cooks_distance`."""
        from .diagnostics import cooks_distance

        return cooks_distance(_fit(self))

    def influence(self, group: str | None = None, refit: bool = False) -> Influence:
        """Leave-one-out changes of the estimates: :func:`lmmjax.diagnostics.influence`."""
        from .diagnostics import influence

        return influence(_fit(self), group, refit)

    def icc(self, by_group: bool = False) -> pd.Series:
        """Intraclass correlations: :func:`lmmjax.diagnostics.icc`."""
        from .diagnostics import icc

        return icc(_fit(self), by_group)

    def r2(self) -> pd.Series:
        """Nakagawa's marginal and conditional R2: :func:`lmmjax.diagnostics.r2_nakagawa`."""
        from .diagnostics import r2_nakagawa

        return r2_nakagawa(_fit(self))

    def shrinkage(self) -> pd.DataFrame:
        """How far conditional modes are drawn to zero: :func:`lmmjax.diagnostics.shrinkage`."""
        from .diagnostics import shrinkage

        return shrinkage(_fit(self))

    def _repr_html_(self) -> str:
        from .diagnostics import fit_html

        return fit_html(_fit(self))
