"""One small model, lme4's sleepstudy: the first ``lmer`` of a process, and the ones after it.

    python benchmarks/small_single.py        # needs Rscript with lme4

Every figure is the median over several fresh processes, without a compilation cache; the wait
for ``from lmmjax import lmer`` and ``library(lme4)`` is a column of its own.  Writes
``benchmarks/results/small_single.md``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from run import describe_machine, write_table

HERE = Path(__file__).parent
FORMULAS = ("Reaction ~ Days + (1 | Subject)", "Reaction ~ Days + (Days | Subject)")
PROCESSES, CALLS = 7, 20
OURS = """
import json, statistics, sys, time
began = time.perf_counter()
from lmmjax import lmer
from lmmjax.datasets import load_sleepstudy
loaded = time.perf_counter() - began
data = load_sleepstudy()
times = []
for _ in range(int(sys.argv[2]) + 1):
    began = time.perf_counter()
    fit = lmer(sys.argv[1], data)
    times.append(time.perf_counter() - began)
print(json.dumps([loaded, times[0], statistics.median(times[1:]), fit.objective]))
"""


def timed(command: list[str], formula: str) -> list[float]:
    """Seconds to load, of the first call and of a later one, and the objective."""
    runs = []
    for _ in range(PROCESSES):
        out = subprocess.run(
            [*command, formula, str(CALLS)], capture_output=True, text=True, check=True
        )
        runs.append(json.loads(out.stdout))
    return [median(column) for column in zip(*runs, strict=True)]


def main() -> None:
    lines = [
        f"{describe_machine()}; median of {PROCESSES} processes; lme4's times in brackets.",
        "",
        "| model | load (s) | first call (ms) | later calls (ms) | objective − lme4's |",
        "|---|---:|---:|---:|---:|",
    ]
    with tempfile.TemporaryDirectory() as empty:
        ours = ["env", f"JAX_COMPILATION_CACHE_DIR={empty}", sys.executable, "-c", OURS]
        for formula in FORMULAS:
            mine = timed(ours, formula)
            theirs = timed(["Rscript", str(HERE / "peers" / "lme4_small.R")], formula)
            cell = formula.replace("|", "\\|")  # in a table, even in code
            lines.append(
                f"| `{cell}` | {mine[0]:.2f} ({theirs[0]:.2f}) | {mine[1] * 1e3:.0f}"
                f" ({theirs[1] * 1e3:.0f}) | {mine[2] * 1e3:.0f} ({theirs[2] * 1e3:.0f}) |"
                f" {mine[3] - theirs[3]:.1e} |"
            )
    write_table("small_single", lines)


if __name__ == "__main__":
    main()
