"""Errors and warnings of lmmjax.

Every error is a :class:`LmmError` (a ``ValueError``), so one ``except`` catches bad input
of any kind; every warning is a :class:`LmmWarning` and points at the caller's line.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

_PACKAGE = str(Path(__file__).parent) + os.sep


class LmmError(ValueError):
    """Bad input to lmmjax; the message names the offending thing and the remedy."""


class FormulaError(LmmError):
    """The formula does not parse, names an unknown column, or asks for something not allowed."""


class DesignError(LmmError):
    """Formula and sample table together do not identify the model."""


class AlignmentError(LmmError):
    """Names of samples or responses do not match between tables."""


class DuplicateSamplesError(AlignmentError, DesignError):
    """Sample names that occur more than once in a table."""


class TableError(LmmError):
    """A file that cannot be read as a table, or a part of it that does not exist."""


class OutputError(LmmError):
    """Results that cannot be written, or would overwrite others."""


class ShapeError(LmmError):
    """Arrays whose lengths do not fit together."""


class EmptyDataError(LmmError):
    """No observations are left to fit."""


class DTypeError(LmmError):
    """A value that has to be a number is not."""


class NonFiniteError(LmmError):
    """An infinite value where a finite one is needed."""


class MissingValueError(NonFiniteError):
    """A missing value where ``na="raise"`` asks for none."""


class WeightError(LmmError):
    """Negative or missing weights."""


class ResponseError(LmmError):
    """A single response that cannot be fitted (constant, all missing, ...)."""


class UnknownResponseError(LmmError, KeyError):
    """A name that is not among the responses."""

    __str__ = Exception.__str__  # KeyError would print the message in quotes


class UnseenLevelError(LmmError):
    """New data hold a level of a grouping factor that the fit has not seen."""


class NestingError(LmmError):
    """Models that cannot be compared: neither is a special case of the other."""


class LmmWarning(UserWarning):
    """Base class of all warnings of lmmjax."""


class RankWarning(LmmWarning):
    """Columns of the fixed-effects model matrix were dropped as linearly dependent."""


class DroppedRowsWarning(LmmWarning):
    """Observations were dropped because a covariate or group label is missing."""


class CodingWarning(LmmWarning):
    """A column is probably coded differently from what the formula makes of it."""


class FitWarning(LmmWarning):
    """Some responses could not be fitted or did not converge."""


class RefitWarning(LmmWarning):
    """REML fits were refitted by maximum likelihood before they were compared."""


def warn(message: str, category: type[LmmWarning]) -> None:
    """Warn about the line that called lmmjax, however deep in it this is noticed."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
