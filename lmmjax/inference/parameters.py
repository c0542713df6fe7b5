"""Standard deviations, correlations, sigma and coefficients as one list of parameters.

The names are those of lme4's ``profile`` and ``confint`` with ``oldNames = FALSE``:
``sd_Days|Subject``, ``cor_Days.(Intercept)|Subject``, ``sigma``, then the coefficients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from lmmjax.structure import triangle

if TYPE_CHECKING:
    from lmmjax.design import Design
    from lmmjax.results import FitBatch


@dataclass(frozen=True)
class Component:
    """A standard deviation (``row == column``) or a correlation of one term.

    ``part`` is the term's slice of theta (the design's order), ``q`` its columns.
    """

    name: str
    part: slice
    q: int
    row: int
    column: int

    def rows(self, theta: np.ndarray) -> np.ndarray:
        """Lambda of the term, (q, q)."""
        out = np.zeros((self.q, self.q), dtype=theta.dtype)
        for value, (i, j) in zip(theta[self.part], triangle(self.q), strict=True):
            out[i, j] = value
        return out

    def value(self, theta: np.ndarray, sigma: float) -> float:
        """The parameter at (theta, sigma); NaN for a correlation with a zero variance."""
        lam = self.rows(theta)
        a, b = lam[self.row], lam[self.column]
        if self.row == self.column:
            return float(sigma * _length(a))
        size = _length(a) * _length(b)
        return float(a @ b / size) if size > 0 else np.nan

    def held(self, theta: np.ndarray, sigma: float, value: float) -> np.ndarray:
        """theta moved to where the parameter has a value: its row of Lambda is changed.

        A standard deviation changes the length of the row, a correlation its angle with the
        other row.  Analytic in theta and sigma, also for complex arguments.
        """
        lam = self.rows(theta)
        row = lam[self.row]
        if self.row == self.column:
            lam[self.row] = row / _length(row) * (value / sigma)
        else:
            along = lam[self.column] / _length(lam[self.column])
            across = row - (row @ along) * along
            turned = value * along + np.sqrt(1.0 - value**2) * across / _length(across)
            lam[self.row] = _length(row) * turned
        out = theta.copy()
        out[self.part] = [lam[i, j] for i, j in triangle(self.q)]
        return out


def _length(row: np.ndarray):
    return np.sqrt(np.sum(row * row))


def components(design: Design) -> list[Component]:
    """Standard deviations and correlations of all terms, in the order of theta."""
    out, start = [], 0
    for term in design.terms:
        q = term.n_columns
        part = slice(start, start + q * (q + 1) // 2)
        for i, j in triangle(q):
            name = f"sd_{term.columns[i]}|{term.group}"
            if i != j:
                name = f"cor_{term.columns[i]}.{term.columns[j]}|{term.group}"
            out.append(Component(name, part, q, i, j))
        start = part.stop
    return out


def parameter_names(design: Design) -> list[str]:
    """Names of all parameters: components, ``sigma``, estimated coefficients."""
    kept = [str(n) for n, k in zip(design.fixed_names, design.fixed_kept, strict=True) if k]
    return [*(c.name for c in components(design)), "sigma", *kept]


def parameter_table(fits: FitBatch) -> pd.DataFrame:
    """All parameters of all fits: (responses, parameters)."""
    columns = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for term, cov in zip(
            fits.model.design.terms, fits.term_covariances(relative=True), strict=True
        ):
            sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
            for i, j in triangle(term.n_columns):
                if i == j:
                    columns.append(sd[:, i] * fits._sigma)
                else:
                    columns.append(cov[:, i, j] / (sd[:, i] * sd[:, j]))
    values = np.column_stack([*columns, fits._sigma, fits._beta])
    return pd.DataFrame(values, index=fits.responses, columns=parameter_names(fits.model.design))
