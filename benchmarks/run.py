"""The benchmark: lmmjax against lme4 on the same data, in one run, on the same cores.

    python benchmarks/run.py                     # all problems, 20,000 responses
    python benchmarks/run.py --responses 2000 three_crossed one_term

lme4 fits the first ``--peer-responses`` responses one by one on one thread (``Rscript`` with
lme4 must be on the path; without it its column stays empty).  Times of lmmjax are of hot runs of
fit + variance partition, in CPU seconds, that is: per core; compile time is the first run's
surplus.  The two take turns for several rounds, because a machine's speed may drift; every
column is the median over rounds, the ratio too.  Writes ``benchmarks/results/<label>.json`` and
``.md``.
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


def measure(problem: Problem, rounds: int, runs: int, peer_count: int) -> dict:
    """Hot and cold times of lmmjax on one problem, lme4's, and how they compare."""
    import lmmjax

    model = lmmjax.compile(problem.formula, problem.samples)

    def once():
        wall, cpu = time.perf_counter(), time.process_time()
        fits = model.fit(
            problem.expression, reml=problem.reml, weights=problem.weights, progress=False
        )
        fits.variance_partition()
        return fits, time.perf_counter() - wall, time.process_time() - cpu

    fits, cold, _ = once()
    turns, peers = [], []
    for _ in range(rounds):
        peers.append(lme4(problem, peer_count))
        timed = [once()[1:] for _ in range(runs)]
        turns.append([median(column) for column in zip(*timed, strict=True)])
    wall, cpu = (median(column) for column in zip(*turns, strict=True))
    row = {
        "problem": problem.name,
        "formula": problem.formula,
        "responses": len(fits),
        "path": model.explain(),
        "wall_s": wall,
        "cpu_s": cpu,
        "us_per_response": cpu / len(fits) * 1e6,
        "compile_s": cold - wall,
        "converged": int(fits.converged.sum()),
        "singular": int(fits.singular.sum()),
        "max_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "target": problem.target,
    }
    theirs = [peer for peer in peers if peer is not None]
    if theirs:
        row |= compare(theirs, [turn[1] / len(fits) for turn in turns], fits.objective.to_numpy())
    return row


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


def compare(peers: list[dict], ours: list[float], objective: np.ndarray) -> dict:
    """Ratio per core, round by round, and the worst objective against lme4's default optimum.

    ``ours``: CPU seconds per response of each round.
    """
    call = "refit" if peers[0]["seconds_per_gene_refit"] else "lmer"
    seconds = [peer[f"seconds_per_gene_{call}"] for peer in peers]
    ratios = [theirs / mine for theirs, mine in zip(seconds, ours, strict=True)]
    theirs = np.array(peers[0]["objectives"], dtype=float)
    gap = objective[: len(theirs)] - theirs
    return {
        "lme4_call": call,
        "lme4_ms_per_response": median(seconds) * 1e3,
        "ratio_per_core": median(ratios),
        "ratio_per_core_rounds": ratios,
        "worst_gap_to_lme4": float(np.nanmax(gap)),
        "best_gain_on_lme4": float(np.nanmax(-gap)),
        "peer_versions": peers[0].get("versions"),
    }


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


def write_table(name: str, lines: list[str]) -> None:
    """Write ``results/<name>.md``, and show it."""
    text = "\n".join(lines) + "\n"
    (HERE / "results" / f"{name}.md").write_text(text)
    print(text)


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
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=3, help="hot runs a round")
    parser.add_argument("--label", default="cpu")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    for name in arguments.problems or PROBLEMS:
        problem = PROBLEMS[name](arguments.responses)
        peer_count = min(arguments.peer_responses, arguments.responses)
        row = measure(problem, arguments.rounds, arguments.runs, peer_count)
        rows.append(row)
        print(json.dumps(row), flush=True)
    machine = describe_machine()
    test = likelihood_ratio(
        PROBLEMS["three_crossed"](arguments.responses), arguments.rounds * arguments.runs
    )
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
