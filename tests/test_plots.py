"""Figures: what is drawn, not how it looks."""

import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lmmjax import plots
from lmmjax.errors import DTypeError, EmptyDataError

pytest.importorskip("matplotlib")


@pytest.fixture
def fractions():
    rng = np.random.default_rng(0)
    parts = rng.dirichlet([1, 4, 0.3, 5], size=500)
    return pd.DataFrame(parts, columns=["Age", "Individual", "Batch", "Residuals"])


def ticks(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_terms_by_median_residuals_last(fractions, tmp_path):
    axes: Any = plots.variance_partition(fractions)
    assert ticks(axes) == ["Individual", "Age", "Batch", "Residuals"]
    low, high = axes.get_ylim()
    assert low <= 0 < 100 <= high
    axes.figure.savefig(tmp_path / "f.png")
    assert (tmp_path / "f.png").stat().st_size > 5_000


def test_missing_constant_and_single_fractions(fractions):
    fractions.iloc[:400] = np.nan
    fractions["Batch"] = 0.0
    plots.variance_partition(fractions)
    plots.variance_partition(fractions.iloc[-1:])
    fractions["Batch"] = np.nan
    assert "Batch" in ticks(plots.variance_partition(fractions))
    with pytest.raises(EmptyDataError):
        plots.variance_partition(fractions.iloc[:3])
    with pytest.raises(EmptyDataError):
        plots.variance_partition(fractions.iloc[:0])


def test_given_axes_are_used(fractions):
    from matplotlib.figure import Figure

    left, right = Figure().subplots(1, 2)
    assert plots.variance_partition(fractions, ax=left) is left
    assert plots.qq({"a": [0.5]}, ax=right) is right


def test_qq_draws_every_small_p_value():
    rng = np.random.default_rng(0)
    p = rng.uniform(size=20_000)
    axes: Any = plots.qq({"null": p, "few": [0.5, np.nan, 0.0]})
    points = axes.get_lines()[1].get_xydata()
    np.testing.assert_allclose(points[0], [-np.log10(0.5 / p.size), -np.log10(p.min())])
    smallest = -np.log10(np.sort(p)[:50])
    assert set(smallest.round(12)) <= set(points[:, 1].round(12))
    assert np.isfinite(axes.get_lines()[2].get_xydata()).all()
    assert [t.get_text() for t in axes.get_legend().get_texts()][1:] == [
        "null (n = 20,000)",
        "few (n = 2)",
    ]


def test_qq_band_covers_uniform_p_values():
    rng = np.random.default_rng(1)
    axes: Any = plots.qq({"null": rng.uniform(size=5_000)})
    band = axes.collections[0].get_paths()[0].vertices
    x = axes.get_lines()[1].get_xdata()
    y = axes.get_lines()[1].get_ydata()
    half = len(band) // 2
    order = [np.argsort(side[:, 0]) for side in (band[:half], band[half:])]
    edges = [
        np.interp(x, side[o, 0], side[o, 1])
        for side, o in zip((band[:half], band[half:]), order, strict=True)
    ]
    inside = (y >= np.minimum(*edges) - 1e-9) & (y <= np.maximum(*edges) + 1e-9)
    assert inside.mean() > 0.8


def test_qq_bad_input():
    with pytest.raises(EmptyDataError):
        plots.qq({"a": [np.nan]})
    with pytest.raises(DTypeError, match="'a' lie outside"):
        plots.qq({"a": [1.5]})


def test_importing_plots_does_not_import_matplotlib():
    code = "import sys, lmmjax.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
