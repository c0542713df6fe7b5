"""Figures; matplotlib is imported when one is drawn."""

from lmmjax.plots.caterpillar_figure import plot_caterpillar
from lmmjax.plots.partition_figure import variance_partition
from lmmjax.plots.profile_figure import plot_zeta
from lmmjax.plots.qq_figure import qq
from lmmjax.plots.residual_figure import plot_qq, plot_residuals
from lmmjax.plots.shrinkage_figure import plot_shrinkage
from lmmjax.plots.trellis_figure import plot_trellis

__all__ = [
    "plot_caterpillar",
    "plot_qq",
    "plot_residuals",
    "plot_shrinkage",
    "plot_trellis",
    "plot_zeta",
    "qq",
    "variance_partition",
]
