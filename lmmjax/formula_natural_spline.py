"""Natural cubic splines in the basis of R's ``splines::ns``."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lmmjax.errors import DesignError


@dataclass(frozen=True)
class NaturalSpline:
    """A basis of cubic splines that are straight lines beyond the boundary knots.

    Attributes
    ----------
    knots : ndarray, shape (k,)
        Interior knots.
    boundary : ndarray, shape (2,)
        Boundary knots: the range of the data the basis was made for.
    """

    knots: np.ndarray
    boundary: np.ndarray

    @classmethod
    def learn(cls, x: np.ndarray, df: int | None, knots: tuple[float, ...] | None) -> NaturalSpline:
        """The basis for a column: knots at its quantiles, ``df - 1`` of them, unless given.

        Examples
        --------
        >>> NaturalSpline.learn(np.arange(11.0), df=2, knots=None).knots
        array([5.])
        """
        boundary = np.array([x.min(), x.max()])
        if knots is None:
            inner = np.quantile(x, np.linspace(0, 1, (df or 1) + 1)[1:-1])
        else:
            inner = np.sort(np.asarray(knots, dtype=np.float64))
        if len(inner) and (inner[0] <= boundary[0] or inner[-1] >= boundary[1]):
            raise DesignError("ns(): every knot has to lie inside the range of the column")
        return cls(inner, boundary)

    def apply(self, x: np.ndarray, label: str) -> np.ndarray:
        """The basis at `x`, shape (n, k + 1), NaN where `x` is NaN."""
        del label
        clipped = np.clip(np.nan_to_num(x, nan=self.boundary[0]), *self.boundary)
        beyond = np.where(np.isnan(x), np.nan, x) - clipped
        # outside the boundary a natural spline is its tangent there
        basis = self._bsplines(clipped, 0) + beyond[:, None] * self._bsplines(clipped, 1)
        curvature = self._bsplines(self.boundary, 2)
        orthogonal, _ = np.linalg.qr(curvature.T, mode="complete")
        return basis @ orthogonal[:, 2:]

    def _bsplines(self, x: np.ndarray, derivative: int) -> np.ndarray:
        """Cubic B-splines (without the first, which stands for the intercept) or derivatives."""
        from scipy.interpolate import BSpline  # slow to import, and few formulas need it

        low, high = self.boundary
        all_knots = np.concatenate([[low] * 4, self.knots, [high] * 4])
        size = len(all_knots) - 4
        spline = BSpline(all_knots, np.eye(size), 3)
        values = (spline.derivative(derivative) if derivative else spline)(x)
        return np.asarray(values)[:, 1:]
