"""What users hold after fitting many responses: :class:`FitBatch`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .errors import UnknownResponseError
from .expression.names import unknown_name
from .modes import conditional_modes, fitted_matrix, ranef_tables
from .status import Status, names_of
from .structure import triangle
from .varcorr import term_factors, varcorr_table

if TYPE_CHECKING:
    from .model import Model
    from .single import LmmFit


@dataclass
class FitBatch:
    """Fits of one model to many responses.

    Arrays have one row per response; numbers are NaN where ``status`` says that there is no
    fit.  :meth:`lmmjax.model.Model.fit` makes it.

    Attributes
    ----------
    model, responses, reml
        What was fitted, to what, and how.
    """

    model: Model
    responses: pd.Index
    reml: bool
    values: np.ndarray = field(repr=False)  # offset taken off, (n, G)
    raw_values: np.ndarray = field(repr=False)
    weights: np.ndarray | None = field(repr=False)
    status_codes: np.ndarray = field(repr=False)
    _n_obs: np.ndarray = field(repr=False)
    _theta: np.ndarray = field(repr=False)
    _sigma: np.ndarray = field(repr=False)
    _objective: np.ndarray = field(repr=False)
    _beta: np.ndarray = field(repr=False)
    _unit_vcov: np.ndarray = field(repr=False)
    _rank: np.ndarray = field(repr=False)
    _gradient_norm: np.ndarray = field(repr=False)
    _lowest: np.ndarray = field(repr=False)
    _n_iter: np.ndarray = field(repr=False)
    compile_seconds: float = 0.0

    @classmethod
    def empty(cls, model, responses, values, raw_values, weights, reml) -> FitBatch:
        """All-NaN results to be filled in by :func:`lmmjax.record.record`."""
        total, p, k = len(responses), model.design.rank, model.layout.n_theta
        nan = lambda *shape: np.full(shape, np.nan)  # noqa: E731
        return cls(
            model,
            responses,
            reml,
            values,
            raw_values,
            weights,
            status_codes=np.full(total, Status.NOT_CONVERGED.code, dtype=np.int8),
            _n_obs=np.zeros(total, dtype=np.int64),
            _theta=nan(total, k),
            _sigma=nan(total),
            _objective=nan(total),
            _beta=nan(total, p),
            _unit_vcov=nan(total, p, p),
            _rank=nan(total),
            _gradient_norm=nan(total),
            _lowest=nan(total),
            _n_iter=np.zeros(total, dtype=np.int64),
        )

    @property
    def model_levels(self) -> int:
        """Levels of the eliminated grouping factor."""
        model = self.model
        if not model.layout.eliminated:
            return 0
        return model.design.terms[model.order.engine_terms[0]].n_levels

    # ---- one number per response ---------------------------------------------------------

    def _series(self, values: np.ndarray, name: str) -> pd.Series:
        return pd.Series(values, index=self.responses, name=name)

    @property
    def theta(self) -> pd.DataFrame:
        """Relative covariance parameters, responses x entries of theta."""
        return pd.DataFrame(self._theta, index=self.responses, columns=list(self.model.theta_names))

    @property
    def sigma(self) -> pd.Series:
        """Residual standard deviation."""
        return self._series(self._sigma, "sigma")

    @property
    def objective(self) -> pd.Series:
        """REML criterion or -2 log-likelihood, with all constants."""
        return self._series(self._objective, "objective")

    @property
    def loglik(self) -> pd.Series:
        """(Restricted) log-likelihood."""
        return self._series(-0.5 * self._objective, "loglik")

    @property
    def df(self) -> pd.Series:
        """Number of parameters: fixed effects, theta and sigma (unless it is given)."""
        return self._series(self._rank + float(self.model.n_covariances), "df")

    @property
    def aic(self) -> pd.Series:
        return self._series(self._objective + 2.0 * self.df.to_numpy(), "aic")

    @property
    def bic(self) -> pd.Series:
        with np.errstate(divide="ignore", invalid="ignore"):
            return self._series(self._objective + np.log(self._n_obs) * self.df.to_numpy(), "bic")

    @property
    def status(self) -> pd.Series:
        """What happened, per response; values of :class:`lmmjax.status.Status`."""
        return self._series(names_of(self.status_codes), "status")

    @property
    def converged(self) -> pd.Series:
        return self._series(self.status_codes == Status.CONVERGED.code, "converged")

    @cached_property
    def _singular(self) -> np.ndarray:
        singular = np.zeros(len(self.responses), dtype=bool)
        weight_size = 1.0
        if self.weights is not None and self.weights.size:
            used = self.weights > 0
            count = np.maximum(used.sum(axis=0), 1)
            weight_size = np.where(used, self.weights, 0.0).sum(axis=0) / count
        start = 0
        for term in self.model.design.terms:
            size = np.sqrt(np.mean(term.z**2, axis=0))
            for i, j in triangle(term.n_columns):
                if i == j:
                    relative = np.abs(self._theta[:, start]) * size[i] * np.sqrt(weight_size)
                    singular |= relative < 1e-4
                start += 1
        return singular

    @property
    def singular(self) -> pd.Series:
        """True where some Lambda is rank deficient: the fit lies on the boundary.

        A diagonal entry of Lambda below 1e-4 (in units of the root mean square of its column
        of Z, so that rescaling a covariate changes nothing) counts as zero.
        """
        return self._series(self._singular, "singular")

    @property
    def n_obs(self) -> pd.Series:
        """Observations used for each response: with a value and a positive weight."""
        return self._series(self._n_obs, "n_obs")

    @property
    def n_iter(self) -> pd.Series:
        """Newton iterations."""
        return self._series(self._n_iter, "n_iter")

    @property
    def gradient_norm(self) -> pd.Series:
        """Largest absolute entry of the exact gradient in theta."""
        return self._series(self._gradient_norm, "gradient_norm")

    @property
    def min_hessian_eigenvalue(self) -> pd.Series:
        """Smallest eigenvalue of the exact Hessian in theta."""
        return self._series(self._lowest, "min_hessian_eigenvalue")

    # ---- coefficients --------------------------------------------------------------------

    def _coefficients(self, kept: np.ndarray) -> pd.DataFrame:
        design = self.model.design
        out = np.full((len(self.responses), len(design.fixed_names)), np.nan)
        out[:, design.fixed_kept] = kept
        return pd.DataFrame(out, index=self.responses, columns=list(design.fixed_names))

    @property
    def fixef(self) -> pd.DataFrame:
        """Fixed effects, responses x coefficients; NaN for columns dropped as aliased."""
        return self._coefficients(self._beta)

    @property
    def std_errors(self) -> pd.DataFrame:
        """Standard errors of the fixed effects."""
        with np.errstate(invalid="ignore"):
            unit = np.sqrt(np.diagonal(self._unit_vcov, axis1=1, axis2=2))
        return self._coefficients(unit * self._sigma[:, None])

    # ---- covariance components -----------------------------------------------------------

    def term_covariances(self, relative: bool = False) -> list[np.ndarray]:
        """Covariance matrix of each random-effects term, (G, q, q), in the design's order.

        ``relative`` leaves out the factor sigma^2.
        """
        return [factor @ np.swapaxes(factor, 1, 2) for factor in term_factors(self, relative)]

    @cached_property
    def varcorr(self) -> pd.DataFrame:
        """Variances, standard deviations and correlations, tidy.

        One row per response and component, as ``as.data.frame(VarCorr(fit))``: ``response``,
        ``group``, ``name1``, ``name2``, ``vcov`` (variance or covariance), ``sdcor``
        (standard deviation or correlation).
        """
        return varcorr_table(self)

    def variance_partition(self, by: str = "term") -> pd.DataFrame:
        """Fraction of variance per term (or ``by="column"`` of X), rows sum to one.

        See :func:`lmmjax.partition.variance_fractions`.
        """
        from .partition import variance_fractions

        return variance_fractions(self, by)

    def status_table(self) -> pd.DataFrame:
        """Everything about the quality of the fits, one row per response."""
        return pd.DataFrame(
            {
                "status": self.status,
                "converged": self.converged,
                "singular": self.singular,
                "n_obs": self.n_obs,
                "n_iter": self.n_iter,
                "gradient_norm": self.gradient_norm,
                "min_hessian_eigenvalue": self.min_hessian_eigenvalue,
                "objective": self.objective,
                "sigma": self.sigma,
            }
        )

    # ---- random effects, fitted values ---------------------------------------------------

    def ranef(self) -> dict[str, pd.DataFrame]:
        """Conditional modes of the random effects.

        Returns
        -------
        dict
            Grouping factor to a DataFrame, responses x (level, effect).  NaN for a level that
            a response has no observation of, and for responses without estimates.
        """
        return ranef_tables(self)

    def fitted(self) -> pd.DataFrame:
        """Fitted values (fixed and random effects, offset), observations x responses.

        NaN where the response was not observed.
        """
        columns = np.arange(len(self))
        return self._by_observation(fitted_matrix(self, conditional_modes(self), columns))

    def residuals(self) -> pd.DataFrame:
        """Responses minus fitted values, observations x responses."""
        return self._by_observation(self.raw_values) - self.fitted()

    def _by_observation(self, values: np.ndarray) -> pd.DataFrame:
        return pd.DataFrame(values, index=self.model.design.observations, columns=self.responses)

    # ---- saving --------------------------------------------------------------------------

    def to_parquet(self, directory: str | Path, *, force: bool = False) -> None:
        """Save everything as Parquet and JSON; see :func:`lmmjax.persistence.save`."""
        from .persistence import save

        save(self, directory, force=force)

    @classmethod
    def from_parquet(cls, directory: str | Path) -> FitBatch:
        """Load what :meth:`to_parquet` saved; see :func:`lmmjax.persistence.load`."""
        from .persistence import load

        return load(directory)

    def to_tsv(self, directory: str | Path, *, force: bool = False) -> None:
        """Write the tables as text; see :func:`lmmjax.persistence.write_tables`."""
        from .persistence import write_tables

        write_tables(self, directory, force=force)

    # ---- one response --------------------------------------------------------------------

    def take(self, positions: Any) -> FitBatch:
        """The fits of some responses, by position."""
        at = np.asarray(positions, dtype=np.intp)
        private = [f.name for f in fields(self) if f.name.startswith("_")]
        part = {name: getattr(self, name)[at] for name in (*private, "status_codes")}
        for name in ("values", "raw_values", "weights"):
            matrix = getattr(self, name)
            part[name] = None if matrix is None else matrix[:, at]
        return replace(self, responses=self.responses[at], **part)

    def __len__(self) -> int:
        return len(self.responses)

    def __getitem__(self, response: Any) -> LmmFit:
        """The fit of one response, by name; see :class:`lmmjax.single.LmmFit`.

        Raises
        ------
        UnknownResponseError
            Also a ``KeyError``: there is no such response, or several.
        """
        from .single import LmmFit

        try:
            where = self.responses.get_loc(response)
        except (KeyError, TypeError):
            known = self.responses.astype(str).tolist()
            told = unknown_name("response", str(response), known)
            raise UnknownResponseError(str(told)) from None
        if not isinstance(where, int):
            raise UnknownResponseError(f"{response!r} names several responses")
        return LmmFit(self, where)

    def __repr__(self) -> str:
        counts = self.status.value_counts()
        listing = ", ".join(f"{count} {name}" for name, count in counts.items())
        kind = "REML" if self.reml else "ML"
        return (
            f"FitBatch: {len(self)} responses, {self.model.formula!r} by {kind}; {listing}; "
            f"{int(self.singular.sum())} singular"
        )
