"""What became of a response."""

from __future__ import annotations

from enum import StrEnum

import numpy as np


class Status(StrEnum):
    """Outcome of the fit of one response; ``meaning`` says it in a sentence."""

    CONVERGED = "converged"
    NOT_CONVERGED = "not_converged"
    ZERO_RESIDUAL = "zero_residual"
    CONSTANT_RESPONSE = "constant_response"
    MISSING = "missing"
    NONFINITE = "nonfinite"
    TOO_FEW_OBSERVATIONS = "too_few_observations"
    UNIDENTIFIABLE = "unidentifiable"
    OVERFLOW = "overflow"

    @property
    def code(self) -> int:
        """Position in the enumeration; arrays of statuses hold these."""
        return STATUSES.index(self)

    @property
    def meaning(self) -> str:
        return _MEANING[self]

    @property
    def has_estimates(self) -> bool:
        """Whether numbers are reported (converged or not) rather than NaN."""
        return self in (Status.CONVERGED, Status.NOT_CONVERGED)


_MEANING = {
    Status.CONVERGED: "Gradient and Hessian show a minimum of the deviance.",
    Status.NOT_CONVERGED: "The iteration limit came before a minimum was reached.",
    Status.ZERO_RESIDUAL: (
        "Fixed and random effects reproduce the response exactly: the residual variance is zero."
    ),
    Status.CONSTANT_RESPONSE: "All observed values are equal.",
    Status.MISSING: "No value is observed, or none has a weight above zero.",
    Status.NONFINITE: "An observed value is infinite.",
    Status.TOO_FEW_OBSERVATIONS: (
        "The observed values are no more than the fixed effects, or than the levels of a grouping"
        " factor, need."
    ),
    Status.UNIDENTIFIABLE: "Among the observed values a grouping factor has a single level.",
    Status.OVERFLOW: "Estimates exceed the range of double precision.",
}

STATUSES = tuple(Status)
#: has_estimates by code
USABLE = np.array([status.has_estimates for status in STATUSES])


def names_of(codes: np.ndarray) -> np.ndarray:
    """Text of each code, as an array of objects."""
    return np.array([status.value for status in STATUSES], dtype=object)[codes]
