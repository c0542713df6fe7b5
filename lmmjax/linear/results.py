"""A fitted linear model: :class:`LmFit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from lmmjax.design import Design
from lmmjax.errors import LmmError
from lmmjax.linear.least_squares import LeastSquares
from lmmjax.lmm_fit_arguments import generator


class FStatistic(NamedTuple):
    """The F test of all terms together: ``value`` on ``df1`` and ``df2`` degrees of freedom."""

    value: float
    df1: int
    df2: int
    p: float


@dataclass(frozen=True, eq=False)
class LmFit:
    """A fitted linear model: n observations, p coefficients; :func:`lmmjax.linear.lm` makes it.

    Two fits are equal if they are the same object.

    Attributes
    ----------
    design : Design
        Model matrix, names and terms.
    weights : ndarray of shape (n,), or None
        Prior weights of the observations used.
    solution : LeastSquares
    data : DataFrame
        The table as given, for :func:`lmmjax.linear.update.update`.
    options : mapping
        The other arguments of ``lm``.
    """

    design: Design = field(repr=False)
    weights: np.ndarray | None = field(repr=False)
    solution: LeastSquares = field(repr=False)
    data: pd.DataFrame = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)

    @property
    def formula(self) -> str:
        return self.design.parsed.text

    @property
    def response(self) -> str:
        """Name of the response."""
        return str(self.design.response_name)

    @property
    def n_obs(self) -> int:
        """Observations used."""
        return self.design.n

    @property
    def nobs(self) -> int:
        """The same as :attr:`n_obs`."""
        return self.n_obs

    @property
    def rank(self) -> int:
        """Number p of estimated coefficients."""
        return self.design.rank

    @property
    def df_resid(self) -> int:
        """Residual degrees of freedom, n - p."""
        return self.n_obs - self.rank

    def _named(self, kept: np.ndarray, name: str) -> pd.Series:
        out = np.full(len(self.design.fixed_names), np.nan)
        out[self.design.fixed_kept] = kept
        return pd.Series(out, index=list(self.design.fixed_names), name=name)

    @property
    def fixef(self) -> pd.Series:
        """Coefficients; NaN for those dropped as linearly dependent."""
        return self._named(self.solution.coefficients, "fixef")

    @property
    def coef(self) -> pd.Series:
        """The same as :attr:`fixef`: a property here, as there are no groups; a mixed model's
        ``coef()`` gives the coefficients by group."""
        return self.fixef

    @property
    def std_errors(self) -> pd.Series:
        """Standard errors of the coefficients."""
        unit = np.sqrt(np.diagonal(self.solution.unit_vcov))
        return self._named(unit * self.sigma, "std_errors")

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the coefficients, sigma^2 (X'WX)^-1; NaN for dropped ones."""
        names = list(self.design.fixed_names)
        out = np.full((len(names), len(names)), np.nan)
        kept = np.flatnonzero(self.design.fixed_kept)
        out[np.ix_(kept, kept)] = self.solution.unit_vcov * self.sigma**2
        return pd.DataFrame(out, index=names, columns=names)

    @property
    def rss(self) -> float:
        """(Weighted) residual sum of squares."""
        return self.solution.rss

    @property
    def deviance(self) -> float:
        """The same as :attr:`rss`, as R's ``deviance``."""
        return self.rss

    @property
    def sigma(self) -> float:
        """Residual standard deviation, sqrt(rss / (n - p))."""
        return float(np.sqrt(self.rss / self.df_resid))

    @property
    def coefficients(self) -> pd.DataFrame:
        """Columns ``Estimate``, ``Std. Error``, ``t value`` and ``Pr(>|t|)`` (two-sided)."""
        estimate, error = self.fixef, self.std_errors
        t = estimate / error
        p = 2.0 * stats.t.sf(np.abs(t), self.df_resid)
        table = {"Estimate": estimate, "Std. Error": error, "t value": t, "Pr(>|t|)": p}
        return pd.DataFrame(table, index=estimate.index)

    def confint(
        self,
        level: float = 0.95,
        parameters: str | Sequence[str] | None = None,
        method: str | None = None,
    ) -> pd.DataFrame:
        """Confidence intervals of the coefficients, by Student's t.

        Parameters
        ----------
        level : float
        parameters : str or sequence of str, optional
            Names of coefficients; default: all.
        method : str, optional
            None or ``"t"``: the intervals are exact, and there are no others.

        Returns
        -------
        DataFrame
            One row per coefficient, columns such as ``"2.5 %"`` and ``"97.5 %"``.

        Raises
        ------
        LmmError
            The level is not between 0 and 1; an unknown coefficient; or another method.

        Examples
        --------
        >>> import lmmjax
        >>> from lmmjax.linear import lm
        >>> fit = lm("Reaction ~ Days", lmmjax.datasets.load_sleepstudy())
        >>> fit.confint().loc["Days"].round(3).tolist()
        [8.024, 12.911]
        """
        from lmmjax.linear.intervals import confint

        return confint(self, level, parameters, method)

    @cached_property
    def _explained(self) -> tuple[float, int]:
        """Sum of squares and degrees of freedom of the regression, about the mean if there is
        an intercept."""
        first = int(self.design.parsed.has_intercept)
        effects = self.solution.effects[first:]
        return float(effects @ effects), len(effects)

    @property
    def r_squared(self) -> float:
        """Explained fraction of the sum of squares: about the mean with an intercept, else
        about zero; an offset is taken off first (R 4.2 leaves it in)."""
        explained, df = self._explained
        return explained / (explained + self.rss) if df else 0.0

    @property
    def adj_r_squared(self) -> float:
        """1 - (1 - R^2) (n - intercept) / (n - p)."""
        total = self.n_obs - int(self.design.parsed.has_intercept)
        if not self._explained[1]:
            return 0.0
        return 1.0 - (1.0 - self.r_squared) * total / self.df_resid

    @property
    def f_statistic(self) -> FStatistic | None:
        """F test of all coefficients but the intercept; None if there are no others."""
        explained, df = self._explained
        if not df:
            return None
        value = explained / df / self.sigma**2
        return FStatistic(value, df, self.df_resid, float(stats.f.sf(value, df, self.df_resid)))

    @property
    def df(self) -> int:
        """Number of parameters: coefficients and sigma."""
        return self.rank + 1

    @property
    def loglik(self) -> float:
        """Log-likelihood at the maximum-likelihood estimate of sigma (divisor n)."""
        logs = 0.0 if self.weights is None else float(np.sum(np.log(self.weights)))
        n = self.n_obs
        return 0.5 * (logs - n * (np.log(2.0 * np.pi * self.rss / n) + 1.0))

    @property
    def aic(self) -> float:
        return 2.0 * self.df - 2.0 * self.loglik

    @property
    def bic(self) -> float:
        return float(np.log(self.n_obs)) * self.df - 2.0 * self.loglik

    def _on_observations(self, values: np.ndarray) -> pd.Series:
        return pd.Series(values, index=self.design.observations, name=self.response)

    def fitted(self) -> pd.Series:
        """Fitted values, offset included, at the observations used."""
        assert self.design.response is not None
        return self._on_observations(self.design.response - self.solution.residuals)

    def residuals(self, type: str = "response") -> pd.Series:
        """Residuals at the observations used.

        Parameters
        ----------
        type
            ``"response"``: response minus fitted value; ``"pearson"`` and ``"deviance"``: times
            the root of the weight; ``"scaled"``: that over sigma; ``"standardized"``: that over
            sqrt(1 - h), R's ``rstandard``; ``"studentized"``: the same with the sigma of the fit
            without that observation, R's ``rstudent``. The last two are NaN where the leverage h
            is 1.

        Raises
        ------
        LmmError
            An unknown type.

        Examples
        --------
        >>> import lmmjax
        >>> from lmmjax.linear import lm
        >>> fit = lm("Reaction ~ Days", lmmjax.datasets.load_sleepstudy())
        >>> fit.residuals("studentized").head(2).round(3).tolist()
        [-0.039, -0.067]
        """
        from lmmjax.linear.diagnostics import residuals

        return self._on_observations(residuals(self, type))

    def hatvalues(self) -> pd.Series:
        """Leverages, the diagonal of the hat matrix, between 0 and 1."""
        from lmmjax.linear.diagnostics import leverages

        return self._on_observations(leverages(self))

    def cooks_distance(self) -> pd.Series:
        """Cook's distances, r^2 h / ((1 - h) p) with r the standardized residual."""
        from lmmjax.linear.diagnostics import cooks_distances

        return self._on_observations(cooks_distances(self))

    def predict(
        self,
        newdata: pd.DataFrame | Mapping[str, Any] | None = None,
        interval: str | None = None,
        level: float = 0.95,
        se_fit: bool = False,
        weights: Any = None,
    ) -> pd.Series | pd.DataFrame:
        """Predictions, see :func:`lmmjax.linear.predict.predict`."""
        from lmmjax.linear.predict import predict

        return predict(self, newdata, interval, level, se_fit, weights)

    def simulate(self, n: int = 1, seed: int | np.random.Generator | None = 0) -> pd.DataFrame:
        """Responses drawn from the fitted model, normal about the fitted values.

        Parameters
        ----------
        n
            Number of responses.
        seed
            Seed, or a NumPy generator; None: other random numbers each time.

        Returns
        -------
        DataFrame
            Observations used x ``sim_1 ... sim_n``; variance sigma^2 / weight.

        Raises
        ------
        LmmError
            `n` is not a positive integer, or `seed` none.

        Examples
        --------
        >>> import lmmjax
        >>> fit = lmmjax.lm("Reaction ~ Days", lmmjax.datasets.load_sleepstudy())
        >>> fit.simulate(3, seed=1).shape
        (180, 3)
        """
        if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
            raise LmmError(f"n={n!r}: the number of responses to simulate is a positive integer")
        spread = self.sigma / np.sqrt(np.ones(self.n_obs) if self.weights is None else self.weights)
        noise = generator(seed).normal(size=(self.n_obs, n))
        values = self.fitted().to_numpy()[:, None] + spread[:, None] * noise
        names = [f"sim_{k + 1}" for k in range(n)]
        return pd.DataFrame(values, index=self.design.observations, columns=names)

    def summary(self) -> str:
        """The model as text, in the layout of R's ``summary(lm)``."""
        from lmmjax.linear.summary import summary

        return summary(self)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        return (
            f"LmFit: {self.formula!r}, {self.n_obs} observations, R^2 {self.r_squared:.4g}, "
            f"sigma {self.sigma:.4g}"
        )

    def _repr_html_(self) -> str:
        from lmmjax.linear.summary import html

        return html(self)
