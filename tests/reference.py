"""Reference fits from R (``scripts/make_reference_values.R``), as tests want them."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

DIRECTORY = Path(__file__).parent / "data" / "lme4"


@dataclass(frozen=True)
class ReferenceFit:
    """One polished lme4 fit; arrays as in the JSON file, see ``values`` for the rest."""

    dataset: str
    name: str
    formula: str
    reml: bool
    weights: str | None
    objective: float
    theta: np.ndarray
    sigma: float
    fixef: pd.Series
    std_errors: pd.Series
    singular: bool
    values: dict[str, Any]

    @property
    def id(self) -> str:
        return f"{self.dataset}-{self.name}"

    @property
    def data(self) -> pd.DataFrame:
        return load_data(self.dataset)

    @property
    def weight_values(self) -> np.ndarray | None:
        return None if self.weights is None else self.data[self.weights].to_numpy(float)

    @property
    def varcorr(self) -> pd.DataFrame:
        """Columns group, name1, name2, vcov, sdcor, in lme4's order."""
        return pd.DataFrame(self.values["varcorr"])

    def ranef(self, group: str) -> pd.DataFrame:
        """Tidy: level, term, mode, cond_sd."""
        return pd.DataFrame(self.values["ranef"][group])

    @property
    def probes(self) -> list[tuple[np.ndarray, float]]:
        """Objective at some thetas away from the optimum."""
        return [(np.array(p["theta"], float), p["objective"]) for p in self.values["probes"]]


@cache
def _read(dataset: str) -> dict[str, Any]:
    return json.loads((DIRECTORY / f"{dataset}.json").read_text(encoding="utf-8"))


def dataset_names() -> list[str]:
    """Every data set that has reference fits."""
    return sorted(path.stem for path in DIRECTORY.glob("*.json"))


def load_data(dataset: str) -> pd.DataFrame:
    """The data of one data set, factors as categoricals with R's level order."""
    columns = _read(dataset)["columns"]
    factors = {name: kind for name, kind in columns.items() if "levels" in kind}
    data = pd.read_csv(
        DIRECTORY / f"{dataset}.csv", dtype=dict.fromkeys(factors, str), keep_default_na=False
    )
    for name, kind in factors.items():
        ordered = kind["kind"] == "ordered"
        data[name] = pd.Categorical(data[name], categories=kind["levels"], ordered=ordered)
    return data


@cache
def reference_fits(dataset: str | None = None) -> tuple[ReferenceFit, ...]:
    """All reference fits, or those of one data set."""
    names = dataset_names() if dataset is None else [dataset]
    return tuple(_fit(name, values) for name in names for values in _read(name)["fits"])


def reference_fit(dataset: str, name: str) -> ReferenceFit:
    """One reference fit, for example ``reference_fit("sleepstudy", "slope_reml")``."""
    return next(fit for fit in reference_fits(dataset) if fit.name == name)


def _fit(dataset: str, values: dict[str, Any]) -> ReferenceFit:
    names = values["fixef_names"]
    return ReferenceFit(
        dataset=dataset,
        name=values["name"],
        formula=values["python_formula"],
        reml=values["reml"],
        weights=values["weights"],
        objective=values["objective"],
        theta=np.array(values["theta"], float),
        sigma=values["sigma"],
        fixef=pd.Series(values["fixef"], index=names, dtype=float),
        std_errors=pd.Series(values["std_errors"], index=names, dtype=float),
        singular=values["singular"],
        values=values,
    )
