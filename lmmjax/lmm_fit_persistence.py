"""Saving the fit of one response, and loading whatever was saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from . import persistence
from .persistence import JSON_NAME, read_json

if TYPE_CHECKING:
    from .lmm_fit import LmmFit
    from .results import FitBatch


def save(fit: LmmFit, directory: str | Path, *, force: bool = False) -> None:
    """See :meth:`lmmjax.lmm_fit.LmmFit.save`."""
    design = fit.model.design
    single = {
        "weights_label": fit.weights_label,
        "response_name": design.response_name,
        "n_dropped": design.n_dropped,
    }
    persistence.save(fit.fits.take([fit.index]), directory, force=force, single=single)


def load(directory: str | Path) -> LmmFit | FitBatch:
    """What was saved in a directory: everything a fresh fit can do works.

    Parameters
    ----------
    directory
        Written by :meth:`lmmjax.LmmFit.save` or :meth:`lmmjax.FitBatch.to_parquet`.

    Returns
    -------
    LmmFit or FitBatch
        As was saved.

    Raises
    ------
    TableError
        The files are missing, damaged, from different calls, or of a newer format.

    Examples
    --------
    >>> import lmmjax, tempfile
    >>> fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)",
    ...                   lmmjax.datasets.load_sleepstudy())
    >>> directory = tempfile.mkdtemp()
    >>> fit.save(directory)
    >>> lmmjax.load(directory).objective == fit.objective
    True
    """
    from .lmm_fit import LmmFit
    from .model import Model

    single = read_json(Path(directory) / JSON_NAME).get("single")
    fits = persistence.load(directory)
    if single is None:
        return fits
    design = replace(
        fits.model.design,
        response=None if single["response_name"] is None else fits.raw_values[:, 0],
        response_name=single["response_name"],
        n_dropped=single["n_dropped"],
    )
    return LmmFit(
        replace(fits, model=Model(design, fits.model.samples)), 0, single["weights_label"]
    )
