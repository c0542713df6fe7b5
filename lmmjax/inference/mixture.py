"""The chi-bar-square distribution: mixtures of chi-squares with consecutive degrees of freedom.

A variance cannot be negative, so a model that has one more lies, under the null hypothesis,
with its parameter on the edge of what is allowed. The likelihood-ratio statistic is then
distributed like the squared length of a standard normal vector projected on a convex cone
(Self & Liang 1987): a mixture of chi-squares whose weights are the probabilities that the
projection lies on a face of each dimension.

Self SG, Liang K-Y (1987) Asymptotic properties of maximum likelihood estimators and likelihood
ratio tests under nonstandard conditions. JASA 82, 605-610.
Stram DO, Lee JW (1994) Variance components testing in the longitudinal mixed effects model.
Biometrics 50, 1171-1177.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

_ANGLES = 512  # points of the periodic trapezoid rule


def chi2_sf(x: ArrayLike, df: ArrayLike) -> np.ndarray:
    """Upper tail of chi-square; 0 degrees of freedom are a point mass at 0.

    Examples
    --------
    >>> chi2_sf([0.0, 1.0, 3.841458820694124], [0, 0, 1]).round(6)
    array([1.  , 0.  , 0.05])
    """
    from scipy.special import chdtrc, erfc

    x, df = np.broadcast_arrays(np.asarray(x, float), np.asarray(df, float))
    if np.all(df == 1):  # the common case, ten times faster
        return erfc(np.sqrt(np.maximum(x, 0.0) / 2.0))
    point_mass = np.where(np.isnan(x), np.nan, (x <= 0).astype(float))
    return np.where(df == 0, point_mass, chdtrc(np.where(df == 0, 1.0, df), np.maximum(x, 0.0)))


@dataclass(frozen=True)
class ChiBarSquare:
    """Mixtures of chi-squares, one per response.

    Attributes
    ----------
    weights : ndarray, shape (m, k + 1) or (1, k + 1)
        Weight of each component; rows sum to one.
    first_df : ndarray of int, shape (m,) or (1,)
        Degrees of freedom of the first component; the others follow one by one.
    exact : bool
        False if this is an upper bound of the distribution, so that p-values are conservative.

    Examples
    --------
    >>> null = ChiBarSquare(np.array([[0.5, 0.5]]), np.array([0]))
    >>> null.sf([0.0, 2.705543454095404]).round(6), null.text(1)
    (array([1.  , 0.05]), ['0.5 chisq(0) + 0.5 chisq(1)'])
    """

    weights: np.ndarray
    first_df: np.ndarray
    exact: bool = True

    def sf(self, x: ArrayLike) -> np.ndarray:
        """Upper tail probabilities, (m,)."""
        x = np.asarray(x, dtype=float)
        tails = [chi2_sf(x, self.first_df + j) for j in range(self.weights.shape[1])]
        return np.einsum("mj,jm->m", np.broadcast_to(self.weights, (len(x), len(tails))), tails)

    def text(self, count: int) -> list[str]:
        """Each mixture in words, for `count` responses."""
        if len(self.weights) == 1 and np.all(self.first_df == self.first_df[:1]) and count:
            return [self._describe(int(self.first_df[0]), self.weights[0].round(3))] * count
        key = np.column_stack([
            np.broadcast_to(self.first_df[:, None], (count, 1)),
            np.broadcast_to(self.weights.round(3), (count, self.weights.shape[1])),
        ])  # fmt: skip
        distinct, where = np.unique(key, axis=0, return_inverse=True)
        told = np.array([self._describe(int(row[0]), row[1:]) for row in distinct], dtype=object)
        return told[where.reshape(-1)].tolist() if count else []

    def _describe(self, first: int, weights: np.ndarray) -> str:
        parts = [
            f"chisq({first + j})" if w == 1 else f"{w:g} chisq({first + j})"
            for j, w in enumerate(weights)
            if w > 0
        ]
        return ("" if self.exact else "at most ") + " + ".join(parts)


def cone_weights(information: np.ndarray | None, sizes: Sequence[int]) -> np.ndarray | None:
    """Weights of the chi-bar-square of covariance blocks that are zero under the null.

    Parameters
    ----------
    information : ndarray, shape (m, d, d), or None
        Information of the d entries of the blocks (lower triangles by column), all other
        parameters profiled out. Not needed for a single variance.
    sizes : sequence of int
        Rows of each block; a block is positive semidefinite, so a 1 is a variance.

    Returns
    -------
    ndarray, shape (m or 1, d + 1), or None
        Weights of 0 to d degrees of freedom; exact for one to three variances and for a single
        2 x 2 block. Other cones have no closed form: None, see :func:`bound_weights`.
    """
    sizes = tuple(sizes)
    if not sizes:
        return np.ones((1, 1))
    if sizes == (1,):
        return np.array([[0.5, 0.5]])
    if not has_closed_form(sizes):
        return None
    if information is None:
        raise ValueError("weights of this cone depend on the information")
    return psd2_weights(information) if sizes == (2,) else orthant_weights(information)


def has_closed_form(sizes: Sequence[int]) -> bool:
    """Whether :func:`cone_weights` gives exact weights."""
    return tuple(sizes) in ((), (1,), (1, 1), (1, 1, 1), (2,))


def bound_weights(dimension: int) -> np.ndarray:
    """The stochastically largest chi-bar-square of any d-dimensional cone, (1, d + 1).

    Unless the cone is a linear space, its even and its odd weights each sum to 1/2
    (Gauss-Bonnet), so no mixture exceeds half chisq(d - 1), half chisq(d).
    """
    weights = np.zeros((1, dimension + 1))
    weights[0, -2:] = 0.5
    return weights


def orthant_weights(information: np.ndarray) -> np.ndarray:
    """Weights for two or three variances that are zero under the null, (m, d + 1).

    The unconstrained estimates have the inverse of the information as covariance. All d are
    positive with the probability of an orthant, which for d <= 3 follows from the angles
    between its faces; none remains with that of the polar orthant.

    Examples
    --------
    >>> orthant_weights(np.eye(2)[None])
    array([[0.25, 0.5 , 0.25]])
    """
    d = information.shape[-1]
    if d not in (2, 3):
        raise ValueError(f"weights are known for 2 or 3 variances, not for {d}")
    all_positive = _orthant_probability(np.linalg.inv(information))
    none_positive = _orthant_probability(information)
    if d == 2:
        half = np.full_like(all_positive, 0.5)
        return np.stack([none_positive, half, all_positive], axis=-1)
    return np.stack([none_positive, 0.5 - all_positive, 0.5 - none_positive, all_positive], axis=-1)


def _orthant_probability(covariance: np.ndarray) -> np.ndarray:
    """That all of 2 or 3 normal variables of mean 0 are positive."""
    d = covariance.shape[-1]
    sd = np.sqrt(np.diagonal(covariance, axis1=-2, axis2=-1))
    correlation = np.clip(covariance / (sd[..., :, None] * sd[..., None, :]), -1.0, 1.0)
    angles = np.arcsin(correlation[..., *np.tril_indices(d, -1)]).sum(axis=-1)
    # clipped: rounding may leave a probability of 0 a little below it
    return np.clip(0.5**d + angles / (2 ** (d - 1) * np.pi), 0.0, 0.5)


def psd2_weights(information: np.ndarray) -> np.ndarray:
    """Weights for one 2 x 2 covariance matrix that is zero under the null, (m, 4).

    Positive semidefinite 2 x 2 matrices (a, c, b) with a b >= c^2 form an elliptic cone. In
    units of the information it and its polar have solid angles that are single integrals
    over the angle around the axis; the remaining weights follow from Gauss-Bonnet.

    Examples
    --------
    >>> psd2_weights(np.diag([1.0, 2.0, 1.0])[None]).round(4)
    array([[0.1464, 0.3536, 0.3536, 0.1464]])
    """
    form = np.array([[0.0, 0.0, 0.5], [0.0, -1.0, 0.0], [0.5, 0.0, 0.0]])
    back = np.linalg.inv(np.linalg.cholesky(information))
    values = np.linalg.eigvalsh(back @ form @ np.swapaxes(back, -1, -2))
    # ascending: two negative, one positive; squared half-axes at height one
    squared_axes = values[..., 2:] / -values[..., :2]
    inside = _elliptic_cone(squared_axes)
    polar = _elliptic_cone(1.0 / squared_axes)
    return np.stack([polar, 0.5 - inside, 0.5 - polar, inside], axis=-1)


def _elliptic_cone(squared_axes: np.ndarray) -> np.ndarray:
    """Fraction of the sphere within x^2 / a^2 + y^2 / b^2 <= z^2, z > 0."""
    angle = 2.0 * np.pi * np.arange(_ANGLES) / _ANGLES
    slope = np.cos(angle) ** 2 / squared_axes[..., :1] + np.sin(angle) ** 2 / squared_axes[..., 1:]
    return 0.5 * np.mean(1.0 - np.sqrt(slope / (1.0 + slope)), axis=-1)
