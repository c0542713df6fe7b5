"""Which axis of a table carries the sample names, and in which order."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmjax.errors import AlignmentError, DuplicateSamplesError, EmptyDataError
from lmmjax.expression.names import duplicated_names, listing


def sample_axis(frame: pd.DataFrame, names: pd.Index, what: str, axis: int | None = None) -> int:
    """The axis (0 or 1) that carries the sample names.

    An error if neither or both do, or if it is not the `axis` that is said to.
    """
    if axis is not None:
        _check_said_axis(frame, names, what, axis)
        return axis
    # A whole match is told from one in passing (row numbers, say, that are also sample names), and
    # spares a look at the long axis, whose labels are slow to go through.
    wanted = set(names)
    whole = [
        axis
        for axis, labels in enumerate(frame.axes)
        if len(labels) == len(names) and (labels.equals(names) or set(labels) == wanted)
    ]
    if len(whole) == 1:
        return whole[0]
    # No axis holds just the samples, so something is wrong with the one that is closest to it.
    agreement = [_agreement(labels, names) for labels in frame.axes]
    if agreement[0] == agreement[1] > 0:
        raise AlignmentError(
            f"both the rows and the columns of {what} carry sample names "
            f"({listing(names[names.isin(frame.axes[0])])}); rename one axis, or say which one has "
            "the samples (samples_in=, --genes-in)"
        )
    if any(agreement):
        return 0 if agreement[0] > agreement[1] else 1
    if 0 in frame.shape:
        raise EmptyDataError(f"{what} is empty, {frame.shape[0]} x {frame.shape[1]}")
    raise AlignmentError(
        f"neither the rows ({listing(frame.index[:2])}, ...) nor the columns "
        f"({listing(frame.columns[:2])}, ...) of {what} carry the sample names "
        f"({listing(names[:2])}, ...){_dtype_hint(frame, names)}"
    )


def _check_said_axis(frame: pd.DataFrame, names: pd.Index, what: str, axis: int) -> None:
    if frame.axes[axis].equals(names):
        return
    agreement = [_agreement(labels, names) for labels in frame.axes]
    if agreement[1 - axis] > agreement[axis]:
        said, found = ("rows", "columns")[axis], ("rows", "columns")[1 - axis]
        raise AlignmentError(
            f"the {found} of {what} carry the sample names, not the {said} "
            f"({listing(frame.axes[axis][:2])}, ...); correct samples_in= (--genes-in)"
        )


def _agreement(labels: pd.Index, names: pd.Index) -> float:
    """Shared names among all names, 0 to 1; leading zeros do not count."""
    own, wanted = set(map(_bare, labels)), set(map(_bare, names))
    return len(own & wanted) / max(1, len(own | wanted))


def _bare(name: object) -> object:
    """A name of digits without its leading zeros, which spreadsheets remove."""
    return name.lstrip("0") or "0" if isinstance(name, str) and name.isdigit() else name


def _dtype_hint(frame: pd.DataFrame, names: pd.Index) -> str:
    as_text = names.map(str)
    if any(as_text.isin(axis.map(str)).any() for axis in frame.axes):
        return "; some agree as text: convert both to str"
    return "; the index of the sample table has to hold the sample names"


def sample_order(found: pd.Index, names: pd.Index, what: str) -> np.ndarray:
    """Positions in `found` of the sample names; an error unless they are the same set."""
    if found is names or found.equals(names):
        if names.is_unique:
            return np.arange(len(names))
    for index, where in ((names, "the sample table"), (found, what)):
        if duplicates := duplicated_names(index):
            raise DuplicateSamplesError(
                f"sample names occur more than once in {where}: {listing(duplicates)}; "
                "give every sample one name"
            )
    order = found.get_indexer(names)
    absent = names[order < 0]
    surplus = found[~found.isin(names)]
    problems = []
    if len(absent):
        problems.append(f"samples of the sample table that are not in {what}: {listing(absent)}")
    if len(surplus):
        problems.append(f"samples in {what} that are not in the sample table: {listing(surplus)}")
    if problems:
        remedy = _zeros_hint(absent, surplus, what) or "both have to hold the same samples"
        raise AlignmentError("; ".join([*problems, remedy]))
    return order


def _zeros_hint(absent: pd.Index, surplus: pd.Index, what: str) -> str | None:
    """What to say if names would agree but for leading zeros."""
    bare = {_bare(name): name for name in surplus}
    for name in absent:
        if _bare(name) in bare:
            return (
                f"leading zeros look lost ({name!r} in the sample table, {bare[_bare(name)]!r} in "
                f"{what}): write the names alike in both"
            )
    return None
