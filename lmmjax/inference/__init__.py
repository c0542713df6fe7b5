"""Tests about fitted models."""

from lmmjax.inference.lrt import anova, lrtest
from lmmjax.inference.mixture import ChiBarSquare
from lmmjax.inference.multiplicity import benjamini_hochberg

__all__ = ["ChiBarSquare", "anova", "benjamini_hochberg", "lrtest"]
