"""Likelihood profiles and the intervals they give."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import pandas as pd

from lmmjax.errors import LmmError
from lmmjax.inference.likelihood import Likelihood
from lmmjax.inference.parameters import Component, components, parameter_names

if TYPE_CHECKING:
    from lmmjax.lmm_fit import LmmFit

#: Points of a curve between the estimate and its end, about.
POINTS = 8
#: Accuracy of interval bounds, relative to the width of the curve's last step.
BOUND_TOLERANCE = 1e-8
#: Most steps to one side of the estimate.
MOST_STEPS = 60
#: Optimisations start with diagonal entries of Lambda of at least this.
LIFT = 0.02


@dataclass(frozen=True)
class Profile:
    """Profile curves of a fit's parameters, made by :func:`profile`.

    Attributes
    ----------
    fit
        The maximum likelihood fit that was profiled.
    curves
        Tidy table: ``parameter``, ``value``, ``zeta``, the signed square root of the increase
        of -2 log-likelihood over its minimum; zero at the estimate.
    """

    fit: LmmFit
    curves: pd.DataFrame
    _tracks: dict[str, _Track]

    def confint(self, level: float = 0.95) -> pd.DataFrame:
        """Intervals of all values whose |zeta| is below the normal quantile.

        A bound that does not exist is the end of the parameter's range: zero for a standard
        deviation, -1 or 1 for a correlation.

        Returns
        -------
        DataFrame
            One row per parameter, columns named by their percentages.
        """
        from scipy.stats import norm

        from lmmjax.inference.intervals import bounds_table, check_level

        check_level(level)
        z = float(norm.ppf(0.5 * (1.0 + level)))
        rows = [(track.bound(-z), track.bound(z)) for track in self._tracks.values()]
        return bounds_table(list(self._tracks), rows, level)

    def plot(self, absolute: bool = False):
        """Profile zeta plot; see :func:`lmmjax.plots.plot_zeta`."""
        from lmmjax.plots import plot_zeta

        return plot_zeta(self.curves, absolute=absolute)


def profile(
    fit: LmmFit, parameters: str | Sequence[str] | None = None, reach: float = 0.99
) -> Profile:
    """Profile the likelihood of one fit.

    Each parameter (standard deviations, correlations, sigma, coefficients) is held at values
    on both sides of its estimate while all others are optimised.  As in lme4, profiles are of
    the likelihood: a REML fit is refitted by ML first.

    Parameters
    ----------
    fit
        A converged fit.
    parameters
        Names of those to profile, abbreviated as in :func:`~lmmjax.inference.confint`;
        default all.
    reach
        The curves extend to where the simultaneous confidence level of all parameters is
        this, as lme4's ``alphamax = 1 - reach``.

    Returns
    -------
    Profile

    Raises
    ------
    LmmError
        There is no fit, or a parameter does not exist.
    """
    from scipy.stats import chi2

    from lmmjax.inference.intervals import named_parameters

    if not 0.5 <= reach < 1.0:
        raise LmmError(f"reach={reach!r}: give a confidence level from 0.5 to below 1")
    if not fit.status.has_estimates:
        raise LmmError(f"{fit.response}: there is no fit to profile ({fit.status.value})")
    if fit.model.design.sigma is not None:
        raise LmmError(
            "profiles are of models that estimate sigma; use method='wald' or 'boot' for the "
            "intervals of one with sigma given"
        )
    names = parameter_names(fit.model.design)
    wanted = named_parameters(fit.model.design, parameters)
    fit = fit.refit(reml=False) if fit.reml else fit
    surface = _Surface(fit)
    cutoff = float(np.sqrt(chi2.ppf(reach, len(names))))
    tracks = {name: surface.track(name) for name in wanted}
    frames = []
    for name, track in tracks.items():
        track.explore(cutoff)
        values, zetas = track.sorted()
        frames.append(pd.DataFrame({"parameter": name, "value": values, "zeta": zetas}))
    curves = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
    return Profile(fit, curves, tracks)


class _Surface:
    """The likelihood around its maximum, with one parameter held or another.

    A point is (theta, log sigma), or theta alone where a coefficient is held.
    """

    def __init__(self, fit: LmmFit) -> None:
        self.fit = fit
        self.likelihood = Likelihood(fit)
        self.peak = np.append(fit.theta, np.log(fit.sigma))
        self.minimum = self.likelihood.with_sigma(fit.theta, self.peak[-1])[0]
        parts = components(fit.model.design)
        self.components = {c.name: c for c in parts}
        self.diagonal = np.flatnonzero([c.row == c.column for c in parts])

    def track(self, name: str) -> _Track:
        fit, start = self.fit, self.peak.copy()
        if name == "sigma":
            return _Track(
                self.minimum, fit.sigma, (0.0, np.inf), 0.05 * fit.sigma, self._at_sigma, start
            )
        if name not in self.components:
            errors, estimates = fit.std_errors.dropna(), fit.fixef.dropna()
            j = list(errors.index.astype(str)).index(name)
            hold = partial(self._at_coefficient, j)
            step, at = 0.25 * float(errors.iloc[j]), float(estimates.iloc[j])
            return _Track(self.minimum, at, (-np.inf, np.inf), step, hold, start[:-1])
        component = self.components[name]
        estimate = component.value(fit.theta, fit.sigma)
        hold = partial(self._at_component, component)
        if component.row != component.column:
            return _Track(self.minimum, estimate, (-1.0, 1.0), 0.05, hold, start)
        step = max(0.1 * estimate, 0.02 * fit.sigma)
        return _Track(self.minimum, estimate, (0.0, np.inf), step, hold, start)

    def _at_sigma(self, value: float, near: _Optimum) -> _Optimum:
        if value <= 0.0:
            return near._replace(value=np.inf)
        held = float(np.log(value))

        def objective(theta: np.ndarray):
            return self.likelihood.with_sigma(theta, held)[:2]

        found = _minimise(objective, near._replace(point=self._lifted(near.point)[:-1]))
        return found._replace(point=np.append(found.point, held))

    def _at_coefficient(self, j: int, value: float, near: _Optimum) -> _Optimum:
        def objective(theta: np.ndarray):
            return self.likelihood.with_coefficient(theta, j, value)

        return _minimise(objective, near._replace(point=self._lifted(near.point)))

    def _at_component(self, component: Component, value: float, near: _Optimum) -> _Optimum:
        def moved(point):
            return component.held(point[:-1], np.exp(point[-1]), value)

        def objective(point: np.ndarray):
            out, slope, along = self.likelihood.with_sigma(moved(point), point[-1])
            # the complex step gives the map's derivatives to rounding
            shifts = 1e-30j * np.eye(len(point))
            jacobian = np.array([np.imag(moved(point + shift)) / 1e-30 for shift in shifts])
            gradient = jacobian @ slope
            gradient[-1] += along
            return out, gradient

        return _minimise(objective, near._replace(point=self._lifted(near.point)))

    def _lifted(self, point: np.ndarray) -> np.ndarray:
        """The point with no Lambda near zero, where the even objective is flat."""
        out, diagonal = point.copy(), self.diagonal
        small = np.abs(out[diagonal]) < LIFT
        out[diagonal] = np.where(small, np.where(out[diagonal] < 0, -LIFT, LIFT), out[diagonal])
        return out


class _Optimum(NamedTuple):
    """A minimum, where it is, and the inverse Hessian that BFGS ended with."""

    value: float
    point: np.ndarray
    inverse: np.ndarray | None = None


def _minimise(objective: Callable, near: _Optimum) -> _Optimum:
    """Minimum by BFGS, from an optimum nearby and its inverse Hessian."""
    from scipy.optimize import minimize

    start, inverse = near.point, near.inverse
    if not len(start):
        return _Optimum(float(objective(start)[0]), start)
    options: dict[str, Any] = {"gtol": 1e-7}
    if inverse is not None and np.linalg.eigvalsh(inverse)[0] > 0:
        options["hess_inv0"] = 0.5 * (inverse + inverse.T)
    found = minimize(objective, start, jac=True, method="BFGS", options=options)
    return _Optimum(float(found.fun), found.x, found.hess_inv)


class _Track:
    """One parameter's curve: values tried so far, and the optimum of the others at each."""

    def __init__(
        self,
        minimum: float,
        estimate: float,
        ends: tuple[float, float],
        step: float,
        hold: Callable[[float, _Optimum], _Optimum],
        start: np.ndarray,
    ) -> None:
        self.minimum, self.estimate, self.ends, self.step = minimum, estimate, ends, step
        self.hold = hold
        self.points = {estimate: (0.0, _Optimum(minimum, start))}

    def zeta(self, value: float) -> float:
        """Signed root of the increase at a value; optimised from the nearest known point."""
        if value not in self.points:
            near = min(self.points, key=lambda known: abs(known - value))
            found = self.hold(value, self.points[near][1])
            rise = max(found.value - self.minimum, 0.0)
            self.points[value] = float(np.copysign(np.sqrt(rise), value - self.estimate)), found
        return self.points[value][0]

    def explore(self, cutoff: float) -> None:
        """Walk outwards in steps of about equal zeta until the cutoff or the range's end."""
        if not np.isfinite(self.estimate):
            return
        for side, end in zip((-1.0, 1.0), self.ends, strict=True):
            value, zeta, step = self.estimate, 0.0, self.step
            for _ in range(MOST_STEPS):
                if value == end or abs(zeta) >= cutoff:
                    break
                ahead = value + side * step
                if side * (end - ahead) <= 0.0 or abs(end - ahead) < 1e-3 * step:
                    # the very end of a correlation is a singular covariance
                    ahead = end if np.isinf(self.ends[1]) else 0.5 * (value + end)
                    if abs(end - ahead) < 1e-6:
                        break
                new = self.zeta(ahead)
                if not np.isfinite(new):
                    break
                gained = max(abs(new) - abs(zeta), 0.05 * cutoff / POINTS)
                value, zeta = ahead, new
                step = step * float(np.clip(cutoff / POINTS / gained, 0.3, 3.0))

    def sorted(self) -> tuple[np.ndarray, np.ndarray]:
        """Values in order and zeta at each."""
        values = np.array(sorted(self.points))
        return values, np.array([self.points[v][0] for v in values])

    def bound(self, target: float) -> float:
        """Where zeta has a value, or the end of the range that is reached before."""
        from scipy.optimize import brentq

        if not np.isfinite(self.estimate):
            return np.nan
        self.explore(abs(target))
        values, zetas = self.sorted()
        end = self.ends[0 if target < 0 else 1]
        beyond = np.flatnonzero(zetas <= target if target < 0 else zetas >= target)
        if not len(beyond):
            return end
        outer = beyond[-1] if target < 0 else beyond[0]
        inner = outer + (1 if target < 0 else -1)
        a, b = values[outer], values[inner]
        tolerance = float(BOUND_TOLERANCE * abs(b - a))
        return cast(float, brentq(lambda v: self.zeta(v) - target, a, b, xtol=tolerance))
