"""Linear models without random effects, for users of R's ``lm``."""

from lmmjax.linear.fit import lm
from lmmjax.linear.results import LmFit

__all__ = ["LmFit", "lm"]
