"""Saving fits: Parquet and JSON to load again, TSV to read elsewhere.  Nothing is pickled.

A saved batch is a directory of three files: ``fits_responses.parquet`` (one row per response:
values and estimates), ``fits_samples.parquet`` (the columns the formula reads, from which the
model is built again) and ``fits.json`` (formula, options, names); each known covariance of a
grouping factor adds a ``fits_relationship_<k>.parquet``.
"""

from __future__ import annotations

import json
import secrets
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from .design import Design, build_design
from .errors import LmmWarning, OutputError, TableError
from .expression.write import OutputDirectory, atomic_path
from .formula_contrasts import ContrastLike
from .formula_functions import ContrastChoice
from .modes import common_weights
from .persistence_files import (
    index_from_json,
    label_array,
    labels_to_json,
    read_parquet,
    write_parquet,
)
from .status import STATUSES, names_of

if TYPE_CHECKING:
    from .results import FitBatch

FORMAT = "lmmjax fits"
FORMAT_VERSION = 1
JSON_NAME, _RESPONSES, _SAMPLES = "fits.json", "fits_responses.parquet", "fits_samples.parquet"
_RELATIONSHIP = "fits_relationship_{}.parquet"
_LABEL = "response"


def save(
    fits: FitBatch,
    directory: str | Path,
    *,
    force: bool = False,
    single: dict[str, Any] | None = None,
) -> None:
    """Save fits, values and model in a directory.

    The files appear together or not at all, also if the process is killed.

    Parameters
    ----------
    fits
        Fitted responses.
    directory
        Made if it does not exist.
    force
        Replace what an earlier call saved there.
    single
        What a fit of one response has beside its row of the batch; see
        :func:`lmmjax.lmm_fit_persistence.save`.

    Raises
    ------
    OutputError
        Results are there already, the directory cannot be written to, or a label or a column
        of the sample table has no counterpart in Parquet.

    Examples
    --------
    >>> import lmmjax, tempfile
    >>> data = lmmjax.datasets.load_sleepstudy()
    >>> fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", data)
    >>> path = tempfile.mkdtemp()
    >>> fit.fits.to_parquet(path)
    >>> bool(lmmjax.FitBatch.from_parquet(path)["Reaction"].sigma == fit.sigma)
    True
    """
    from . import __version__

    model, design = fits.model, fits.model.design
    common = common_weights(fits)
    samples = {f"column {k}": design.spec.table[c] for k, c in enumerate(design.spec.table)}
    content = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "lmmjax": __version__,
        "identity": secrets.token_hex(8),  # tells files of different calls apart
        "formula": model.formula,
        "reml": fits.reml,
        "contrasts": {k: _contrast_to_json(v) for k, v in design.spec.encoder.contrasts.items()},
        "sample_columns": list(design.spec.table.columns),
        "sample_names": labels_to_json(model.samples, "sample names"),
        "observations_kept": design.kept.tolist(),
        "common_weights": None if common is None else common.tolist(),
        "response_index": labels_to_json(fits.responses, "names of responses", with_values=False),
        "fixed_names": list(design.fixed_names),
        "theta_names": list(model.theta_names),
        "sigma": design.sigma,
        "relationships": {t.group: list(t.levels) for t in design.terms if t.root is not None},
        "fixed_kept": design.fixed_kept.tolist(),
        "single": single,
    }
    arrays = {
        "value": fits.raw_values.T,
        "theta": fits._theta,
        "beta": fits._beta,
        "unit_vcov": fits._unit_vcov.reshape(len(fits), design.rank**2),
    }
    if fits.weights is not None and common is None:
        arrays["weight"] = fits.weights.T
    columns = {
        _LABEL: label_array(fits.responses, "names of responses"),
        "status": names_of(fits.status_codes).astype(str),
        "n_obs": fits._n_obs, "n_iter": fits._n_iter, "sigma": fits._sigma,
        "objective": fits._objective, "rank": fits._rank,
        "gradient_norm": fits._gradient_norm, "min_hessian_eigenvalue": fits._lowest,
    }  # fmt: skip
    tied = [table.to_numpy() for table in design.relationships.values()]
    _write_together(Path(directory), content, samples, columns, arrays, tied, force)


def load(directory: str | Path) -> FitBatch:
    """Load what :func:`save` saved; everything a fresh fit can do works.

    Raises
    ------
    TableError
        The files are missing, damaged, from different calls, or of a newer format.
    """
    from .model import Model
    from .results import FitBatch

    directory = Path(directory)
    content = read_json(directory / JSON_NAME)
    samples, _ = read_parquet(directory / _SAMPLES, content["identity"])
    table, arrays = read_parquet(directory / _RESPONSES, content["identity"])
    relmat = {}
    for k, (group, levels) in enumerate(content.get("relationships", {}).items()):
        _, held = read_parquet(directory / _RELATIONSHIP.format(k), content["identity"])
        relmat[group] = pd.DataFrame(held["covariance"], levels, levels)
    design = _rebuild_design(content, samples, relmat, directory)
    model = Model(design, index_from_json(content["sample_names"]))
    total, p = len(table), design.rank
    responses = index_from_json(content["response_index"], table[_LABEL].to_list())
    empty = np.empty((total, 0))
    raw = np.ascontiguousarray(arrays["value"].T)
    values = raw if design.offset is None else raw - design.offset[:, None]
    weights = None
    if "weight" in arrays:
        weights = np.ascontiguousarray(arrays["weight"].T)
    elif content["common_weights"] is not None:
        common = np.array(content["common_weights"], dtype=float)
        weights = np.broadcast_to(common[:, None], raw.shape)
    code = {status.value: status.code for status in STATUSES}

    def column(name: str, dtype: type) -> np.ndarray:
        return table[name].to_numpy(dtype=dtype).copy()

    return FitBatch(
        model, responses, content["reml"], values, raw, weights,
        status_codes=np.array([code[text] for text in table["status"]], dtype=np.int8),
        _n_obs=column("n_obs", np.int64),
        _theta=arrays.get("theta", empty),
        _sigma=column("sigma", float),
        _objective=column("objective", float),
        _beta=arrays.get("beta", empty),
        _unit_vcov=arrays.get("unit_vcov", empty).reshape(total, p, p),
        _rank=column("rank", float),
        _gradient_norm=column("gradient_norm", float),
        _lowest=column("min_hessian_eigenvalue", float),
        _n_iter=column("n_iter", np.int64),
    )  # fmt: skip


def write_tables(fits: FitBatch, directory: str | Path, *, force: bool = False) -> None:
    """Write ``variance_partition``, ``fixed_effects``, ``theta``, ``varcorr`` and ``status``.

    Parameters
    ----------
    fits
        Fitted responses.
    directory
        Made if it does not exist; the five ``.tsv`` files appear in it together.
    force
        Replace tables that are there already.

    Raises
    ------
    OutputError
        Tables are there already, or the directory cannot be written to.
    """
    p = fits.fixef.shape[1]
    fixed = pd.DataFrame(
        {
            _LABEL: fits.responses.repeat(p),
            "coefficient": np.tile(np.asarray(fits.fixef.columns, dtype=object), len(fits)),
            "estimate": fits.fixef.to_numpy().ravel(),
            "std_error": fits.std_errors.to_numpy().ravel(),
        }
    )
    by_response = {
        "variance_partition": fits.variance_partition(),
        "theta": fits.theta,
        "status": fits.status_table(),
    }
    tidy = {"fixed_effects": fixed, "varcorr": fits.varcorr}
    with OutputDirectory(directory, (*by_response, *tidy), format="tsv", force=force) as out:
        for name, frame in by_response.items():
            out.write_table(name, frame, _LABEL)
        for name, frame in tidy.items():
            out.write_table(name, frame)


# ---- the model ---------------------------------------------------------------------------


def _rebuild_design(
    content: dict[str, Any],
    samples: pd.DataFrame,
    relmat: dict[str, pd.DataFrame],
    directory: Path,
) -> Design:
    kept = np.array(content["observations_kept"], dtype=bool)
    names = index_from_json(content["sample_names"])
    if len(samples.columns):
        samples = samples.set_axis(content["sample_columns"], axis=1)
        samples = samples.set_axis(names[kept], axis=0)
    else:  # "~ 1" reads no column
        samples = pd.DataFrame(index=names[kept])
    contrasts = {k: _contrast_from_json(v) for k, v in content["contrasts"].items()}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LmmWarning)  # given when the model was first built
        design = build_design(
            content["formula"], samples, contrasts=contrasts, checks=False,
            sigma=content.get("sigma"), relmat=relmat,
        )  # fmt: skip
    same = (
        list(design.fixed_names) == content["fixed_names"]
        and design.fixed_kept.tolist() == content["fixed_kept"]
    )
    if not same:
        raise TableError(
            f"{directory}: this version of lmmjax codes the model differently from version "
            f"{content['lmmjax']}, which saved it; fit it again"
        )
    return replace(design, kept=kept, n_dropped=int((~kept).sum()))


def _contrast_to_json(choice: ContrastLike) -> dict[str, Any]:
    if isinstance(choice, str):
        return {"name": choice}
    if isinstance(choice, ContrastChoice):
        return {"kind": choice.kind, "reference": choice.reference}
    if isinstance(choice, pd.DataFrame):
        return {
            "levels": [str(label) for label in choice.index],
            "columns": [str(label) for label in choice.columns],
            "matrix": choice.to_numpy(dtype=float).tolist(),
        }
    return {"matrix": np.asarray(choice, dtype=float).tolist()}


def _contrast_from_json(content: dict[str, Any]) -> ContrastLike:
    if "name" in content:
        return content["name"]
    if "kind" in content:
        return ContrastChoice(content["kind"], content["reference"])
    matrix = np.array(content["matrix"], dtype=float)
    if "levels" in content:
        return pd.DataFrame(matrix, index=content["levels"], columns=content["columns"])
    return matrix


def _write_together(
    directory: Path,
    content: dict[str, Any],
    samples: dict[str, Any],
    columns: dict[str, Any],
    arrays: dict[str, np.ndarray],
    tied: list[np.ndarray],
    force: bool,
) -> None:
    """All files or none; ``fits.json``, without which there is nothing to load, comes last."""
    if not force and (directory / JSON_NAME).exists():
        raise OutputError(f"{directory} holds saved fits already; force=True replaces them")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            whole = lambda name: stack.enter_context(atomic_path(directory / name))  # noqa: E731
            json_path, samples_path, responses_path = map(whole, (JSON_NAME, _SAMPLES, _RESPONSES))
            for k, covariance in enumerate(tied):
                path = whole(_RELATIONSHIP.format(k))
                write_parquet(path, {}, {"covariance": covariance}, content["identity"])
            write_parquet(responses_path, columns, arrays, content["identity"])
            write_parquet(samples_path, samples, {}, content["identity"])
            text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
            json_path.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"cannot write to {directory}: {error.strerror}") from error


def read_json(path: Path) -> dict[str, Any]:
    """``fits.json``, checked to be one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TableError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise TableError(f"{path} does not describe saved fits")
    if content["format_version"] > FORMAT_VERSION:
        raise TableError(
            f"{path} was saved by lmmjax {content['lmmjax']}, in a newer format; update lmmjax"
        )
    return content
