"""Figures; matplotlib is imported when one is drawn."""

from lmmjax.plots.partition_figure import variance_partition
from lmmjax.plots.qq_figure import qq

__all__ = ["qq", "variance_partition"]
