"""Which axis of a table carries the sample names, and in which order."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lmmjax.errors import AlignmentError, DuplicateSamplesError, EmptyDataError
from lmmjax.expression.names import duplicated_names, listing


def sample_axis(frame: pd.DataFrame, names: pd.Index, what: str) -> int:
    """The axis (0 or 1) that carries the sample names; an error if neither or both do."""
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
    shared = [len(wanted.intersection(labels)) for labels in frame.axes]
    if all(shared):
        raise AlignmentError(
            f"both the rows and the columns of {what} carry sample names "
            f"({listing(names[names.isin(frame.axes[0])])}); rename one axis or pass an array"
        )
    if any(shared):
        return 0 if shared[0] else 1
    if 0 in frame.shape:
        raise EmptyDataError(f"{what} is empty, {frame.shape[0]} x {frame.shape[1]}")
    raise AlignmentError(
        f"neither the rows ({listing(frame.index[:2])}, ...) nor the columns "
        f"({listing(frame.columns[:2])}, ...) of {what} carry the sample names "
        f"({listing(names[:2])}, ...){_dtype_hint(frame, names)}"
    )


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
        raise AlignmentError("; ".join(problems) + "; both have to hold the same samples")
    return order
