"""NIST's StRD data sets for one-way analysis of variance, with exact answers.

SmLs01-09 (Simon and Lesage 1989) follow a pattern and are generated here; AtmWtAg and SiRstv are
in ``data/nist``. The certified values are those of the decimal data; what a program can be held
to is the exact answer for the data *rounded to float64*, which rational arithmetic gives.

https://www.itl.nist.gov/div898/strd/anova/anova.html (public domain)
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

DIRECTORY = Path(__file__).parent / "data" / "nist"

# (sum of squares between, within), as certified by NIST for the decimal data
CERTIFIED = {
    "AtmWtAg": (3.63834187500000e-09, 1.04951729166667e-08),
    "SiRstv": (5.11462616000000e-02, 2.16636560000000e-01),
    **dict.fromkeys(("SmLs01", "SmLs04", "SmLs07"), (1.68, 1.80)),
    **dict.fromkeys(("SmLs02", "SmLs05", "SmLs08"), (16.08, 18.0)),
    **dict.fromkeys(("SmLs03", "SmLs06", "SmLs09"), (160.08, 180.0)),
}
NAMES = tuple(sorted(CERTIFIED))


@dataclass(frozen=True)
class OneWay:
    """Maximum-likelihood answer of ``y ~ 1 + (1|group)`` for balanced data."""

    group_variance: float
    residual_variance: float
    theta: float
    mean: float
    objective: float


def load(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Responses (n,) in float64 and group labels (n,) as text."""
    values, groups = decimals(name)
    return np.array([float(value) for value in values]), np.array(groups)


def decimals(name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Responses and groups as printed by NIST."""
    if name.startswith("SmLs"):
        return _simon_lesage(int(name[-2:]))
    rows = (DIRECTORY / f"{name}.csv").read_text(encoding="ascii").split()[1:]
    groups, values = zip(*(row.split(",") for row in rows), strict=True)
    return values, groups


def _simon_lesage(number: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    # Nine groups around 1.4, 1.3, 1.5, 1.3, 1.5, ...; in each, the centre, then -0.1 and +0.1 in
    # turn. Three sizes of group, and three lengths of the leading digits.
    offset = ("1", "1000000", "1000000000000")[(number - 1) // 3]
    half = (10, 100, 1000)[(number - 1) % 3]
    values: list[str] = []
    groups: list[str] = []
    for group in range(1, 10):
        centre = 4 if group == 1 else 3 if group % 2 == 0 else 5
        pair = [f"{offset}.{centre - 1}", f"{offset}.{centre + 1}"]
        values += [f"{offset}.{centre}", *pair * half]
        groups += [str(group)] * (2 * half + 1)
    return tuple(values), tuple(groups)


def sums_of_squares(
    values: list[Fraction], groups: list[str] | tuple[str, ...]
) -> tuple[Fraction, Fraction]:
    """Sums of squares between and within groups, exact."""
    members: dict[str, list[Fraction]] = {}
    for value, group in zip(values, groups, strict=True):
        members.setdefault(group, []).append(value)
    grand = sum(values, Fraction(0)) / len(values)
    between = within = Fraction(0)
    for group in members.values():
        mean = sum(group, Fraction(0)) / len(group)
        between += len(group) * (mean - grand) ** 2
        within += sum(((value - mean) ** 2 for value in group), Fraction(0))
    return between, within


@cache
def exact(name: str, reml: bool) -> OneWay:
    """The optimum for the float64 data, correct to the last digits."""
    y, groups = load(name)
    values = [Fraction(float(value)) for value in y]
    between, within = sums_of_squares(values, groups.tolist())
    n, n_groups = len(values), len(set(groups.tolist()))
    size = n // n_groups
    assert size * n_groups == n, "the closed form is for balanced data"

    residual = within / (n - n_groups)
    group_mean_square = between / (n_groups - 1 if reml else n_groups)
    if group_mean_square <= residual:  # on the boundary
        residual = group_mean_square = (between + within) / (n - 1 if reml else n)
    group_variance = (group_mean_square - residual) / size

    # -2 log L, eigenvalues of V: residual (n - n_groups times) and group_mean_square (n_groups)
    df = n - 1 if reml else n
    objective = (
        df * math.log(2 * math.pi)
        + (n - n_groups) * math.log(residual)
        + (n_groups - (1 if reml else 0)) * math.log(group_mean_square)
        + (math.log(n) if reml else 0.0)
        + float(within / residual + between / group_mean_square)
    )
    return OneWay(
        group_variance=float(group_variance),
        residual_variance=float(residual),
        theta=math.sqrt(group_variance / residual),
        mean=float(sum(values, Fraction(0)) / n),
        objective=objective,
    )
