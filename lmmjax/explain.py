"""Which numerical path a model takes, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .fit_options import Path
from .prepare import SharedArrays
from .small_work import is_small
from .structure import FEW_RESPONSES

if TYPE_CHECKING:
    from .model import Model


def explain(model: Model, path: Path) -> str:
    """Text of :meth:`lmmjax.model.Model.explain`."""
    layout, design = model.layout, model.design
    if not design.terms:
        return "linear model: no random effects, one least-squares projection for all responses"
    first = design.terms[model.order.engine_terms[0]]
    chosen = path
    if path == "auto":
        if model.one_relationship:
            chosen = "spectral"
        elif model.many_columns:
            chosen = "sparse"
        else:
            chosen = "compressed" if model.prepared.compressed else "blocked"
    classes = 0
    if chosen in ("compressed", "blocked"):
        arrays = model.prepared.arrays
        classes = len(arrays.count) if isinstance(arrays, SharedArrays) else first.n_levels
    system = f"reduced system of {layout.n_dense} random and {layout.p} fixed columns"
    reasons = {
        "compressed": (
            f"compressed elimination: the {first.n_levels} levels of {first.group} fall into "
            f"{classes} classes of equal cross-products and are summed before the fit; {system}"
        ),
        "blocked": (
            f"blocked elimination: the {first.n_levels} levels of {first.group} have {classes} "
            f"distinct cross-products, too many to sum beforehand; {system}"
        ),
        "sparse": (
            f"sparse blocked elimination of the {first.n_levels} levels of {first.group}: of the "
            f"{layout.n_dense} other random columns few meet in a level, only those are kept; "
            f"{system}"
        ),
        "spectral": (
            f"spectral: one eigendecomposition of the covariance of {first.group}; {system}"
        ),
        "weighted": (
            "per-response weights: every response has cross-products of its own; "
            f"{first.group} is eliminated level by level; {system}"
        ),
    }
    if not layout.eliminated and chosen != "spectral":
        listing = ", ".join(term.group for term in design.terms)
        reasons[chosen] = (
            f"dense: the levels of {listing} have known covariances, so none is eliminated; "
            f"{system}"
        )
    text = reasons[chosen]
    if path == "auto":
        text += "; responses with weights or missing values of their own: per-response path"
        arrays = (model.prepared_spectral if chosen == "spectral" else model.prepared).arrays
        few = sum(is_small(layout, arrays, k) for k in range(1, FEW_RESPONSES + 1))
        if few:
            who = f"up to {few} responses are" if few > 1 else "one response is"
            text += f"; {who} fitted by NumPy, without compiling"
    return text
