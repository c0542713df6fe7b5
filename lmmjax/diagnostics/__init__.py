"""Diagnostics of one fitted model: influence, variance explained, convergence, its pieces."""

from .components import coef, ngrps, repca, residuals_of_type
from .convergence import Check, check
from .deletion import Influence, influence
from .html import fit_html
from .leverage import cooks_distance, hatvalues
from .named_pieces import getme
from .shrinkage_factors import shrinkage, shrinkage_by_level
from .variance_explained import icc, r2_nakagawa

__all__ = [
    "Check", "Influence", "check", "coef", "cooks_distance", "fit_html", "getme", "hatvalues",
    "icc", "influence", "ngrps", "r2_nakagawa", "repca", "residuals_of_type", "shrinkage",
    "shrinkage_by_level",
]  # fmt: skip
