#!/usr/bin/env python
"""Compare every gene of GSE131411 with lme4, polished, and print the worst differences.

    python scripts/compare_gse131411.py <reference directory> [--data <directory>]

The reference directory is what ``scripts/reference_gse131411.R`` wrote; the data directory holds
``GSE131411_cs_counts.csv.gz`` and ``GSE131411_cs_samples.csv``. Exit code 1 if a limit is broken:
objective within 1e-8 relative of the polished one, none worse than lme4's default.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

import lmmjax

MODELS = {
    "time_fixed_ml": ("~ time + (1|patient)", False),
    "time_fixed_reml": ("~ time + (1|patient)", True),
    "time_random_reml": ("~ (1|time) + (1|patient)", True),
}
OBJECTIVE_LIMIT = 1e-8  # relative; absolute for objectives below 1
ROUNDING = 1e-9  # objectives closer than this are the same


def read_log_cpm(directory: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """log2 counts per million (genes x samples) and the sample table."""
    counts = pd.read_csv(directory / "GSE131411_cs_counts.csv.gz", index_col=0)
    samples = pd.read_csv(directory / "GSE131411_cs_samples.csv", index_col=0, dtype=str)
    counts = counts[samples.index]
    return np.log2((counts + 0.5) / (counts.sum() + 1) * 1e6), samples


def compare(name: str, reference: pd.DataFrame, fits: "lmmjax.FitBatch") -> dict[str, float | str]:
    """Worst differences of one model, one row of the table."""
    objective = np.asarray(fits.objective)
    expected = reference["objective"].to_numpy()
    theta = np.asarray(fits.theta).reshape(len(expected), -1)
    theta_columns = [column for column in reference if column.startswith("theta_")]
    fixef_columns = [column for column in reference if column.startswith("fixef_")]
    gap = (objective - expected) / np.maximum(np.abs(expected), 1.0)
    default_gap = objective - reference["default_objective"].to_numpy()
    return {
        "model": name,
        "genes": len(expected),
        "not converged": int((~np.asarray(fits.converged)).sum()),
        "singular": int(np.asarray(fits.singular).sum()),
        "objective, worst relative gap": float(np.max(np.abs(gap))),
        "theta, worst difference": float(np.max(np.abs(theta - reference[theta_columns]))),
        "sigma, worst relative": float(
            np.max(np.abs(np.asarray(fits.sigma) / reference["sigma"].to_numpy() - 1))
        ),
        "fixef, worst difference": float(
            np.max(np.abs(np.asarray(fits.fixef) - reference[fixef_columns].to_numpy()))
        ),
        "worse than lme4's default": int((default_gap > ROUNDING).sum()),
        "better than lme4's default by": float(np.max(-default_gap)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare lmmjax with polished lme4 fits.")
    parser.add_argument("reference", type=Path)
    default = Path(__file__).parents[2] / "shared" / "data"
    parser.add_argument("--data", type=Path, default=default)
    arguments = parser.parse_args()

    expression, samples = read_log_cpm(arguments.data)
    rows = []
    for name, (formula, reml) in MODELS.items():
        path = arguments.reference / f"{name}.csv.gz"
        if not path.exists():
            print(f"{path} is missing, {name} left out", file=sys.stderr)
            continue
        reference = pd.read_csv(path, index_col="gene")
        fits = lmmjax.compile(formula, samples).fit(expression.loc[reference.index], reml=reml)
        rows.append(compare(name, reference, fits))
    if not rows:
        return 1
    table = pd.DataFrame(rows).set_index("model").T
    print(table.to_string(float_format=lambda value: f"{value:.2e}"))
    failed = [
        row["model"]
        for row in rows
        if not row["objective, worst relative gap"] <= OBJECTIVE_LIMIT
        or row["worse than lme4's default"]
    ]
    if failed:
        print(f"limits broken: {', '.join(map(str, failed))}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
