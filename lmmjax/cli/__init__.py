"""The command line: ``lmmjax varpart``, ``lmmjax lrt`` and ``lmmjax fit``.

Exit codes: 0; 1 for bad input (one line on stderr); 2 for wrong usage; 130 when interrupted.
Start-up time is part of every run, so pandas, Arrow and JAX are imported only by the commands.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Any

import click

from lmmjax import __version__
from lmmjax.cli.messages import one_line, warnings_to_stderr
from lmmjax.cli.options import Options, formula_option, shared_options
from lmmjax.errors import LmmError


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="lmmjax", message="%(prog)s %(version)s")
def command() -> None:
    """Fit one linear mixed model to every gene of an expression matrix."""


@command.command()
@formula_option("--formula")
@shared_options(reml=False)
@click.option(
    "--by",
    type=click.Choice(["term", "column"]),
    default="term",
    show_default=True,
    help="Fractions per term of the formula, or per coefficient.",
)
@click.pass_obj
def varpart(warned: list[str], formula: str, by: str, **given: Any) -> None:
    """Fractions of the variance of every gene explained by each term."""
    from lmmjax.cli.run import run_fit

    run_fit("varpart", formula, Options(**given), warned, by=by)


@command.command()
@formula_option("--formula")
@shared_options(reml=True)
@click.pass_obj
def fit(warned: list[str], formula: str, **given: Any) -> None:
    """Coefficients, variance components and fractions of variance of every gene."""
    from lmmjax.cli.run import run_fit

    run_fit("fit", formula, Options(**given), warned)


@command.command()
@formula_option("--full")
@formula_option("--reduced")
@shared_options(reml=False)
@click.pass_obj
def lrt(warned: list[str], full: str, reduced: str, **given: Any) -> None:
    """A likelihood-ratio test of two nested models for every gene.

    REML is allowed only if both models have the same fixed effects.
    """
    from lmmjax.cli.run import run_lrt

    run_lrt(full, reduced, Options(**given), warned)


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        with warnings_to_stderr() as warned:
            code = command.main(
                None if args is None else list(args),
                prog_name="lmmjax",
                standalone_mode=False,
                obj=warned,
            )
            return int(code or 0)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("lmmjax: interrupted, nothing written", err=True)
        return 130
    except BrokenPipeError:
        return 0  # whoever read our summary has read enough; the results are written
    except (LmmError, OSError) as error:
        click.echo(f"lmmjax: error: {one_line(error)}", err=True)
    except MemoryError:
        click.echo("lmmjax: error: not enough memory for these tables", err=True)
    return 1


def entry_point() -> None:
    """What the installed ``lmmjax`` script calls: :func:`main` with a clean end on SIGTERM."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    sys.exit(main())
