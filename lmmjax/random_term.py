"""One random-effects term of a design."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from lmmjax.formula import Bar


@dataclass(frozen=True)
class RandomTerm:
    """One random-effects term.

    Attributes
    ----------
    group : str
        Name of the grouping factor, as lme4 prints it.
    lhs : str
        Left of the bar, as written.
    columns : tuple of str
        Names of the q effects: ``("(Intercept)", "Days")``.
    levels : tuple of str
        Labels of the groups in use, in the order of R's factor levels.
    codes : ndarray of int32, shape (n,)
        Group of each observation, an index into `levels`.
    z : ndarray, shape (n, q)
        Model matrix of the left-hand side.
    bar : Bar
        The term as parsed.
    root : ndarray, shape (n_levels, n_levels), or None
        L of a known covariance L L' of the levels; None where they are independent.
    """

    group: str
    lhs: str
    columns: tuple[str, ...]
    levels: tuple[str, ...]
    codes: np.ndarray = field(repr=False)
    z: np.ndarray = field(repr=False)
    bar: Bar = field(repr=False)
    root: np.ndarray | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """``"Days | Subject"``."""
        return f"{self.lhs} | {self.group}"

    @property
    def name(self) -> str:
        """Name in a variance partition: the grouping factor."""
        return self.group

    @property
    def n_levels(self) -> int:
        """Number of groups."""
        return len(self.levels)

    @property
    def n_columns(self) -> int:
        """Number q of effects per group."""
        return len(self.columns)

    @property
    def relationship(self) -> pd.DataFrame | None:
        """The known covariance of the levels, by label."""
        if self.root is None:
            return None
        return pd.DataFrame(self.root @ self.root.T, list(self.levels), list(self.levels))
