"""Expression data: reading tables, aligning them with samples, writing results."""

from lmmjax.expression.align import AlignedExpression, align_expression, align_weights
from lmmjax.expression.tables import read_expression, read_samples
from lmmjax.expression.write import OutputDirectory, write_table

__all__ = [
    "AlignedExpression",
    "OutputDirectory",
    "align_expression",
    "align_weights",
    "read_expression",
    "read_samples",
    "write_table",
]
