"""Linear mixed models for every gene at once.

>>> import lmmjax
>>> model = lmmjax.compile("~ Days + (Days | Subject)", lmmjax.datasets.load_sleepstudy())
>>> model.theta_names
('Subject.(Intercept)', 'Subject.Days.(Intercept)', 'Subject.Days')
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from . import datasets, errors, plots
    from .compilation_cache import use_compilation_cache
    from .errors import LmmError, LmmWarning
    from .inference.lrt import anova, lrtest
    from .linear.drop1 import drop1
    from .linear.fit import lm
    from .linear.results import LmFit
    from .linear.update import update, update_formula
    from .lmm_fit_persistence import load
    from .model import Model, compile
    from .partition import variance_partition
    from .results import FitBatch
    from .single import LmmFit, lmer
    from .status import Status

__version__ = "0.1.0"

_HOME = {
    "compile": "model",
    "Model": "model",
    "FitBatch": "results",
    "LmFit": "linear.results",
    "LmmError": "errors",
    "LmmFit": "single",
    "LmmWarning": "errors",
    "drop1": "linear.drop1",
    "lm": "linear.fit",
    "lmer": "single",
    "load": "lmm_fit_persistence",
    "anova": "inference.lrt",
    "lrtest": "inference.lrt",
    "update": "linear.update",
    "update_formula": "linear.update",
    "use_compilation_cache": "compilation_cache",
    "variance_partition": "partition",
    "Status": "status",
}
_MODULES = ("datasets", "errors", "plots", "expression", "inference")

__all__ = [
    "FitBatch", "LmFit", "LmmError", "LmmFit", "LmmWarning", "Model", "Status", "anova",
    "compile", "datasets", "drop1", "errors", "lm", "lmer", "load", "lrtest", "plots", "update",
    "update_formula", "use_compilation_cache", "variance_partition",
]  # fmt: skip


def __getattr__(name: str):
    # imported on first use: the command line's --help and table reading need no JAX
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME, *_MODULES])
