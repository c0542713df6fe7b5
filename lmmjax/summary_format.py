"""Numbers and names as R prints them: for the layout of :func:`lmmjax.summary.summary`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def significant(values: Sequence[float] | np.ndarray, digits: int) -> list[str]:
    """Numbers of one column with a common number of decimals, right-aligned.

    Every number shows at least ``digits`` significant digits, trailing zeros that no number
    needs are left off, and scientific notation is used where it is shorter: R's ``format``.

    Examples
    --------
    >>> significant([612.0899, 35.07166, 654.941], 4)
    ['612.09', ' 35.07', '654.94']
    """
    numbers = np.asarray(values, dtype=float)
    finite = numbers[np.isfinite(numbers)]
    parts = [_decompose(abs(x), digits) for x in finite]
    decimals = max((max(0, sig - power - 1) for power, sig in parts), default=0)
    whole = max((max(1, power + 1) for power, _ in parts), default=1)
    fixed_width = whole + (decimals + 1 if decimals else 0)
    mantissa = max((sig for _, sig in parts), default=1) - 1
    exponent = 3 if any(abs(power) >= 100 for power, _ in parts) else 2
    scientific_width = 1 + (mantissa + 1 if mantissa else 0) + 2 + exponent
    kind = f".{decimals}f" if fixed_width <= scientific_width else f".{mantissa}e"
    text = [format(x, kind) if np.isfinite(x) else _not_finite(x) for x in numbers]
    return align(text)


def align(text: Sequence[str]) -> list[str]:
    """Pad to a common width, right-aligned."""
    width = max(map(len, text), default=0)
    return [item.rjust(width) for item in text]


def _not_finite(x: float) -> str:
    return "NA" if np.isnan(x) else ("Inf" if x > 0 else "-Inf")


def _decompose(x: float, digits: int) -> tuple[int, int]:
    """Power of ten and significant digits (without trailing zeros) of x >= 0."""
    if x == 0:
        return 0, 1
    mantissa, power = format(x, f".{digits - 1}e").split("e")
    return int(power), max(1, len(mantissa.replace(".", "").rstrip("0")))


def abbreviate(names: Sequence[str], length: int) -> list[str]:
    """Shorten names as R does: spaces, lower-case vowels, lower-case letters, then the rest go.

    Characters go from the end, never the first one; names that would become equal stay longer.

    Examples
    --------
    >>> abbreviate(["(Intercept)", "Days"], 6)
    ['(Intr)', 'Days']
    """
    short = [_shorten(name, length) for name in names]
    wanted = length
    while len(set(short)) < len(set(names)) and wanted < max(map(len, names)):
        wanted += 1
        twice = {s for s in short if short.count(s) > 1}
        short = [
            _shorten(name, wanted) if s in twice else s
            for name, s in zip(names, short, strict=True)
        ]
    return short


def _shorten(name: str, length: int) -> str:
    kept = list(name.strip())
    for droppable in (
        str.isspace,
        lambda c: c in "aeiou",
        str.islower,
        lambda c: True,
    ):
        for position in range(len(kept) - 1, 0, -1):
            if len(kept) <= length:
                return "".join(kept)
            if droppable(kept[position]):
                del kept[position]
    return "".join(kept)


def table(
    rows: Sequence[Sequence[str]], header: Sequence[str], left: int = 1, gap: int = 1
) -> list[str]:
    """Lines of a table whose first ``left`` columns are left-aligned, the others right."""
    columns = [list(column) for column in zip(header, *rows, strict=True)]
    lines = []
    padded = []
    for k, column in enumerate(columns):
        width = max(map(len, column))
        padded.append([c.ljust(width) if k < left else c.rjust(width) for c in column])
    for line in zip(*padded, strict=True):
        lines.append((" " * gap).join(line))
    return lines
