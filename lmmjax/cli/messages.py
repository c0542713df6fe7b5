"""Messages on stderr: one line per warning."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from lmmjax.errors import LmmWarning


def one_line(error: object) -> str:
    """A message as one line: what, and on which file if it is the system that complains.

    >>> one_line(ValueError("two\\n  lines"))
    'two lines'
    """
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__


@contextmanager
def warnings_to_stderr() -> Iterator[list[str]]:
    """Print each distinct warning as a line on stderr; yields the list of what was said."""
    said: list[str] = []

    def show(message: Warning | str, *_: Any, **__: Any) -> None:
        text = one_line(message)
        if text not in said:
            said.append(text)
            click.echo(f"lmmjax: warning: {text}", err=True)

    with warnings.catch_warnings():
        warnings.simplefilter("always", LmmWarning)
        # Notices among developers, of no use to whoever runs a command.
        warnings.filterwarnings("ignore", category=FutureWarning, module="anndata")
        warnings.filterwarnings("ignore", category=DeprecationWarning, module="anndata")
        warnings.showwarning = show
        yield said


@contextmanager
def reworded(words: Mapping[str, str], before: str = "") -> Iterator[None]:
    """Replace words in the warnings of a block, and put `before` in front of them.

    The words are names of files, in place of attributes in Python.
    """
    show = warnings.showwarning

    def show_reworded(message: Warning | str, *more: Any, **named: Any) -> None:
        text = before + str(message)
        for old, new in words.items():
            text = text.replace(old, new)
        category = type(message) if isinstance(message, Warning) else UserWarning
        show(category(text), *more, **named)

    warnings.showwarning = show_reworded
    try:
        yield
    finally:
        warnings.showwarning = show
