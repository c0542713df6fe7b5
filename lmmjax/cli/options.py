"""Options that the commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True)
class Options:
    """Values of the shared options."""

    expression: Path
    samples: Path | None
    sample_column: str | None
    out: Path
    weights: str | None
    reml: bool
    format: Literal["tsv", "tsv.gz", "parquet"]
    layer: str | None
    genes_in: Literal["auto", "rows", "columns"]
    drop_column: tuple[str, ...]
    allow_duplicate_genes: bool
    figure: bool
    progress: bool
    cache: bool
    force: bool


def formula_option(name: str) -> Callable[[Command], Command]:
    """A required formula."""
    text = {"--full": "Model with", "--reduced": "Model without"}.get(name)
    return click.option(
        name,
        required=True,
        metavar="FORMULA",
        help=f"{text} what is tested." if text else 'As in lme4: "~ Age + (1|Individual)".',
    )


def shared_options(*, reml: bool) -> Callable[[Command], Command]:
    """All options of :class:`Options`; `reml` is the default way of estimation."""
    decorators = [
        click.option(
            "--expression",
            required=True,
            type=_FILE,
            help="Genes and samples: .tsv, .csv, .txt (also .gz), .parquet or .h5ad.",
        ),
        click.option(
            "--samples",
            type=_FILE,
            help="One row per sample, names in the first column. Default: obs of an .h5ad.",
        ),
        click.option("--sample-column", metavar="NAME", help="Column of the sample names."),
        click.option(
            "--out",
            required=True,
            type=click.Path(file_okay=False, path_type=Path),
            help="Directory for the results.",
        ),
        click.option(
            "--weights",
            metavar="FILE|COLUMN",
            help="Prior weights: a table like the expression, or a column of the samples.",
        ),
        click.option("--reml/--ml", default=reml, show_default=True, help="Way of estimation."),
        click.option(
            "--format",
            type=click.Choice(["tsv", "tsv.gz", "parquet"]),
            default="tsv",
            show_default=True,
            help="Of the result tables.",
        ),
        click.option("--layer", metavar="NAME", help="Layer of an .h5ad file instead of X."),
        click.option(
            "--genes-in",
            type=click.Choice(["auto", "rows", "columns"]),
            default="auto",
            show_default=True,
            help="Where a table has the genes; auto goes by the sample names.",
        ),
        click.option(
            "--drop-column",
            multiple=True,
            metavar="NAME",
            help="Column of the expression table to leave out (annotation). Repeatable.",
        ),
        click.option(
            "--allow-duplicate-genes", is_flag=True, help="Let names of genes occur repeatedly."
        ),
        click.option("--figure", is_flag=True, help="Also draw a figure (needs matplotlib)."),
        click.option("--progress/--no-progress", default=True, help="Progress bar on a terminal."),
        click.option(
            "--cache/--no-cache",
            default=True,
            show_default=True,
            help="Keep compiled programs for the next run.",
        ),
        click.option("--force", is_flag=True, help="Replace earlier results in --out."),
    ]

    def apply(function: Command) -> Command:
        for decorator in reversed(decorators):
            function = decorator(function)
        return function

    return apply
