"""Reference values of R's ``lm`` (``scripts/make_reference_lm.R``), as tests want them."""

import json
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lmmjax.errors import DroppedRowsWarning, RankWarning
from lmmjax.linear import LmFit, lm

DIRECTORY = Path(__file__).parent / "data" / "lm"
DATASETS = (
    "Penicillin", "cake", "few", "gaps", "mtcars", "sleepstudy", "uneven", "warpbreaks",
)  # fmt: skip


@cache
def read(name: str) -> Any:
    return json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8"))


def load(dataset: str) -> pd.DataFrame:
    """The data of one data set, factors as categoricals with R's level order."""
    levels = read(dataset).get("levels", {})
    types: dict[Any, Any] = dict.fromkeys(levels, str)
    data = pd.read_csv(DIRECTORY / f"{dataset}.csv", index_col=0, dtype=types)
    data.index = data.index.astype(str)
    return data.assign(**{k: pd.Categorical(data[k], categories=v) for k, v in levels.items()})


def cases(key: str | None = None) -> list[tuple[str, str]]:
    """(data set, fit) of all reference fits, or of those that have a value."""
    return [
        (dataset, fit["name"])
        for dataset in DATASETS
        for fit in read(dataset)["fits"]
        if key is None or key in fit
    ]


def reference(dataset: str, name: str) -> dict[str, Any]:
    return next(fit for fit in read(dataset)["fits"] if fit["name"] == name)


@cache
def fitted(dataset: str, name: str) -> LmFit:
    """Our fit of a reference fit's formula."""
    ref = reference(dataset, name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DroppedRowsWarning)
        warnings.simplefilter("ignore", RankWarning)
        return lm(
            ref["formula"], load(dataset), weights=ref["weights"], contrasts=ref.get("contrasts")
        )


def assert_close(ours: Any, theirs: Any, rtol: float = 1e-9, scale: float = 0.0) -> None:
    """Equal to rtol, relative to the value or, where given, to the scale; null is NaN."""
    expected = np.array(theirs, dtype=float)
    np.testing.assert_allclose(
        np.asarray(ours, dtype=float), expected, rtol=rtol, atol=rtol * scale
    )


def assert_table(ours: pd.DataFrame, theirs: dict[str, Any], rtol: float = 1e-9) -> None:
    """The columns of R's table, in rows of the same names; p-values relative too."""
    assert list(ours.index) == theirs["rows"]
    for name, column in theirs.items():
        if name == "rows":
            continue
        mine = ours[name].to_numpy(dtype=float, na_value=np.nan)
        # R subtracts residual sums of squares, so its zeros are not quite
        sums = "Sum" in name
        scale = np.nanmax(np.array(column, dtype=float)) if sums else 1e-3
        assert_close(mine, column, rtol, scale)
