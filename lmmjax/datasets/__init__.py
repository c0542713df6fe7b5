"""Example data: a packaged classic, and simulated expression of any size."""

from lmmjax.datasets.simulate import SimulatedExpression, simulate_expression
from lmmjax.datasets.sleepstudy import load_sleepstudy

__all__ = ["SimulatedExpression", "load_sleepstudy", "simulate_expression"]
