"""The benchmark: lmmjax against lme4 on the same data, in one run, on the same cores.

    python benchmarks/run.py                     # all problems, 20,000 responses
    python benchmarks/run.py --responses 2000 three_crossed one_term

lme4 fits the first ``--peer-responses`` responses one by one on one thread (``Rscript`` with
lme4 must be on the path; without it its column stays empty).  Times of lmmjax are the median
of several hot runs of fit + variance partition, in CPU seconds, that is: per core; compile
time is the first run's surplus.  Writes ``benchmarks/results/<label>.json`` and ``.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from problems import PROBLEMS, Problem

HERE = Path(__file__).parent


def measure(problem: Problem, runs: int) -> dict:
    """Hot and cold times of lmmjax on one problem."""
    import lmmjax

    model = lmmjax.compile(problem.formula, problem.samples)

    def once():
        wall, cpu = time.perf_counter(), time.process_time()
        fits = model.fit(
            problem.expression, reml=problem.reml, weights=problem.weights, progress=False
        )
        fits.variance_partition()
        return fits, time.perf_counter() - wall, time.process_time() - cpu

    _, cold, _ = once()
    timed = [once() for _ in range(runs)]
    fits = timed[-1][0]
    wall = median(t[1] for t in timed)
    return {
        "problem": problem.name,
        "formula": problem.formula,
        "responses": len(fits),
        "path": model.explain(),
        "wall_s": wall,
        "cpu_s": median(t[2] for t in timed),
        "compile_s": cold - wall,
        "converged": int(fits.converged.sum()),
        "singular": int(fits.singular.sum()),
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "objective": fits.objective.to_list(),
        "target": problem.target,
    }


def likelihood_ratio(problem: Problem, runs: int) -> dict:
    """Hot times of one fit, and of both fits and the table of a test of Age."""
    import lmmjax

    full = lmmjax.compile(problem.formula, problem.samples)
    null = lmmjax.compile(problem.formula.replace("Age + ", ""), problem.samples)

    def once():
        began = time.perf_counter()
        fits = full.fit(problem.expression, reml=False, progress=False)
        one = time.perf_counter() - began
        smaller = null.fit(problem.expression, reml=False, progress=False)
        lmmjax.anova(smaller, fits)
        return one, time.perf_counter() - began

    once()
    timed = [once() for _ in range(runs)]
    one, test = median(t[0] for t in timed), median(t[1] for t in timed)
    return {"responses": len(problem.expression), "one_fit_s": one, "test_s": test}


def lme4(problem: Problem, count: int) -> dict | None:
    """lme4's time per response, single-threaded, and its objectives."""
    if shutil.which("Rscript") is None or count == 0:
        return None
    some = problem.expression.iloc[:count]
    with tempfile.TemporaryDirectory() as folder:
        paths = {name: f"{folder}/{name}" for name in ("expression.tsv", "samples.csv", "w.tsv")}
        some.to_csv(paths["expression.tsv"], sep="\t", na_rep="NA")
        problem.samples.to_csv(paths["samples.csv"])
        command = [
            "Rscript",
            str(HERE / "peers" / "lme4_refit.R"),
            f"--expression={paths['expression.tsv']}",
            f"--samples={paths['samples.csv']}",
            f"--formula={problem.formula}",
            f"--genes={count}",
        ]
        if problem.weights is not None:
            problem.weights.iloc[:count].to_csv(paths["w.tsv"], sep="\t")
            command.append(f"--weights={paths['w.tsv']}")
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


def compare(ours: dict, peer: dict | None) -> dict:
    """Ratio per core, and the worst objective against lme4's default optimum."""
    objective = ours.pop("objective")
    row = dict(ours)
    row["us_per_response"] = ours["cpu_s"] / ours["responses"] * 1e6
    if peer is not None:
        seconds = peer["seconds_per_gene_refit"] or peer["seconds_per_gene_lmer"]
        row["lme4_call"] = "refit" if peer["seconds_per_gene_refit"] else "lmer"
        row["lme4_ms_per_response"] = seconds * 1e3
        row["ratio_per_core"] = seconds / (ours["cpu_s"] / ours["responses"])
        theirs = np.array(peer["objectives"], dtype=float)
        gap = np.array(objective[: len(theirs)]) - theirs
        row["worst_gap_to_lme4"] = float(np.nanmax(gap))
        row["best_gain_on_lme4"] = float(np.nanmax(-gap))
        row["peer_versions"] = peer.get("versions")
    return row


def table(rows: list[dict], machine: str) -> str:
    """Markdown table of the results."""
    lines = [
        f"{machine}.",
        "",
        "| work | responses | hot wall (s) | µs per response and core | compile (s) |"
        " lme4 (ms, call) | ratio per core | target | worst objective − lme4's |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        peer = ("–", "–", "–")
        if "ratio_per_core" in r:
            peer = (
                f"{r['lme4_ms_per_response']:.1f} ({r['lme4_call']})",
                f"{r['ratio_per_core']:.0f}",
                f"{r['worst_gap_to_lme4']:.1e}",
            )
        lines.append(
            f"| {r['problem']} | {r['responses']:,} | {r['wall_s']:.3f} |"
            f" {r['us_per_response']:.1f} | {r['compile_s']:.1f} | {peer[0]} | {peer[1]} |"
            f" {r['target']} | {peer[2]} |"
        )
    return "\n".join(lines) + "\n"


def put_in_readme(text: str) -> None:
    """Replace the table between the README's markers."""
    readme = HERE.parent / "README.md"
    before, rest = readme.read_text().split("<!-- benchmark:start -->")
    after = rest.split("<!-- benchmark:end -->")[1]
    readme.write_text(f"{before}<!-- benchmark:start -->\n{text}<!-- benchmark:end -->{after}")


def describe_machine() -> str:
    import jax
    import jaxlib

    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":")[1].strip()
            for line in info.read_text().splitlines()
            if line.startswith("model name")
        ]
        cpu = names[0] if names else cpu
    device = jax.devices()[0]
    return (
        f"{cpu}, {os.cpu_count()} cores; Python {platform.python_version()}, "
        f"jax {jax.__version__}, jaxlib {jaxlib.__version__}, device {device.device_kind}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("problems", nargs="*", choices=[[], *PROBLEMS], default=[])
    parser.add_argument("--responses", type=int, default=20_000)
    parser.add_argument("--peer-responses", type=int, default=60)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--label", default="cpu")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name in arguments.problems or PROBLEMS:
        problem = PROBLEMS[name](arguments.responses)
        peer_count = min(arguments.peer_responses, arguments.responses)
        before = lme4(problem, peer_count)
        row = compare(measure(problem, arguments.runs), before)
        rows.append(row)
        print(json.dumps(row), flush=True)
    machine = describe_machine()
    test = likelihood_ratio(PROBLEMS["three_crossed"](arguments.responses), arguments.runs)
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    text = table(rows, machine) + (
        f"\nLikelihood-ratio test of Age in the first model, {test['responses']:,} responses: "
        f"{test['test_s']:.3f} s for both fits and the table, "
        f"{test['test_s'] / test['one_fit_s']:.1f} times one fit (target 2).\n"
    )
    (folder / f"{arguments.label}.md").write_text(text)
    (folder / f"{arguments.label}.json").write_text(
        json.dumps({"machine": machine, "rows": rows, "likelihood_ratio": test}, indent=1)
    )
    print(text)
    if not arguments.problems and arguments.responses == 20_000:
        put_in_readme(text)


if __name__ == "__main__":
    main()
