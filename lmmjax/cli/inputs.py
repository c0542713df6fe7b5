"""The tables of a command, read and aligned."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmmjax.cli.options import Options
from lmmjax.errors import AlignmentError, TableError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lmmjax.expression.align import AlignedExpression, SamplesIn

#: Where a table has the samples if it has the genes there; read as it stands, so that messages
#: speak of the rows and columns of the file.
_SAMPLES_IN: dict[str, SamplesIn] = {"auto": "auto", "rows": "columns", "columns": "rows"}


@dataclass(frozen=True)
class Inputs:
    """Aligned tables."""

    expression: AlignedExpression
    samples: pd.DataFrame
    weights: np.ndarray | None


def read_inputs(options: Options) -> Inputs:
    """Read the expression, the samples and the weights, and align them by name.

    Raises
    ------
    LmmError
        A table that cannot be read or does not fit the others.
    click.UsageError
        Options that do not go together.
    """
    from lmmjax.expression import tables
    from lmmjax.expression.align import align_expression, align_weights
    from lmmjax.expression.names import duplicated_names, listing

    annotated = tables.file_kind(options.expression) == "h5ad"
    _check_options(options, annotated)
    samples_in = _SAMPLES_IN[options.genes_in]
    Y: Any
    if annotated:
        from lmmjax.expression.anndata_view import read_h5ad

        Y = read_h5ad(options.expression)
    else:
        Y = tables.read_expression(options.expression, drop_columns=options.drop_column)
    if options.samples is not None:
        samples = tables.read_samples(options.samples, options.sample_column)
    else:
        samples = Y.obs
    expression = align_expression(
        Y,
        samples,
        layer=options.layer,
        allow_duplicate_responses=True,
        name=str(options.expression),
        samples_in=samples_in,
    )
    duplicates = duplicated_names(expression.responses)
    if duplicates and not options.allow_duplicate_genes:
        raise AlignmentError(
            f"{options.expression}: names of genes occur more than once: "
            f"{listing(duplicates)}; make them unique or pass --allow-duplicate-genes"
        )
    weights = align_weights(_weights(options, samples), expression, samples, samples_in)
    return Inputs(expression, samples, weights)


def _check_options(options: Options, annotated: bool) -> None:
    """Refuse options that would be ignored: whoever gave them expects something of them."""
    if not annotated:
        if options.samples is None:
            raise click.UsageError("--samples is needed unless --expression is an .h5ad file")
        if options.layer is not None:
            raise click.UsageError(
                f"--layer is for .h5ad files, which have layers; {options.expression} has none"
            )
        return
    if options.sample_column is not None and options.samples is None:
        raise click.UsageError(
            "--sample-column is for the table of --samples; an .h5ad file without one has its "
            "sample names in the index of obs"
        )
    if options.drop_column:
        raise click.UsageError(
            f"--drop-column is for tables; {options.expression} is an .h5ad file"
        )


def _weights(options: Options, samples: pd.DataFrame) -> Any:
    from lmmjax.expression import tables

    if options.weights is None:
        return None
    if options.weights in samples.columns:
        return samples[options.weights]
    if not Path(options.weights).is_file():
        raise TableError(
            f"--weights {options.weights!r} is neither a file nor a column of the sample table"
        )
    return tables.read_expression(options.weights)
