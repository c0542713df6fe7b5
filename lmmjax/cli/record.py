"""What a command says about itself: seconds per stage, ``run.json``, the lines on stdout."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import click

from lmmjax import __version__
from lmmjax.cli.inputs import Inputs
from lmmjax.cli.options import Options

if TYPE_CHECKING:
    import pandas as pd


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


def counted(table: pd.DataFrame) -> dict[str, Any]:
    """Numbers of genes per status, and of singular fits where the table says."""
    import numpy as np

    counts = {str(name): int(n) for name, n in table["status"].value_counts().items()}
    if "singular" not in table.columns:
        return {"status": counts}
    return {"status": counts, "singular": int(np.count_nonzero(table["singular"].eq(True)))}


def run_record(
    inputs: Inputs, options: Options, model: Any, warned: list[str], clock: Clock
) -> dict[str, Any]:
    """The part of ``run.json`` that all commands share; `model` is the largest one fitted."""
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
        "sizes": {"genes": n_genes, "samples": n_samples, "samples_fitted": model.n},
        "samples_dropped": [str(name) for name in model.samples[~model.design.kept]],
        "estimation": "REML" if options.reml else "ML",
        "device": f"{device.platform}: {device.device_kind} x {jax.device_count()}",
        "warnings": list(warned),
        "seconds": clock.record(),
    }


def say_sizes(inputs: Inputs, clock: Clock) -> None:
    """Print the sizes of the tables and where the time went."""
    n_samples, n_genes = inputs.expression.values.shape
    seconds = clock.record()
    total = seconds.pop("total")
    stages = ", ".join(f"{name} {value:.2f}" for name, value in seconds.items())
    click.echo(f"{n_genes:,} genes x {n_samples:,} samples in {total:.2f} s ({stages})")


def say_counts(what: str, counts: Mapping[str, Any]) -> None:
    """Print what :func:`counted` gives as a line that begins with `what`."""
    statuses = ", ".join(f"{name} {count:,}" for name, count in counts["status"].items())
    singular = f"; singular {counts['singular']:,}" if "singular" in counts else ""
    click.echo(f"{what}: {statuses}{singular}")
