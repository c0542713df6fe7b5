"""The two models of ``lmmjax lrt``, checked before anything is fitted."""

from __future__ import annotations

from typing import Any

from lmmjax.errors import NestingError, ShapeError


def check_models(full: Any, reduced: Any, reml: bool) -> None:
    """Check that two models can be compared, and are named the right way round.

    Parameters
    ----------
    full, reduced : Model
        Of ``--full`` and ``--reduced``.
    reml : bool
        Whether they are to be fitted by REML.

    Raises
    ------
    NestingError
        The models are swapped or not nested, or REML fits of them have no common likelihood.
    ShapeError
        They use different samples.
    """
    from lmmjax.inference.nesting import check_nested

    used = [model.design.observations for model in (full, reduced)]
    if not used[0].equals(used[1]):
        raise ShapeError(
            f"--full uses {len(used[0])} samples and --reduced {len(used[1])}, because only one of "
            "them reads a column with missing values; leave those samples out of the sample table"
        )
    counts = [model.n_parameters for model in (full, reduced)]
    if counts[0] < counts[1]:
        raise NestingError(
            f"--reduced has more parameters than --full ({counts[1]} and {counts[0]}); swap them"
        )
    if counts[0] == counts[1]:
        raise NestingError(
            f"--full and --reduced both have {counts[0]} parameters, so neither is a special case "
            "of the other; leave out of --reduced what is to be tested"
        )
    nesting = check_nested(reduced.design, full.design)
    if reml and not nesting.same_fixed:
        raise NestingError(
            "--reml compares only models with the same fixed effects, and those of --full and "
            "--reduced differ; leave it out to compare them by ML"
        )
