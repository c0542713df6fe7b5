"""A model compiled for its formula and sample table, ready to fit any responses."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, Literal

import jax
import numpy as np
import pandas as pd

from .design import Design, build_design
from .engine_forms import EngineForms
from .explain import explain
from .expression.anndata_view import is_anndata
from .fit import fit_responses
from .fit_options import FitOptions, Path
from .objective import objective
from .results import FitBatch
from .structure import triangle


def compile(
    formula: str,
    samples: Any,
    *,
    na: str = "drop",
    rank_deficient: str = "drop",
    contrasts: Mapping[str, Any] | None = None,
    sigma: float | None = None,
    relmat: Mapping[str, pd.DataFrame] | None = None,
) -> Model:
    """Compile a mixed model for a sample table.

    Parameters
    ----------
    formula
        lme4 syntax, for example ``"~ Age + (1|Individual) + (1|Batch)"``; a left-hand side is
        ignored.
    samples
        DataFrame (or mapping of columns), one row per observation, index = sample names; or an
        ``AnnData``, which brings its ``obs``.
    na
        What to do with samples that miss a covariate: ``"drop"`` (said in a warning) or
        ``"raise"``.
    rank_deficient
        ``"drop"`` linearly dependent fixed effects (said in a warning), or ``"error"``.
    contrasts
        Coding of factors by column name.
    sigma
        The residual standard deviation (of weight 1), if it is known: it is not estimated then,
        and every observation may be a group of its own, as in a meta-analysis.
    relmat
        Known covariances between the levels of grouping factors: ``{"id": K}`` with a DataFrame
        K labelled by level (kinship, pedigree).  The effects of ``(1|id)`` have covariance
        theta^2 sigma^2 K, those of a vector-valued term Psi sigma^2 (x) K.

    Returns
    -------
    Model

    Raises
    ------
    LmmError
        The formula or the table is not usable; see :mod:`lmmjax.errors`.

    Examples
    --------
    >>> import lmmjax
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> model = lmmjax.compile("~ Days + (Days | Subject)", data)
    >>> fits = model.fit(data[["Reaction"]].to_numpy())
    >>> round(float(fits.objective.iloc[0]), 4)
    1743.6283
    """
    if is_anndata(samples):
        samples = samples.obs
    design = build_design(
        formula, samples, na=na, rank_deficient=rank_deficient, contrasts=contrasts,
        sigma=sigma, relmat=relmat,
    )  # fmt: skip
    index = samples.index if isinstance(samples, pd.DataFrame) else pd.DataFrame(samples).index
    return Model(design, index)


class Model(EngineForms):
    """Formula and sample table in engine form; :func:`compile` makes it.

    Attributes
    ----------
    design
        The design matrices and names, see :class:`lmmjax.design.Design`.
    samples
        Names of all rows of the sample table, dropped ones included.
    layout
        The structure the compiled programs are specialised for.
    """

    def __init__(self, design: Design, samples: pd.Index) -> None:
        super().__init__(design)
        self.samples = samples

    @property
    def formula(self) -> str:
        return self.design.parsed.text

    @property
    def n(self) -> int:
        """Observations."""
        return self.design.n

    @cached_property
    def theta_names(self) -> tuple[str, ...]:
        """Names of the entries of theta, as lme4's ``getME(fit, "theta")`` has them."""
        names = []
        for term in self.design.terms:
            for i, j in triangle(term.n_columns):
                inner = term.columns[i] if i == j else f"{term.columns[i]}.{term.columns[j]}"
                names.append(f"{term.group}.{inner}")
        return tuple(names)

    def fit(
        self,
        Y: Any,
        reml: bool = True,
        weights: Any = None,
        *,
        progress: bool | None = None,
        path: Path = "auto",
        allow_duplicate_responses: bool = False,
        na: Literal["fit", "raise"] = "fit",
        n_starts: int | None = None,
        start: Any = None,
        chunk_size: int | None = None,
        memory: float | None = None,
        layer: str | None = None,
    ) -> FitBatch:
        """Fit every response.

        Parameters
        ----------
        Y
            DataFrame (aligned by label, whichever axis carries the sample names), array
            (n_observations, n_responses), Series, or ``AnnData``.
        reml
            Restricted (default) or ordinary maximum likelihood.
        weights
            Prior weights: residual variance is sigma^2 / weight.  One vector for all
            responses or a matrix like ``Y``.  Weight 0 excludes an observation.
        progress
            Progress bar on stderr; default: when stderr is a terminal.
        path
            Numerical path; ``"auto"`` takes the cheapest, see :meth:`explain`.
        na
            ``"fit"`` fits a response with missing values on what it has; ``"raise"`` makes
            them an error.
        n_starts
            Points of the start grid from which the optimiser runs, the best result wins;
            default 1, or 3 if a term is vector-valued (such deviances have local minima).
        start
            (k,) theta, in the order of :attr:`theta_names`, from which every response starts
            instead.
        chunk_size, memory
            Responses per compiled call, or bytes that working arrays may take; default
            automatic.

        Returns
        -------
        FitBatch

        Raises
        ------
        LmmError
            An argument is none of its choices.
        AlignmentError, ShapeError, DTypeError, EmptyDataError, WeightError
            Before anything is fitted.
        """
        options = FitOptions.checked(
            self.theta_names,
            reml=reml,
            path=path,
            progress=progress,
            n_starts=n_starts,
            chunk_size=chunk_size,
            memory=memory,
            na=na,
            start=start,
        )
        return fit_responses(
            self,
            Y,
            weights,
            options,
            allow_duplicate_responses=allow_duplicate_responses,
            layer=layer,
        )

    def deviance(self, theta: Any, y: Any, reml: bool = True) -> jax.Array:
        """Profiled objective of one response at theta, with all constants, as lme4's.

        A pure JAX function of ``theta`` (in lme4's order) and ``y`` (n,): ``jax.jit``,
        ``jax.grad``, ``jax.hessian`` and ``jax.vmap`` work on it; the first two derivatives
        in theta are exact closed forms.  Transformations need 64-bit mode: call them inside
        ``with jax.enable_x64(True):``; a plain call is in double precision by itself.

        Raises
        ------
        LmmError
            Under a transformation while JAX is in 32-bit mode.
        ShapeError
            theta or y has not the model's length.

        Examples
        --------
        >>> import lmmjax
        >>> data = lmmjax.datasets.load_sleepstudy()
        >>> model = lmmjax.compile("~ Days + (1 | Subject)", data)
        >>> y = data["Reaction"].to_numpy()
        >>> round(float(model.deviance([1.0], y)), 3)
        1787.399
        >>> import jax
        >>> with jax.enable_x64(True):
        ...     slope = jax.grad(lambda theta: model.deviance(theta, y))(np.array([1.0]))
        >>> round(float(slope[0]), 3)
        -10.652
        """
        return objective(self, theta, y, bool(reml))

    def explain(self, path: Path = "auto", *, weights: Any = None) -> str:
        """Which numerical path a fit takes, and why; with such ``weights``, where given."""
        if path == "auto" and weights is not None and np.ndim(weights) == 2:
            path = "weighted"
        return explain(self, path)

    @property
    def n_parameters(self) -> int:
        """Number of parameters: fixed effects that are estimated, theta, and sigma unless known."""
        return self.design.rank + self.n_covariances

    @property
    def n_covariances(self) -> int:
        """Estimated parameters of the covariance: theta, and sigma unless it is given."""
        return self.layout.n_theta + (self.design.sigma is None)
