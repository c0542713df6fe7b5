"""What the commands do: read, compile, fit, write, and say where the time went."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lmmjax.cli.inputs import Inputs, read_inputs
from lmmjax.cli.messages import reworded
from lmmjax.cli.nested import check_models
from lmmjax.cli.options import Options
from lmmjax.cli.record import Clock, counted, run_record, say_counts, say_sizes

if TYPE_CHECKING:
    import pandas as pd

    from lmmjax.expression.write import OutputDirectory
    from lmmjax.model import Model

#: What the commands may leave in a directory, all of which goes when one of them replaces it.
_TABLES = ("variance_partition", "fixed_effects", "varcorr", "status", "lrt")
_FIGURES = ("variance_partition.png", "lrt_qq.png")


def run_fit(
    command: str, formula: str, options: Options, warned: list[str], by: str = "term"
) -> None:
    """Fit one model to every gene and write its tables (``varpart`` and ``fit``)."""
    clock = Clock()
    with clock.stage("import"):
        out_directory = _output_directory(options)
    with out_directory as out:
        with clock.stage("read"):
            inputs = read_inputs(options)
        _prepare(options, clock)
        model = _compile(formula, inputs, clock)
        fits = _fit(model, inputs, options, clock)
        with clock.stage("write"):
            fractions = fits.variance_partition(by=by)
            counts = _write_fits(out, fits, fractions)
            if options.figure:
                _draw(out, "variance_partition.png", fractions)
        about = {"command": command, "formula": formula, "path": _path(model, inputs), **counts}
        out.write_json("run.json", about | run_record(inputs, options, model, warned, clock))
    say_sizes(inputs, clock)
    say_counts(f"{_estimation(options)} fits", counts)
    medians = fractions.median().sort_values(ascending=False)
    click.echo(
        "median fraction of variance: "
        + ", ".join(f"{term} {100 * value:.1f}%" for term, value in medians.items())
    )
    click.echo(f"results in {options.out}")


def run_lrt(full: str, reduced: str, options: Options, warned: list[str]) -> None:
    """Fit two nested models to every gene, compare them, write tables of test and full model."""
    formulas = {"full": full, "reduced": reduced}
    clock = Clock()
    with clock.stage("import"):
        out_directory = _output_directory(options)
    with out_directory as out:
        with clock.stage("read"):
            inputs = read_inputs(options)
        _prepare(options, clock)
        models = {name: _compile(f, inputs, clock) for name, f in formulas.items()}
        with clock.stage("compile"):
            check_models(models["full"], models["reduced"], options.reml)
        reduced_fits = _fit(
            models["reduced"], inputs, options, clock, before="--reduced: ", statuses_in="lrt"
        )
        full_fits = _fit(models["full"], inputs, options, clock, before="--full: ")
        with clock.stage("test"):
            import lmmjax

            table = lmmjax.anova(reduced_fits, full_fits)
        with clock.stage("write"):
            out.write_table("lrt", *_named(table))
            counts = {
                "full": _write_fits(out, full_fits, full_fits.variance_partition(by="term")),
                "reduced": counted(reduced_fits.status_table()),
                "test": counted(table),
            }
            if options.figure:
                _draw(out, "lrt_qq.png", table)
        about = {
            "command": "lrt",
            "formula": formulas,
            "path": {name: _path(model, inputs) for name, model in models.items()},
            "status": {name: count["status"] for name, count in counts.items()},
            "singular": {
                n: count["singular"] for n, count in counts.items() if "singular" in count
            },
        }
        out.write_json(
            "run.json", about | run_record(inputs, options, models["full"], warned, clock)
        )
    say_sizes(inputs, clock)
    for name in formulas:
        say_counts(f"{_estimation(options)} fits of --{name}", counts[name])
    say_counts("tests", counts["test"])
    click.echo(f"results in {options.out}")


def _estimation(options: Options) -> str:
    return "REML" if options.reml else "ML"


def _path(model: Model, inputs: Inputs) -> str:
    return model.explain(weights=inputs.weights)


def _output_directory(options: Options) -> OutputDirectory:
    from lmmjax.expression.write import OutputDirectory

    return OutputDirectory(
        options.out, _TABLES, others=_FIGURES, format=options.format, force=options.force
    )


def _prepare(options: Options, clock: Clock) -> None:
    """Import JAX, the cache set up before anything is compiled."""
    with clock.stage("import"):
        if options.cache:
            from lmmjax.compilation_cache import use_compilation_cache

            use_compilation_cache()
        import jax  # noqa: F401


def _compile(formula: str, inputs: Inputs, clock: Clock) -> Any:
    with clock.stage("compile"):
        import lmmjax

        return lmmjax.compile(formula, inputs.samples)


def _fit(
    model: Any,
    inputs: Inputs,
    options: Options,
    clock: Clock,
    before: str = "",
    statuses_in: str = "status",
) -> Any:
    """Fit every gene.

    Warnings begin with `before`; `statuses_in` is the table that has the statuses of these fits.
    """
    import pandas as pd

    Y = pd.DataFrame(
        inputs.expression.values,
        index=inputs.expression.observations,
        columns=inputs.expression.responses,
        copy=False,
    )
    words = {"fits.status": f"{statuses_in}.{options.format}"}
    with clock.stage("fit"), reworded(words, before):
        fits = model.fit(
            Y,
            reml=options.reml,
            weights=inputs.weights,
            progress=None if options.progress else False,
            allow_duplicate_responses=options.allow_duplicate_genes,
        )
    clock.move(fits.compile_seconds, "fit", "compile")
    return fits


def _write_fits(out: Any, fits: Any, fractions: pd.DataFrame) -> dict[str, Any]:
    """Write the tables of a batch of fits; returns the numbers of genes per status and singular."""
    out.write_table("variance_partition", fractions, "gene")
    out.write_table("fixed_effects", fixed_effects(fits.fixef, fits.std_errors))
    out.write_table("varcorr", *_named(fits.varcorr))
    status = fits.status_table()
    out.write_table("status", *_named(status))
    return counted(status)


def fixed_effects(fixef: pd.DataFrame, std_errors: pd.DataFrame) -> pd.DataFrame:
    """Coefficients and standard errors, one row per gene and coefficient.

    Parameters
    ----------
    fixef, std_errors : DataFrame, genes x coefficients
    """
    import numpy as np
    import pandas as pd

    n_genes, n_coefficients = fixef.shape
    return pd.DataFrame(
        {
            "gene": fixef.index.repeat(n_coefficients).astype(str),
            "coefficient": np.tile(np.asarray(fixef.columns, dtype=object), n_genes),
            "estimate": fixef.to_numpy().ravel(),
            "std_error": std_errors.to_numpy().ravel(),
        }
    )


def _named(table: pd.DataFrame) -> tuple[pd.DataFrame, str | None]:
    """The table and the label of its index, with "gene" for "response"."""
    if "response" in table.columns:
        return table.rename(columns={"response": "gene"}), None
    return table, "gene"


def _draw(out: Any, name: str, table: pd.DataFrame) -> None:
    from lmmjax import plots

    if name == "lrt_qq.png":
        columns = [c for c in table.columns if str(c).startswith("p_value")]
        axes = plots.qq({str(c): table[c].to_numpy() for c in columns})
    else:
        axes = plots.variance_partition(table)
    figure: Any = axes.figure
    figure.savefig(out.reserve(name), format="png", dpi=150)
