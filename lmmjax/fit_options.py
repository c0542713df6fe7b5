"""Arguments of a fit that steer the numerics, checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self, get_args

import numpy as np

from .errors import LmmError, NonFiniteError, ShapeError

Path = Literal["auto", "compressed", "blocked", "sparse", "spectral", "weighted"]
Missing = Literal["fit", "raise"]


@dataclass(frozen=True)
class FitOptions:
    """Arguments of :meth:`lmmjax.model.Model.fit` that steer the numerics."""

    reml: bool
    path: Path
    progress: bool | None
    n_starts: int | None
    chunk_size: int | None
    start: np.ndarray | None
    memory: float | None
    na: Missing

    @classmethod
    def checked(
        cls,
        theta_names: Sequence[str],
        *,
        reml: Any,
        path: Any,
        progress: bool | None,
        n_starts: Any,
        chunk_size: Any,
        start: Any,
        memory: Any,
        na: Any,
    ) -> Self:
        """The options, if they are what they have to be.

        Raises
        ------
        LmmError
            An argument is none of its choices.
        ShapeError, NonFiniteError
            ``start`` is no theta of the model.
        """
        for name, value, choices in (
            ("path", path, get_args(Path)),
            ("na", na, get_args(Missing)),
        ):
            if value not in choices:
                raise LmmError(f"{name} is one of {', '.join(map(repr, choices))}, not {value!r}")
        for name, value in (("n_starts", n_starts), ("chunk_size", chunk_size)):
            if value is None:
                continue
            if not isinstance(value, int | np.integer) or value < 1:
                raise LmmError(f"{name} is a whole number from 1, or None, not {value!r}")
        if memory is not None and not memory > 0:
            raise LmmError(f"memory is a number of bytes, or None, not {memory!r}")
        return cls(
            reml=check_reml(reml),
            path=path,
            progress=progress,
            n_starts=n_starts,
            chunk_size=chunk_size,
            start=_check_start(start, theta_names),
            memory=memory,
            na=na,
        )


def check_reml(reml: Any) -> bool:
    """``reml`` as a bool, if it is one: a string would pass for true."""
    if not isinstance(reml, bool | np.bool_):
        raise LmmError(f"reml is True (REML) or False (ML), not {reml!r}")
    return bool(reml)


def _check_start(start: Any, theta_names: Sequence[str]) -> np.ndarray | None:
    if start is None:
        return None
    theta = np.atleast_1d(np.asarray(start, dtype=float))
    if theta.shape != (len(theta_names),):
        raise ShapeError(
            f"start has shape {theta.shape}; theta has {len(theta_names)} entries: "
            f"{', '.join(theta_names) or 'none'}"
        )
    if not np.isfinite(theta).all():
        raise NonFiniteError(f"start has an entry that is not finite: {theta.tolist()}")
    return theta
