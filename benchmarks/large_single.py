"""One large crossed model: lme4's InstEval (73,421 ratings, 2,972 students x 1,128 lecturers).

    python benchmarks/large_single.py        # needs Rscript with lme4, which has the data

Times of lmmjax are of the whole ``lmer`` call, data frame to estimates, all cores; compile time is
the first call's surplus.  lme4 runs with its defaults.  Writes
``benchmarks/results/large_single.md``.
"""

from __future__ import annotations

import json
import resource
import subprocess
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import pandas as pd
from run import describe_machine, write_table

HERE = Path(__file__).parent
FORMULAS = (
    "y ~ service + (1|s) + (1|d) + (1|dept)",
    "y ~ service + (1|s) + (1|d) + (1|dept) + (1|dept:service)",
)
RUNS = 5


def main() -> None:
    import lmmjax

    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/insteval.csv"
        command = ["Rscript", str(HERE / "peers" / "lme4_large.R"), f"--data={path}", *FORMULAS]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        peer = json.loads(out.stdout)
        data = pd.read_csv(path, dtype={name: str for name in ("s", "d", "dept", "service")})
    lines = [
        f"{describe_machine()}; lme4 {peer['versions']['lme4']}, R {peer['versions']['R']}.",
        "",
        "| model | lmmjax, hot (s) | compile (s) | lme4 (s) | ratio | objective − lme4's |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for formula, theirs in zip(FORMULAS, peer["fits"], strict=True):
        times = []
        for _ in range(RUNS + 1):
            began = time.perf_counter()
            fit = lmmjax.lmer(formula, data)
            times.append(time.perf_counter() - began)
        hot = median(times[1:])
        cell = formula.replace("|", "\\|")  # in a table, even in code
        lines.append(
            f"| `{cell}` | {hot:.2f} | {times[0] - hot:.1f} | {theirs['seconds']:.1f} |"
            f" {theirs['seconds'] / hot:.0f} | {fit.objective - theirs['objective']:.1e} |"
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    lines.append(f"\nMost memory of the whole process: {memory:.2f} GB.")
    write_table("large_single", lines)


if __name__ == "__main__":
    main()
