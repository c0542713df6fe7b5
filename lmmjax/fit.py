"""From a compiled model and a table of responses to a :class:`~lmmjax.results.FitBatch`.

Decides, before anything is fitted and from the data alone, which responses can be fitted
and by which path; then runs the batches and puts the pieces together.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
import pandas as pd

from .batch import Batches, block_size, chunk_size, padded_size
from .errors import FitWarning, MissingValueError, NonFiniteError, ResponseError, warn
from .expression.align import align_expression, align_weights
from .fit_options import FitOptions
from .prepare import SharedArrays
from .program import fit_chunk
from .record import record
from .results import FitBatch
from .status import Status, names_of

if TYPE_CHECKING:
    from .model import Model

UNDECIDED = -1


@dataclass(frozen=True)
class Triage:
    """Which responses can be fitted, and how."""

    status: np.ndarray  # (G,) codes; UNDECIDED where the fit decides
    n_obs: np.ndarray  # (G,) observations with a value and a positive weight
    shared: np.ndarray  # columns that use every observation
    own: np.ndarray  # columns with missing values or weights of their own, hopeless ones too
    hopeful: np.ndarray  # (G,) bool


def triage(model: Model, values: np.ndarray, weights: np.ndarray | None, force_own: bool) -> Triage:
    """Sort the responses in ``values`` (n, G); ``weights`` is (n, G) or ``None``."""
    n, total = values.shape
    status = np.full(total, UNDECIDED, dtype=np.int8)
    with np.errstate(invalid="ignore", over="ignore"):
        complete = np.isfinite(values.sum(axis=0))
        if not complete.all():  # a sum may also overflow: look closer
            complete[~complete] = np.isfinite(values[:, ~complete]).all(axis=0)
    n_obs = np.full(total, n)
    own = ~complete
    if weights is not None or force_own:
        own = np.ones(total, dtype=bool)
    columns = np.flatnonzero(own)
    if len(columns):
        some = values[:, columns]
        seen = ~np.isnan(some)
        if weights is not None:
            seen &= weights[:, columns] > 0
        count = seen.sum(axis=0)
        n_obs[columns] = count
        smallest = np.min(some, axis=0, where=seen, initial=np.inf)
        largest = np.max(some, axis=0, where=seen, initial=-np.inf)
        verdict = np.full(len(columns), UNDECIDED, dtype=np.int8)
        verdict[smallest == largest] = Status.CONSTANT_RESPONSE.code
        for term in model.design.terms:
            present = np.zeros((term.n_levels, len(columns)), dtype=bool)
            np.logical_or.at(present, term.codes, seen)
            levels = present.sum(axis=0)
            undecided = verdict == UNDECIDED
            verdict[undecided & (levels < 2)] = Status.UNIDENTIFIABLE.code
            if term.root is None and model.design.sigma is None:
                verdict[undecided & (levels >= count)] = Status.TOO_FEW_OBSERVATIONS.code
        infinite = np.isinf(smallest) | np.isinf(largest)
        verdict[infinite & (count > 0)] = Status.NONFINITE.code
        verdict[count == 0] = Status.MISSING.code
        status[columns] = verdict
    rest = np.flatnonzero(~own)
    if len(rest):
        part = values if len(rest) == total else values[:, rest]
        alike = np.flatnonzero(part[0] == part[-1])  # the few that are worth a look at all rows
        flat = alike[(part[:, alike] == part[0, alike]).all(axis=0)]
        status[rest[flat]] = Status.CONSTANT_RESPONSE.code
    # all columns keep their places, hopeless ones as idle lanes: what is in one lane never moves
    # another
    open_ = status == UNDECIDED
    shared, own_ = np.flatnonzero(~own & open_), np.flatnonzero(own)
    return Triage(status, n_obs, shared, own_ if open_[own_].any() else own_[:0], open_)


def fit_responses(
    model: Model,
    Y: Any,
    weights: Any,
    options: FitOptions,
    *,
    allow_duplicate_responses: bool,
    layer: str | None,
) -> FitBatch:
    """Align, sort, fit, and report."""
    table = pd.DataFrame(index=model.samples)
    aligned = align_expression(
        Y, table, layer=layer, allow_duplicate_responses=allow_duplicate_responses
    )
    matrix = align_weights(weights, aligned, table)
    kept = model.design.kept
    everything = bool(kept.all())
    values = aligned.values if everything else aligned.values[kept]
    if matrix is not None and not everything:
        matrix = matrix[kept]
    if options.na == "raise":
        _refuse_missing(values, aligned.responses, model.design.observations)
    common = None
    if matrix is not None and matrix.ndim == 1:
        if np.all(matrix > 0):
            common, matrix = matrix, None
        else:
            matrix = np.repeat(matrix[:, None], values.shape[1], axis=1)
    own_weights = matrix
    if common is not None:
        own_weights = np.broadcast_to(common[:, None], values.shape)
    offset = model.design.offset
    sorted_out = triage(model, values, matrix, options.path == "weighted")
    fitted = values if offset is None else values - offset[:, None]
    fits = FitBatch.empty(model, aligned.responses, fitted, values, own_weights, options.reml)
    fits._n_obs[:] = sorted_out.n_obs
    with _progress_bar(options.progress, len(sorted_out.shared) + len(sorted_out.own)) as advance:
        if len(sorted_out.shared):
            _run_shared(model, fits, fitted, common, sorted_out.shared, options, advance)
        if len(sorted_out.own):
            _run_own(model, fits, fitted, own_weights, sorted_out, options, advance)
    decided = sorted_out.status != UNDECIDED
    fits.status_codes[decided] = sorted_out.status[decided]
    _warn_of_failures(fits)
    return fits


def _run_shared(model, fits, values, weights, columns, options, advance):
    spectral = options.path == "spectral" or (options.path == "auto" and model.one_relationship)
    weight_size = 1.0 if weights is None else weights.mean()
    if weights is not None:
        weights = weights / weight_size
    if spectral and model.layout.term_sizes != (1,):
        raise ValueError("path='spectral' needs exactly one random-effects term, a scalar one")
    layout = model.layout
    if options.path == "sparse":
        if not (layout.q and layout.n_dense):
            raise ValueError("path='sparse' needs random effects of two grouping factors")
        if any(term.root is not None for term in model.design.terms):
            raise ValueError("path='sparse' is not for known covariances between levels")
    limit = {"compressed": 1 << 30, "blocked": -1}.get(options.path)
    if weights is None and options.path == "auto":
        prepared = model.prepared_spectral if spectral else model.prepared
    elif limit is None:
        sparse = True if options.path == "sparse" else None
        prepared = model._prepare(weights, spectral=spectral, sparse=sparse)
    else:
        prepared = model._prepare(weights, max_classes=limit, sparse=False)
    layout, classes = prepared.layout, 0
    if isinstance(prepared.arrays, SharedArrays):
        classes = prepared.arrays.between_rr.shape[0]
    levels = model.n if spectral else fits.model_levels
    doubles = (1 + classes) * layout.m if classes else levels * layout.q * 2
    _run(
        model,
        fits,
        values,
        None,
        columns,
        options,
        advance,
        prepared.layout,
        prepared.arrays,
        prepared.x_transform,
        prepared.z_scale,
        doubles,
        np.full(len(columns), weight_size),
    )


def _run_own(model, fits, values, weights, sorted_out, options, advance):
    columns = sorted_out.own
    arrays, x_transform, z_scale = model.prepared_weighted
    layout = model.layout
    if weights is None:
        weights = np.ones((1, 1))
    used = np.broadcast_to(weights, values.shape)
    if len(columns) < values.shape[1]:
        values, used = values[:, columns], used[:, columns]
        target = columns
    else:
        target = np.arange(values.shape[1])
    used = np.where(np.isfinite(values), used, 0.0)
    values = np.where(used > 0, values, 0.0)
    # relative to each response's mean weight: inverse variances may have any unit
    weight_size = used.sum(axis=0) / np.maximum((used > 0).sum(axis=0), 1)
    weight_size[weight_size == 0] = 1.0
    used = used / weight_size
    doubles = (layout.m * layout.q + layout.q**2) * fits.model_levels + layout.m**2
    _run(
        model,
        fits,
        values,
        used,
        np.arange(len(target)),
        options,
        advance,
        layout,
        arrays,
        x_transform,
        z_scale,
        doubles,
        weight_size,
        target,
        sorted_out.hopeful[target],
    )


def _run(
    model,
    fits,
    values,
    weights,
    columns,
    options,
    advance,
    layout,
    arrays,
    x_transform,
    z_scale,
    doubles,
    weight_size,
    target=None,
    hopeful=None,
):
    n_starts = options.n_starts or (3 if any(q > 1 for q in layout.term_sizes) else 1)
    block = block_size(layout, model.n, doubles, options.memory)
    size = options.chunk_size or chunk_size(layout, block, options.memory, len(fits))
    size = padded_size(len(fits), size)
    unit = model.theta_unit(z_scale)
    scaling = {
        "level_size": model.level_size[:, None],
        "theta_unit": unit[:, None],
        "log_x_scale": np.log(np.abs(np.diag(x_transform)))[:, None],
    }
    with jax.enable_x64(True):
        arrays, scaling = jax.device_put((arrays, scaling))
    program = partial(fit_chunk, layout, options.reml, n_starts, min(block, size), arrays, scaling)
    start = None
    if options.start is not None:
        start = options.start[model.order.theta] * unit
    sigma = model.design.sigma
    if sigma is not None:  # of an observation of mean weight
        sigma = sigma / np.sqrt(weight_size)
    batches = Batches(
        program, layout, values, weights, columns, size, advance, hopeful, start, sigma
    )
    result = batches.run()
    where = columns if target is None else target
    record(fits, where, result, x_transform, unit, weight_size)


#: Responses and cells that an error names.
NAMED = 5


def _refuse_missing(values: np.ndarray, responses: pd.Index, observations: pd.Index) -> None:
    columns = np.flatnonzero(np.isnan(values).any(axis=0))
    if not len(columns):
        return
    told = []
    for column in columns[:NAMED]:
        rows = np.flatnonzero(np.isnan(values[:, column]))
        cells = ", ".join(repr(observations[row]) for row in rows[:NAMED])
        more = f" and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
        told.append(f"{responses[column]!r} at {cells}{more}")
    more = f"; and {len(columns) - NAMED} more" if len(columns) > NAMED else ""
    raise MissingValueError(
        f"{len(columns)} of {len(responses)} responses have missing values: {'; '.join(told)}"
        f"{more}. na='fit' fits each on what it has"
    )


def _warn_of_failures(fits: FitBatch) -> None:
    failed = fits.status_codes[fits.status_codes != Status.CONVERGED.code]
    counts = Counter(names_of(failed))
    if counts:
        listing = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        warn(
            f"{sum(counts.values())} of {len(fits.responses)} responses have no converged fit "
            f"({listing}); see fits.status",
            FitWarning,
        )


class _Silent:
    def __enter__(self):
        return lambda count: None

    def __exit__(self, *error):
        return False


class _Bar:
    def __init__(self, total: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, unit="response", unit_scale=True, file=sys.stderr)

    def __enter__(self):
        return self.bar.update

    def __exit__(self, *error):
        self.bar.close()
        return False


def _progress_bar(wanted: bool | None, total: int):
    if wanted is None:
        wanted = total > 2000 and sys.stderr is not None and sys.stderr.isatty()
    return _Bar(total) if wanted else _Silent()


def check_single(status: Status, response: str) -> None:
    """Raise for a single response that could not be fitted at all."""
    if not status.has_estimates:
        error = NonFiniteError if status is Status.NONFINITE else ResponseError
        raise error(f"{response}: {status.value}. {status.meaning}")
