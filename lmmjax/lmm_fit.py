"""The fit of one response: :class:`LmmFit`."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .conditional_variance import conditional_covariances
from .errors import LmmError
from .lmm_fit_arguments import knows_lme4_arguments
from .lmm_fit_diagnostics import DiagnosticMethods
from .lmm_fit_inference import InferenceMethods
from .lmm_fit_names import NamesElsewhere
from .lmm_fit_prediction import PredictionMethods
from .modes import Modes, conditional_modes, effects_by_group, fitted_matrix, seen_cells
from .status import STATUSES, Status

if TYPE_CHECKING:
    from .diagnostics.components import ResidualType
    from .model import Model
    from .results import FitBatch


@dataclass(frozen=True, eq=False)
class LmmFit(PredictionMethods, InferenceMethods, DiagnosticMethods, NamesElsewhere):
    """The fit of one response, a view of a row of a :class:`~lmmjax.results.FitBatch`.

    Attributes
    ----------
    fits
        The batch.
    index
        Position of the response in it.
    weights_label
        What the summary calls the weights, if they have a name.

    Two fits are equal only if they are the same object.
    """

    fits: FitBatch
    index: int
    weights_label: str | None = None

    # ---- what was fitted -----------------------------------------------------------------

    @property
    def model(self) -> Model:
        """Design and structure."""
        return self.fits.model

    @property
    def formula(self) -> str:
        return self.model.formula

    @property
    def response(self) -> Any:
        """Name of the response."""
        return self.fits.responses[self.index]

    @property
    def reml(self) -> bool:
        """Whether restricted maximum likelihood was used."""
        return self.fits.reml

    @property
    def n_obs(self) -> int:
        """Observations used."""
        return int(self.fits._n_obs[self.index])

    @property
    def weights(self) -> pd.Series | None:
        """Prior weights of the observations used; None where there are none."""
        if self.fits.weights is None:
            return None
        values = np.asarray(self.fits.weights[:, self.index], dtype=float)
        return self._on_observations(values).rename("weights")

    @property
    def status(self) -> Status:
        """What became of the fit."""
        return STATUSES[self.fits.status_codes[self.index]]

    @property
    def converged(self) -> bool:
        return self.status is Status.CONVERGED

    @property
    def singular(self) -> bool:
        """True where some Lambda is rank deficient: the fit lies on the boundary."""
        return bool(self.fits.singular.iloc[self.index])

    # ---- estimates -----------------------------------------------------------------------

    @property
    def theta(self) -> np.ndarray:
        """Relative covariance parameters, (k,), in lme4's order; ``model.theta_names``."""
        return self.fits._theta[self.index].copy()

    @property
    def sigma(self) -> float:
        """Residual standard deviation."""
        return float(self.fits._sigma[self.index])

    @property
    def _beta(self) -> np.ndarray:
        return self.fits._beta[self.index]

    @property
    def fixef(self) -> pd.Series:
        """Fixed effects; NaN for coefficients dropped as linearly dependent."""
        return self._coefficients(self._beta, "fixef")

    @property
    def std_errors(self) -> pd.Series:
        """Standard errors of the fixed effects."""
        unit = np.sqrt(np.diagonal(self.fits._unit_vcov[self.index]))
        return self._coefficients(unit * self.sigma, "std_errors")

    def _coefficients(self, kept: np.ndarray, name: str) -> pd.Series:
        design = self.model.design
        out = np.full(len(design.fixed_names), np.nan)
        out[design.fixed_kept] = kept
        return pd.Series(out, index=list(design.fixed_names), name=name)

    @property
    def vcov(self) -> pd.DataFrame:
        """Covariance matrix of the fixed effects; NaN for dropped coefficients."""
        design = self.model.design
        names = list(design.fixed_names)
        out = np.full((len(names), len(names)), np.nan)
        kept = np.flatnonzero(design.fixed_kept)
        out[np.ix_(kept, kept)] = self.fits._unit_vcov[self.index] * self.sigma**2
        return pd.DataFrame(out, index=names, columns=names)

    @property
    def varcorr(self) -> pd.DataFrame:
        """Variances, standard deviations and correlations of the random effects.

        Columns ``group``, ``name1``, ``name2``, ``vcov`` (variance or covariance) and ``sdcor``
        (standard deviation or correlation), as lme4's ``as.data.frame(VarCorr(fit))``.
        """
        one = self.fits.take([self.index]).varcorr
        return one.drop(columns="response")

    def variance_partition(self, by: str = "term") -> pd.Series:
        """Fraction of variance per term; see :meth:`lmmjax.results.FitBatch.variance_partition`."""
        return self.fits.take([self.index]).variance_partition(by).iloc[0]

    # ---- quality of fit ------------------------------------------------------------------

    @property
    def objective(self) -> float:
        """REML criterion, or -2 log-likelihood, with all constants."""
        return float(self.fits._objective[self.index])

    @property
    def loglik(self) -> float:
        """(Restricted) log-likelihood."""
        return -0.5 * self.objective

    @property
    def remlcrit(self) -> float:
        """The REML criterion; NaN for a fit by maximum likelihood."""
        return self.objective if self.reml else float("nan")

    @property
    def nobs(self) -> int:
        """Observations used, as :attr:`n_obs`."""
        return self.n_obs

    @property
    def df(self) -> int:
        """Number of parameters: fixed effects, theta and sigma."""
        rank = self.fits._rank[self.index]
        rank = self.model.design.rank if np.isnan(rank) else int(rank)
        return rank + self.model.n_covariances

    @property
    def df_resid(self) -> int:
        """Observations minus parameters, as lme4's ``df.residual``."""
        return self.n_obs - self.df

    @property
    def deviance(self) -> float:
        """-2 log-likelihood of a fit by maximum likelihood, with all constants.

        Raises
        ------
        LmmError
            The fit is by REML; its criterion is :attr:`objective`.
        """
        if self.reml:
            raise LmmError(
                "the deviance is of a fit by maximum likelihood, and this one is by REML: its "
                "criterion is fit.objective; fit.refit(reml=False).deviance is the deviance"
            )
        return self.objective

    @property
    def aic(self) -> float:
        return self.objective + 2.0 * self.df

    @property
    def bic(self) -> float:
        return self.objective + float(np.log(self.n_obs)) * self.df

    # ---- random effects, fitted values ---------------------------------------------------

    @cached_property
    def _modes(self) -> Modes:
        return conditional_modes(self.fits, np.array([self.index]))

    @cached_property
    def _seen(self) -> np.ndarray:
        """(n,) rows of the design that this response uses."""
        return seen_cells(self.fits, np.array([self.index]))[:, 0]

    def _on_observations(self, values: np.ndarray) -> pd.Series:
        observations = self.model.design.observations
        return pd.Series(values[self._seen], index=observations[self._seen], name=self.response)

    @knows_lme4_arguments
    def ranef(self, cond_var: bool = False) -> dict[str, pd.DataFrame]:
        """Conditional modes of the random effects.

        Parameters
        ----------
        cond_var
            Add a column ``<effect>_sd`` per effect: the conditional standard deviation given
            the data and the estimates (lme4's ``condVar``).

        Returns
        -------
        dict
            Grouping factor to a DataFrame, levels with observations x effects.

        Examples
        --------
        >>> import lmmjax
        >>> fit = lmmjax.lmer("Reaction ~ Days + (Days | Subject)",
        ...                   lmmjax.datasets.load_sleepstudy())
        >>> fit.ranef()["Subject"].loc["308"].round(4).tolist()
        [2.2586, 9.199]
        """
        blocks = self.cond_var() if cond_var else {}
        terms = self.model.design.terms
        out = {}
        for group, effects in effects_by_group(self.fits).items():
            columns = {name: self._modes.terms[k][0][:, c] for k, c, name in effects}
            if cond_var:
                for k, c, name in effects:
                    columns[f"{name}_sd"] = np.sqrt(blocks[terms[k].label][:, c, c])
            levels = pd.Index(terms[effects[0][0]].levels, name=group)
            frame = pd.DataFrame(columns, index=levels)
            present = np.bincount(terms[effects[0][0]].codes[self._seen], minlength=len(levels))
            out[group] = frame[present > 0]
        return out

    def cond_var(self) -> dict[str, np.ndarray]:
        """Conditional covariance matrices of the random effects.

        Returns
        -------
        dict
            Label of each term (``"Days | Subject"``) to an array (levels, q, q).
        """
        covariances = conditional_covariances(self.fits, self.index)
        labels = [term.label for term in self.model.design.terms]
        return dict(zip(labels, covariances, strict=True))

    def fitted(self) -> pd.Series:
        """Fitted values (fixed and random effects, offset) at the observations used."""
        matrix = fitted_matrix(self.fits, self._modes, np.array([self.index]))
        return self._on_observations(matrix[:, 0])

    def residuals(self, type: ResidualType = "response") -> pd.Series:
        """Response minus fitted values.

        ``type``: ``"response"``; ``"pearson"`` and ``"deviance"``, times the root of the weight;
        ``"scaled"``, that over sigma, as lme4 prints their quantiles.

        Raises
        ------
        LmmError
            An unknown type.
        """
        if type != "response":
            from .diagnostics import residuals_of_type

            return residuals_of_type(self, type)
        observed = self._on_observations(self.fits.raw_values[:, self.index])
        return observed - self.fitted()

    def scaled_residuals(self) -> pd.Series:
        """Residuals divided by their estimated standard deviation, sigma / sqrt(weight)."""
        weight = 1.0
        if self.fits.weights is not None:
            weight = self.fits.weights[self._seen, self.index]
        return self.residuals() * np.sqrt(weight) / self.sigma

    def save(self, directory: str | Path, *, force: bool = False) -> None:
        """Save the fit as Parquet and JSON; :func:`lmmjax.load` gives it back.

        Parameters
        ----------
        directory
            Made if it does not exist.
        force
            Replace what an earlier call saved there.

        Raises
        ------
        OutputError
            Results are there already, or the directory cannot be written to.

        Examples
        --------
        >>> import lmmjax, tempfile
        >>> fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)",
        ...                   lmmjax.datasets.load_sleepstudy())
        >>> directory = tempfile.mkdtemp()
        >>> fit.save(directory)
        >>> lmmjax.load(directory)
        LmmFit: 'Reaction', 'Reaction ~ Days + (1 | Subject)' by REML, 180 observations; converged
        """
        from .lmm_fit_persistence import save

        save(self, directory, force=force)

    def summary(self) -> str:
        """The model as text, in the layout of lme4's ``summary``."""
        from .summary import summary

        return summary(self)

    def __str__(self) -> str:
        return self.summary()

    def __repr__(self) -> str:
        kind = "REML" if self.reml else "ML"
        return (
            f"LmmFit: {self.response!r}, {self.formula!r} by {kind}, {self.n_obs} observations; "
            f"{self.status.value}{', singular' if self.singular else ''}"
        )
