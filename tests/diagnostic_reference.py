"""Reference diagnostics from R (``scripts/make_reference_diagnostics.R``), as tests want them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import reference

import lmmjax

DIRECTORY = Path(__file__).parent / "data" / "diagnostics"
NAMES = sorted(path.stem for path in DIRECTORY.glob("*.json"))


@dataclass(frozen=True)
class Diagnosed:
    """A fit by lmmjax, and what lme4 says about the same fit."""

    fit: lmmjax.LmmFit
    values: dict[str, Any]


@cache
def diagnosed(name: str) -> Diagnosed:
    """Fit of one reference file, for example ``diagnosed("sleepstudy-slope")``."""
    values = json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))
    data = reference.load_data(values["dataset"])
    if values["unbalanced"]:
        data = data[np.arange(1, len(data) + 1) ** 2 % 11 > 3]
    return Diagnosed(lmmjax.lmer(values["formula"], data, weights=values["weights"]), values)


WITH_DELETIONS = [name for name in NAMES if "deletions" in diagnosed(name).values]


def assert_close(mine: Any, theirs: Any, tolerance: float) -> None:
    """Equal to ``tolerance`` relative to the largest value."""
    theirs = np.asarray(theirs, dtype=float)
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())
