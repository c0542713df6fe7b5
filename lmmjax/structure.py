"""The shape of a model: which grouping factor is eliminated, how theta is laid out.

Random-effects terms that share the largest grouping factor are *eliminated*: given their
covariance, their block of the mixed-model equations is block diagonal and is solved in
closed form (Bates' blocked Cholesky).  The columns of all other terms stay *dense*.
A :class:`Layout` holds only integers, so it is hashable and serves as the static argument
of every compiled function: two models of equal layout share one compilation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

#: Dense random-effects columns from which on a response's system goes to the matrix routines.
MANY_COLUMNS = 256
#: Responses up to which the size of the program counts, not its speed.
FEW_RESPONSES = 8


def triangle(q: int) -> list[tuple[int, int]]:
    """Column-major lower triangle of a q x q matrix, the order of theta within a term."""
    return [(row, col) for col in range(q) for row in range(col, q)]


@dataclass(frozen=True)
class Layout:
    """Integer description of a model, in the order the engine uses.

    Attributes
    ----------
    p
        Columns of the (full rank) fixed-effects model matrix.
    eliminated
        Columns q of each term on the eliminated grouping factor; ``()`` without random terms.
    dense
        ``(q, levels)`` of every other term.
    """

    p: int
    eliminated: tuple[int, ...]
    dense: tuple[tuple[int, int], ...]

    @property
    def q(self) -> int:
        """Columns per level of the eliminated grouping factor."""
        return sum(self.eliminated)

    @property
    def n_dense(self) -> int:
        """Dense random-effects columns."""
        return sum(q * levels for q, levels in self.dense)

    @property
    def m(self) -> int:
        """Columns of the reduced system: dense random effects, then fixed effects."""
        return self.n_dense + self.p

    @cached_property
    def term_sizes(self) -> tuple[int, ...]:
        """q of every term, engine order."""
        return self.eliminated + tuple(q for q, _ in self.dense)

    @cached_property
    def n_theta(self) -> int:
        return sum(q * (q + 1) // 2 for q in self.term_sizes)

    @cached_property
    def theta_slices(self) -> tuple[slice, ...]:
        """Part of theta that belongs to each term, engine order."""
        ends = np.cumsum([q * (q + 1) // 2 for q in self.term_sizes])
        return tuple(
            slice(int(end) - q * (q + 1) // 2, int(end))
            for end, q in zip(ends, self.term_sizes, strict=True)
        )

    @cached_property
    def is_diagonal(self) -> np.ndarray:
        """True for the entries of theta on the diagonal of Lambda."""
        return np.array([i == j for q in self.term_sizes for i, j in triangle(q)], dtype=bool)

    @cached_property
    def is_scalar(self) -> np.ndarray:
        """True for the entries of theta that belong to a scalar term."""
        return np.array([q == 1 for q in self.term_sizes for _ in triangle(q)], dtype=bool)

    @cached_property
    def eliminated_pairs(self) -> tuple[tuple[int, int], ...]:
        """(row, column) in the q x q eliminated covariance of each of its parameters."""
        pairs: list[tuple[int, int]] = []
        start = 0
        for q in self.eliminated:
            pairs += [(start + i, start + j) for i, j in triangle(q)]
            start += q
        return tuple(pairs)

    @cached_property
    def dense_columns(self) -> tuple[tuple[tuple[slice, slice], int], ...]:
        """For each dense covariance parameter: its two column sets (strided) and the term."""
        out = []
        start = 0
        for term, (q, levels) in enumerate(self.dense):
            stop = start + q * levels
            for i, j in triangle(q):
                out.append(((slice(start + i, stop, q), slice(start + j, stop, q)), term))
            start = stop
        return tuple(out)

    @cached_property
    def absorb_steps(self) -> tuple[np.ndarray, np.ndarray]:
        """Columns of the dense Lambda, one absorption each.

        Returns ``(rows, entries)``, both (n_dense, q_max): the rows in which the column of
        Lambda is not zero and the entry of theta that stands there; ``n_theta`` (a zero
        appended to theta) pads shorter columns.
        """
        q_max = max((q for q, _ in self.dense), default=1)
        rows = np.zeros((self.n_dense, q_max), dtype=np.int32)
        entries = np.full((self.n_dense, q_max), self.n_theta, dtype=np.int32)
        step = start = 0
        offset = sum(q * (q + 1) // 2 for q in self.eliminated)
        for q, levels in self.dense:
            index = {pair: offset + k for k, pair in enumerate(triangle(q))}
            for level in range(levels):
                for col in range(q):
                    for slot, row in enumerate(range(col, q)):
                        rows[step, slot] = start + level * q + row
                        entries[step, slot] = index[row, col]
                    step += 1
            start += q * levels
            offset += len(index)
        return rows, entries


def choose_eliminated(
    groups: Sequence[str], n_levels: Sequence[int], related: Sequence[bool]
) -> list[int]:
    """Terms on the grouping factor with most levels: they are eliminated in closed form.

    Only independent levels can be, not ``related`` ones.
    """
    size = [0 if tied else levels for levels, tied in zip(n_levels, related, strict=True)]
    if not any(size):
        return []
    largest = groups[int(np.argmax(size))]
    return [k for k, group in enumerate(groups) if group == largest]


#: Columns of Lambda smaller than this (in units of the residual standard deviation) are zero.
ZERO_COLUMN = 1e-7


def canonical_theta(layout: Layout, theta: np.ndarray) -> np.ndarray:
    """Columns of Lambda flipped to a positive diagonal, negligible ones set to exactly zero.

    ``theta`` is (k, G) in engine order and units.
    """
    out = theta.copy()
    for q, part in zip(layout.term_sizes, layout.theta_slices, strict=True):
        start = part.start
        for column in range(q):
            block = out[start : start + q - column]
            block *= np.where(block[0] < 0, -1.0, 1.0)
            block[:, np.abs(block).max(axis=0) < ZERO_COLUMN] = 0.0
            start += q - column
    return out
