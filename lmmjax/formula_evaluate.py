"""Values of the expressions of a formula: arithmetic, functions, remembered transforms.

A checked tree is walked and computed with numpy; no text of the formula is ever executed. The
bases (``poly``, ``bs``, ``cs``, ``cr``, ``cc``) and ``scale``/``center`` come from formulaic,
which gets a text made here of checked numbers only. What they learn from the data (knots,
means, orthogonalisation) is remembered by label, so that new data are transformed alike.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from lmmjax.errors import DesignError, FormulaError
from lmmjax.formula_functions import arguments
from lmmjax.formula_natural_spline import NaturalSpline
from lmmjax.formula_nodes import Call, Name, Node, Number, Operation, Paren, deparse

_ELEMENTWISE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p, "exp": np.exp,
    "expm1": np.expm1, "sqrt": np.sqrt, "abs": np.abs, "I": np.asarray,
}  # fmt: skip
_ARITHMETIC: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "+": np.add, "-": np.subtract, "*": np.multiply, "/": np.divide, "^": np.power,
}  # fmt: skip
_COMPARISONS: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "<": np.less, ">": np.greater, "<=": np.less_equal, ">=": np.greater_equal,
    "==": np.equal, "!=": np.not_equal,
}  # fmt: skip


@dataclass
class Evaluator:
    """Computes expressions on the columns of one table.

    Attributes
    ----------
    column : callable
        Gives a column's values, float64 (n,), by name.
    memory : dict
        What transforms learned, by the label of the call. Filled while `learning`, only read
        otherwise.
    learning : bool
        Whether the table is the one the model is built on.
    """

    column: Callable[[str], np.ndarray]
    memory: dict[str, Any] = field(default_factory=dict)
    learning: bool = True

    def values(self, node: Node) -> np.ndarray:
        """Values of a checked expression, (n,) or (n, k); a 0-d array for a constant."""
        with np.errstate(all="ignore"):  # what is not finite is reported by the caller, by row
            return self._values(node)

    def _values(self, node: Node) -> np.ndarray:
        match node:
            case Number():
                return np.asarray(node.value)
            case Name(name=name):
                return self.column(name)
            case Paren(inner=inner):
                return self._values(inner)
            case Operation(symbol=symbol, left=None, right=right):
                value = self._values(right)
                return -value if symbol == "-" else value
            case Operation(symbol=symbol, left=left, right=right) if left is not None:
                a, b = self._values(left), self._values(right)
                if max(a.ndim, b.ndim) > 1:
                    raise FormulaError(f"{deparse(node)} computes with a basis of several columns")
                if symbol in _COMPARISONS:
                    # missing stays missing, as in R
                    missing = np.isnan(a) | np.isnan(b)
                    return np.where(missing, np.nan, _COMPARISONS[symbol](a, b))
                return _ARITHMETIC[symbol](a, b)
            case Call():
                return self._call(node)
        raise AssertionError(node)  # pragma: no cover

    def _call(self, call: Call) -> np.ndarray:
        given = arguments(call)
        x = self._values(given.pop("x"))  # pyright: ignore[reportArgumentType]
        if call.function in _ELEMENTWISE:
            value = _ELEMENTWISE[call.function](x)
            return value / np.log(given["base"]) if "base" in given else value  # type: ignore[arg-type]
        label = deparse(call)
        if x.ndim != 1:
            raise FormulaError(f"{label} needs one column of numbers")
        if label in self.memory:
            return self.memory[label].apply(x, label)
        if not self.learning:
            raise FormulaError(f"{label} was not part of the model's formula")
        transform = _learn(call.function, given, x, label)
        self.memory[label] = transform
        return transform.apply(x, label)


@dataclass(frozen=True)
class _FormulaicTransform:
    """A transform that formulaic has learned from the model's data."""

    spec: Any

    def apply(self, x: np.ndarray, label: str) -> np.ndarray:
        try:
            matrix = self.spec.get_model_matrix(pd.DataFrame({"x": x}))
        except Exception as error:  # formulaic raises many kinds, none of them ours
            raise DesignError(f"{label} cannot be computed: {_one_line(error)}") from None
        values = np.asarray(matrix, dtype=np.float64)
        return values[:, 0] if values.shape[1] == 1 else values


def _one_line(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())


def _learn(function: str, given: dict[str, Any], x: np.ndarray, label: str) -> Any:
    distinct = len(np.unique(x))
    size = max(given.get("degree", 1), given.get("df", 1), len(given.get("knots", ())))
    if function not in ("scale", "center") and size >= max(distinct, 2):
        raise DesignError(
            f"{label} needs more than {size} distinct values, and its column has {distinct}"
        )
    if distinct < 2:
        raise DesignError(f"{label} cannot be computed: its column is constant")
    if function == "bs":
        least = given.get("degree", 3) + given.get("intercept", False)
        if given.get("df", least) < least:
            raise DesignError(
                f"{label} cannot be computed: df has to be at least {least} (its degree"
                f"{', and one for the intercept' if given.get('intercept') else ''})"
            )
    if function == "ns":
        return NaturalSpline.learn(x, given.get("df"), given.get("knots"))
    import formulaic  # slow to import, and few formulas need it

    text = _formulaic_text(function, given)
    frame = pd.DataFrame({"x": x})
    try:
        matrix = formulaic.model_matrix(
            f"0 + {text}", frame, context={}, output="numpy", na_action="ignore"
        )
    except Exception as error:
        raise DesignError(f"{label} cannot be computed: {_one_line(error)}") from None
    return _FormulaicTransform(matrix.model_spec)


def _formulaic_text(function: str, given: dict[str, Any]) -> str:
    """The call as formulaic knows it, made of checked numbers and flags only."""
    options = dict(given)
    if function == "bs":
        options["include_intercept"] = options.pop("intercept", False)
        options["extrapolation"] = "extend"  # as R does, for new data outside the range
    if function in ("cs", "cr", "cc"):
        options["constraints"] = "center"  # the intercept is in the model already
        function = {"cs": "cr"}.get(function, function)
    if "knots" in options:
        options["knots"] = [float(knot) for knot in options["knots"]]
    for key in ("df", "degree"):
        if key in options:
            options[key] = int(options[key])
    parts = [f"{key}={value!r}" for key, value in options.items()]
    return f"{function}({', '.join(['x', *parts])})"
