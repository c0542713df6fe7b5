"""Lists of names in messages: duplicates, the first few of many, close matches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

import pandas as pd

from lmmjax.errors import LmmError, TableError

_SHOWN = 5


def listing(names: Iterable[object], shown: int = _SHOWN) -> str:
    """The first few names, and how many there are if not all are shown.

    >>> listing(["a", "b", 3], shown=2)
    "'a', 'b', ... (3 in all)"
    """
    names = list(names)
    text = ", ".join(
        repr(getattr(name, "item", lambda name=name: name)()) for name in names[:shown]
    )
    return text if len(names) <= shown else f"{text}, ... ({len(names)} in all)"


def duplicated_names(names: Sequence[object] | pd.Index) -> list[object]:
    """Names that occur more than once, each once, in order of appearance."""
    index = names if isinstance(names, pd.Index) else pd.Index(list(names), dtype=object)
    if index.is_unique:
        return []
    return list(index[index.duplicated()].unique())


def unknown_name(what: str, name: str, known: Sequence[str]) -> LmmError:
    """An error for a name that is not among `known`, with close matches."""
    close = get_close_matches(name, list(map(str, known)), n=3)
    hint = f"there are {listing(known)}" if known else "there is none"
    if close:
        hint = f"did you mean {listing(close)}?"
    return TableError(f"{what} {name!r} does not exist; {hint}")
