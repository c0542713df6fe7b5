"""What the commands do: read, compile, fit, write, and say where the time went."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lmmjax import __version__
from lmmjax.cli.options import Options
from lmmjax.errors import AlignmentError, TableError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from lmmjax.expression.align import AlignedExpression
    from lmmjax.expression.write import OutputDirectory

#: What the commands may leave in a directory, all of which goes when one of them replaces it.
_TABLES = ("variance_partition", "fixed_effects", "varcorr", "status", "lrt")
_FIGURES = ("variance_partition.png", "lrt_qq.png")


@dataclass(frozen=True)
class Inputs:
    """Aligned tables."""

    expression: AlignedExpression
    samples: pd.DataFrame
    weights: np.ndarray | None


class Clock:
    """Seconds per stage."""

    def __init__(self) -> None:
        self.start = time.perf_counter()
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time spent in the block to stage `name`."""
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def move(self, seconds: float, source: str, target: str) -> None:
        """Count seconds of one stage towards another."""
        self.seconds[source] -= seconds
        self.seconds[target] += seconds

    def record(self) -> dict[str, float]:
        """Seconds per stage and in all."""
        total = time.perf_counter() - self.start
        return {name: round(s, 4) for name, s in {**self.seconds, "total": total}.items()}


def run_fit(
    command: str, formula: str, options: Options, warned: list[str], by: str = "term"
) -> None:
    """Fit one model to every gene and write its tables (``varpart`` and ``fit``)."""
    clock = Clock()
    with clock.stage("import"):
        out_directory = _output_directory(options)
    with out_directory as out:
        inputs = _read(options, clock)
        _prepare(options, clock)
        model, fits = _fit(formula, inputs, options, clock)
        with clock.stage("write"):
            fractions = fits.variance_partition(by=by)
            counts = _write_fits(out, fits, fractions)
            if options.figure:
                _draw(out, "variance_partition.png", fractions)
        model_record = {"formula": formula, "path": model.explain()}
        record = _record(inputs, options, counts, warned, clock, model.n)
        out.write_json("run.json", {"command": command, **model_record, **record})
    _summary(inputs, options, counts, clock)
    medians = fractions.median().sort_values(ascending=False)
    click.echo(
        "median fraction of variance: "
        + ", ".join(f"{term} {100 * value:.1f}%" for term, value in medians.items())
    )
    click.echo(f"results in {options.out}")


def run_lrt(full: str, reduced: str, options: Options, warned: list[str]) -> None:
    """Fit two nested models to every gene, compare them, write tables of test and full model."""
    clock = Clock()
    with clock.stage("import"):
        out_directory = _output_directory(options)
    with out_directory as out:
        inputs = _read(options, clock)
        _prepare(options, clock)
        reduced_model, reduced_fits = _fit(reduced, inputs, options, clock)
        full_model, full_fits = _fit(full, inputs, options, clock)
        with clock.stage("test"):
            import lmmjax

            table = lmmjax.anova(reduced_fits, full_fits)
        with clock.stage("write"):
            out.write_table("lrt", *_named(table))
            counts = _write_fits(out, full_fits, full_fits.variance_partition(by="term"))
            if options.figure:
                _draw(out, "lrt_qq.png", table)
        model_record = {
            "formula": {"full": full, "reduced": reduced},
            "path": {"full": full_model.explain(), "reduced": reduced_model.explain()},
        }
        record = _record(inputs, options, counts, warned, clock, full_model.n)
        out.write_json("run.json", {"command": "lrt", **model_record, **record})
    _summary(inputs, options, counts, clock)
    click.echo(f"results in {options.out}")


def _output_directory(options: Options) -> OutputDirectory:
    from lmmjax.expression.write import OutputDirectory

    return OutputDirectory(
        options.out, _TABLES, others=_FIGURES, format=options.format, force=options.force
    )


def _read(options: Options, clock: Clock) -> Inputs:
    with clock.stage("read"):
        from lmmjax.expression import tables
        from lmmjax.expression.align import align_expression, align_weights
        from lmmjax.expression.names import duplicated_names, listing

        Y: Any
        if tables.file_kind(options.expression) == "h5ad":
            from lmmjax.expression.anndata_view import read_h5ad

            Y = read_h5ad(options.expression)
            samples = None if options.samples else Y.obs
        else:
            samples = None
            Y = tables.read_expression(
                options.expression,
                orientation=options.genes_in,
                drop_columns=options.drop_column,
            )
        if options.samples is not None:
            samples = tables.read_samples(options.samples, options.sample_column)
        if samples is None:
            raise click.UsageError("--samples is needed unless --expression is an .h5ad file")
        expression = align_expression(
            Y,
            samples,
            layer=options.layer,
            allow_duplicate_responses=True,
            name=str(options.expression),
        )
        duplicates = duplicated_names(expression.responses)
        if duplicates and not options.allow_duplicate_genes:
            raise AlignmentError(
                f"{options.expression}: names of genes occur more than once: "
                f"{listing(duplicates)}; make them unique or pass --allow-duplicate-genes"
            )
        weights = align_weights(_weights(options, samples), expression, samples)
    return Inputs(expression, samples, weights)


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
    return tables.read_expression(options.weights, orientation=options.genes_in)


def _prepare(options: Options, clock: Clock) -> None:
    """Import JAX, the cache set up before anything is compiled."""
    with clock.stage("import"):
        if options.cache:
            from lmmjax.compilation_cache import use_compilation_cache

            use_compilation_cache()
        import jax  # noqa: F401


def _fit(formula: str, inputs: Inputs, options: Options, clock: Clock) -> tuple[Any, Any]:
    import pandas as pd

    import lmmjax

    with clock.stage("compile"):
        model = lmmjax.compile(formula, inputs.samples)
    Y = pd.DataFrame(
        inputs.expression.values,
        index=inputs.expression.observations,
        columns=inputs.expression.responses,
        copy=False,
    )
    with clock.stage("fit"):
        fits = model.fit(
            Y,
            reml=options.reml,
            weights=inputs.weights,
            progress=None if options.progress else False,
            allow_duplicate_responses=options.allow_duplicate_genes,
        )
    clock.move(fits.compile_seconds, "fit", "compile")
    return model, fits


def _write_fits(out: Any, fits: Any, fractions: pd.DataFrame) -> dict[str, Any]:
    """Write the tables of a batch of fits; returns the numbers of genes per status and singular."""
    out.write_table("variance_partition", fractions, "gene")
    out.write_table("fixed_effects", fixed_effects(fits.fixef, fits.std_errors))
    out.write_table("varcorr", *_named(fits.varcorr))
    status = fits.status_table()
    out.write_table("status", *_named(status))
    counts = {str(name): int(n) for name, n in status["status"].value_counts().items()}
    return {"status": counts, "singular": int(status["singular"].eq(True).sum())}


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


def _record(
    inputs: Inputs,
    options: Options,
    counts: dict[str, Any],
    warned: list[str],
    clock: Clock,
    n_fitted: int,
) -> dict[str, Any]:
    import jax

    n_samples, n_genes = inputs.expression.values.shape
    device = jax.devices()[0]
    packages = ("jax", "jaxlib", "numpy", "pandas", "formulaic")
    return {
        "version": __version__,
        "versions": {"python": platform.python_version(), **{p: version(p) for p in packages}},
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "expression": str(options.expression),
        "samples": None if options.samples is None else str(options.samples),
        "weights": options.weights,
        "sizes": {"genes": n_genes, "samples": n_samples, "samples_fitted": n_fitted},
        "estimation": "REML" if options.reml else "ML",
        "device": f"{device.platform}: {device.device_kind} x {jax.device_count()}",
        **counts,
        "warnings": list(warned),
        "seconds": clock.record(),
    }


def _draw(out: Any, name: str, table: pd.DataFrame) -> None:
    from lmmjax import plots

    if name == "lrt_qq.png":
        columns = [c for c in table.columns if str(c).startswith("p_value")]
        axes = plots.qq({str(c): table[c].to_numpy() for c in columns})
    else:
        axes = plots.variance_partition(table)
    figure: Any = axes.figure
    figure.savefig(out.reserve(name), format="png", dpi=150)


def _summary(inputs: Inputs, options: Options, counts: dict[str, Any], clock: Clock) -> None:
    n_samples, n_genes = inputs.expression.values.shape
    seconds = clock.record()
    total = seconds.pop("total")
    stages = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    click.echo(f"{n_genes:,} genes x {n_samples:,} samples in {total:.2f} s ({stages})")
    statuses = ", ".join(f"{name} {count:,}" for name, count in counts["status"].items())
    estimation = "REML" if options.reml else "ML"
    click.echo(f"{estimation} fits: {statuses}; singular {counts['singular']:,}")
