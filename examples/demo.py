"""Fit 20,000 simulated genes and partition their variance: the job lmmjax is made for."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import lmmjax

FORMULA = "~ Age + (1|Individual) + (1|Tissue) + (1|Batch)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--genes", type=int, default=20_000)
    parser.add_argument("--out", type=Path, default=Path("results"))
    arguments = parser.parse_args()

    data = lmmjax.datasets.simulate_expression(n_responses=arguments.genes)
    print(f"{arguments.genes:,} genes x {len(data.samples)} samples, {FORMULA}")
    model = lmmjax.compile(FORMULA, data.samples)
    print(model.explain())
    for run in ("first fit, with compilation", "second fit"):
        started = time.perf_counter()
        fits = model.fit(data.expression, reml=False)
        print(f"{run}: {time.perf_counter() - started:.2f} s")
    print(fits)

    shares = fits.variance_partition()
    print("\nvariance fractions, first genes")
    print(shares.head().round(4).to_string())
    print("\nmedian over all genes")
    print(shares.median().round(4).to_string())

    reduced = lmmjax.compile(FORMULA.replace("Age + ", ""), data.samples)
    tests = lmmjax.anova(reduced.fit(data.expression, reml=False), fits)
    print(f"\nlikelihood-ratio test of Age: {(tests['fdr'] < 0.05).sum():,} genes at FDR 5%")

    fits.to_tsv(arguments.out)
    figure = lmmjax.plots.variance_partition(shares).figure
    figure.savefig(arguments.out / "variance_partition.png", dpi=150, bbox_inches="tight")
    print(f"tables and figure: {arguments.out}/")


if __name__ == "__main__":
    main()
