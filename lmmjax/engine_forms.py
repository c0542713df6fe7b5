"""A design as the engine needs it: terms in its order, arrays prepared once and shared by fits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from .design import Design
from .prepare import Prepared, prepare, rotate_to_spectrum
from .sparse import prepare_sparse, worth_it
from .structure import Layout, choose_eliminated, triangle
from .weighted import WeightedArrays, prepare_weighted

#: Most classes of levels (distinct within-level cross-products) that are summed beforehand.
MAX_CLASSES = 64


@dataclass(frozen=True)
class TermOrder:
    """Between the design's order of terms (public) and the engine's."""

    engine_terms: tuple[int, ...]
    theta: np.ndarray  # engine entry k is public entry theta[k]

    @classmethod
    def of(cls, design: Design) -> tuple[Layout, TermOrder]:
        terms = design.terms
        first = choose_eliminated(
            [t.group for t in terms],
            [t.n_levels for t in terms],
            [t.root is not None for t in terms],
        )
        order = first + [k for k in range(len(terms)) if k not in first]
        layout = Layout(
            p=design.rank,
            eliminated=tuple(terms[k].n_columns for k in first),
            dense=tuple((terms[k].n_columns, terms[k].n_levels) for k in order[len(first) :]),
        )
        ends = np.cumsum([0, *(len(triangle(t.n_columns)) for t in terms)])
        theta = [np.arange(ends[k], ends[k + 1]) for k in order]
        return layout, cls(tuple(order), np.concatenate([*theta, np.zeros(0, int)]).astype(int))


class EngineForms:
    """Structure and prepared arrays of a design, each made when it is first needed.

    Attributes
    ----------
    design
        The design matrices and names, see :class:`lmmjax.design.Design`.
    layout
        The structure the compiled programs are specialised for.
    order
        Where the engine has the design's terms and entries of theta.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        self.layout, self.order = TermOrder.of(design)
        terms = [design.terms[k] for k in self.order.engine_terms]
        self._z = [term.z for term in terms]
        self._codes = [term.codes for term in terms]
        self._levels = [term.n_levels for term in terms]
        self._roots = [term.root for term in terms]

    @cached_property
    def prepared(self) -> Prepared:
        """Unweighted shared path."""
        return self._prepare(None)

    @cached_property
    def prepared_spectral(self) -> Prepared:
        """The same in the eigenvectors of the covariance of a single scalar term."""
        return self._prepare(None, spectral=True)

    @property
    def one_relationship(self) -> bool:
        """Whether the only random effect is a scalar one with a known covariance of its levels."""
        return self.layout.term_sizes == (1,) and self._roots[0] is not None

    @cached_property
    def many_columns(self) -> bool:
        """Whether the shared path keeps cross-products of the dense columns sparsely."""
        return worth_it(self.layout, self._codes, self._levels, self._roots)

    def _prepare(
        self,
        weights: np.ndarray | None,
        max_classes: int = MAX_CLASSES,
        spectral: bool = False,
        sparse: bool | None = None,
    ) -> Prepared:
        if sparse or (sparse is None and not spectral and self.many_columns):
            return prepare_sparse(
                self.layout, self.design.X, self._z, self._codes, self._levels, weights
            )
        make = partial(
            prepare,
            self.layout,
            self.design.X,
            self._z,
            self._codes,
            self._levels,
            max_classes=max_classes,
            roots=self._roots,
        )
        if not spectral:
            return make(weights=weights)
        return rotate_to_spectrum(
            self.design.X, self._z[0], self._codes[0], weights, max_classes, self._roots[0]
        )

    @cached_property
    def prepared_weighted(self) -> tuple[WeightedArrays, np.ndarray, tuple[np.ndarray, ...]]:
        """Per-response path."""
        return prepare_weighted(
            self.layout, self.design.X, self._z, self._codes, self._levels, self._roots
        )

    def theta_unit(self, z_scale: tuple[np.ndarray, ...]) -> np.ndarray:
        """Engine theta divided by user theta, entry by entry in engine order."""
        units = [
            scale[i]
            for scale, q in zip(z_scale, self.layout.term_sizes, strict=True)
            for i, _ in triangle(q)
        ]
        return np.array(units, dtype=float)

    @cached_property
    def level_size(self) -> np.ndarray:
        """Mean observations per level of each entry of theta, (k,)."""
        sizes = [
            self.design.n / levels
            for levels, q in zip(self._levels, self.layout.term_sizes, strict=True)
            for _ in triangle(q)
        ]
        return np.array(sizes, dtype=float)
