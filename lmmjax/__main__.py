"""``python -m lmmjax`` is the command line."""

from lmmjax.cli import entry_point

entry_point()
