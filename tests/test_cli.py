"""The command line: files in, files out, exit codes. The engine is replaced by a stand-in."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import lmmjax
from lmmjax.cli import main
from lmmjax.compilation_cache import cache_directory, use_compilation_cache
from lmmjax.design import build_design
from lmmjax.errors import FitWarning, FormulaError

GENES = ["001", "1", "NA", "nan", "g5"]
SAMPLES = [f"s{i}" for i in range(6)]
TABLES = ["fixed_effects", "run.json", "status", "varcorr", "variance_partition"]


class StandIn:
    """Fits whose numbers say what reached the engine."""

    def __init__(self, Y, reml, weights):
        self.Y, self.reml, self.weights = Y, reml, weights
        self.responses = Y.columns
        self.compile_seconds = 0.0
        mean = Y.mean().to_numpy()
        self.fixef = pd.DataFrame({"(Intercept)": mean, "age": mean / 3}, index=Y.columns)
        self.std_errors = self.fixef / 10
        self.varcorr = pd.DataFrame({"response": Y.columns, "group": "Residual", "vcov": 1.0})

    def variance_partition(self, by="term"):
        share = pd.DataFrame({"g": 0.25, "age": 0.0, "Residuals": 0.75}, index=self.responses)
        return share if by == "term" else share.rename(columns={"age": "age-column"})

    def status_table(self):
        n = len(self.responses)
        return pd.DataFrame(
            {
                "response": self.responses,
                "status": "converged",
                "singular": [True] + [False] * (n - 1),
            }
        )


@pytest.fixture
def engine(monkeypatch):
    seen = SimpleNamespace(formulas=[], fits=[], anova=[])

    def compile_(formula, samples, **_):
        if "nonsense" in formula:
            raise FormulaError("unknown column 'nonsense';\n did you mean 'age'?")
        seen.formulas.append(formula)
        seen.samples = samples
        design = build_design(formula, samples, checks=False)
        return SimpleNamespace(
            n=design.n,
            fit=fit,
            explain=lambda weights: "spectral, one scalar term",
            design=design,
            samples=samples.index,
            n_parameters=design.rank + 1 + len(design.terms),
        )

    def fit(Y, reml=True, weights=None, progress=None, **more):
        seen.more, seen.progress = more, progress
        said = "2 responses\nwere not fitted; see fits.status"
        warnings.warn(said, FitWarning, stacklevel=2)
        seen.fits.append(StandIn(Y, reml, weights))
        return seen.fits[-1]

    def anova(fits0, fits1):
        seen.anova.append((fits0, fits1))
        status = ["ok"] * (len(fits0.responses) - 1) + ["failed_fit"]
        return pd.DataFrame({"response": fits0.responses, "p_value": 0.5, "status": status})

    monkeypatch.setitem(vars(lmmjax), "compile", compile_)  # both are imported on first use
    monkeypatch.setitem(vars(lmmjax), "anova", anova)
    return seen


@pytest.fixture
def data(tmp_path):
    rng = np.random.default_rng(0)
    Y = pd.DataFrame(rng.normal(5, 1, (5, 6)).round(3), index=GENES, columns=SAMPLES)
    Y.to_csv(tmp_path / "e.tsv.gz", sep="\t", index_label="gene")
    table = pd.DataFrame({"age": range(6), "w": 0.5, "g": list("aabbcc")}, index=SAMPLES)
    table.iloc[::-1].to_csv(tmp_path / "s.csv", index_label="sample")
    return SimpleNamespace(
        path=tmp_path,
        Y=Y,
        table=table,
        inputs=["--expression", str(tmp_path / "e.tsv.gz"), "--samples", str(tmp_path / "s.csv")],
        out=tmp_path / "results",
    )


def run(data, *args, command="fit", formula=("--formula", "~ age + (1|g)")):
    return main([command, *data.inputs, *formula, "--out", str(data.out), "--no-cache", *args])


def names(path):
    return sorted(p.name for p in path.iterdir())


def read(data, name):
    return pd.read_csv(data.out / name, sep="\t", dtype={"gene": str}, keep_default_na=False)


@pytest.mark.parametrize(("command", "reml"), [("varpart", False), ("fit", True)])
def test_tables_and_record(engine, data, capsys, command, reml):
    assert run(data, command=command) == 0
    assert names(data.out) == [n if n == "run.json" else f"{n}.tsv" for n in TABLES]
    for name in ("variance_partition", "status", "varcorr"):
        assert read(data, f"{name}.tsv")["gene"].tolist() == GENES
    fixed = read(data, "fixed_effects.tsv")
    assert list(fixed.columns) == ["gene", "coefficient", "estimate", "std_error"]
    assert fixed["gene"].tolist() == [g for g in GENES for _ in range(2)]
    means = fixed[fixed["coefficient"] == "(Intercept)"]["estimate"]
    np.testing.assert_allclose(means, data.Y.mean(axis=1))
    record = json.loads((data.out / "run.json").read_text())
    assert record["command"] == command
    assert record["formula"] == "~ age + (1|g)"
    assert record["sizes"] == {"genes": 5, "samples": 6, "samples_fitted": 6}
    assert record["estimation"] == ("REML" if reml else "ML")
    assert record["path"] == "spectral, one scalar term"
    assert record["status"] == {"converged": 5}
    assert record["singular"] == 1
    assert record["samples_dropped"] == []
    assert record["warnings"] == ["2 responses were not fitted; see status.tsv"]
    assert {"read", "compile", "fit", "write", "total"} <= set(record["seconds"])
    assert record["device"].startswith(("cpu", "gpu"))
    assert engine.fits[0].reml is reml
    # aligned by name: the sample table lists the samples the other way round
    assert engine.fits[0].Y.index.tolist() == SAMPLES[::-1]
    said = capsys.readouterr()
    assert said.err == "lmmjax: warning: 2 responses were not fitted; see status.tsv\n"
    assert "5 genes x 6 samples" in said.out


def test_options_reach_the_engine(engine, data):
    assert run(data, "--ml", "--weights", "w", "--no-progress", "--format", "parquet") == 0
    assert engine.fits[0].reml is False
    assert engine.progress is False
    np.testing.assert_array_equal(engine.fits[0].weights, np.full(6, 0.5))
    assert names(data.out) == [n if n == "run.json" else f"{n}.parquet" for n in TABLES]


def test_by_column(engine, data):
    assert run(data, "--by", "column", command="varpart") == 0
    assert "age-column" in read(data, "variance_partition.tsv")


def test_weights_from_a_file(engine, data, capsys):
    weights = data.Y.abs()
    weights.to_csv(data.path / "w.csv", index_label="gene")
    assert run(data, "--weights", str(data.path / "w.csv")) == 0
    np.testing.assert_allclose(engine.fits[0].weights, weights.T.iloc[::-1])
    weights.iloc[1, 2] = -1
    weights.to_csv(data.path / "w.csv", index_label="gene")
    assert run(data, "--weights", str(data.path / "w.csv"), "--force") == 1
    assert "observation 's2', response '1' is -1" in capsys.readouterr().err
    assert run(data, "--weights", "missing.csv", "--force") == 1
    assert "neither a file nor a column" in capsys.readouterr().err


def test_lrt(engine, data, capsys):
    formulas = ("--full", "~ age + (1|g)", "--reduced", "~ (1|g)")
    assert run(data, command="lrt", formula=formulas) == 0
    assert names(data.out)[1] == "lrt.tsv"
    assert read(data, "lrt.tsv")["gene"].tolist() == GENES
    assert engine.formulas == ["~ age + (1|g)", "~ (1|g)"]
    assert engine.anova == [tuple(engine.fits)]
    assert [fits.reml for fits in engine.fits] == [False, False]
    record = json.loads((data.out / "run.json").read_text())
    assert record["formula"] == {"full": "~ age + (1|g)", "reduced": "~ (1|g)"}
    assert record["warnings"] == [
        "--reduced: 2 responses were not fitted; see lrt.tsv",
        "--full: 2 responses were not fitted; see status.tsv",
    ]
    assert record["status"] == {
        "full": {"converged": 5},
        "reduced": {"converged": 5},
        "test": {"ok": 4, "failed_fit": 1},
    }
    assert record["singular"] == {"full": 1, "reduced": 1}
    said = capsys.readouterr().out
    assert "ML fits of --reduced: converged 5; singular 1\ntests: ok 4, failed_fit 1\n" in said


@pytest.mark.parametrize(
    ("full", "reduced", "args", "message"),
    [
        ("~ (1|g)", "~ age + (1|g)", [], r"--reduced has more parameters .*\(4 and 3\); swap them"),
        ("~ age + (1|g)", "~ w + (1|g)", [], "both have 4 parameters"),
        ("~ age + w + (1|g)", "~ b + (1|g)", [], "fixed effects 'b' are no combination"),
        ("~ age + (1|g)", "~ (1|g)", ["--reml"], "--reml compares only models with the same fixed"),
        ("~ age + hole + (1|g)", "~ age + (1|g)", [], "--full uses 5 samples and --reduced 6"),
    ],
)
def test_models_that_cannot_be_compared_are_not_fitted(
    engine, data, capsys, full, reduced, args, message
):
    table = data.table.assign(w=[1, 0, 0, 1, 1, 0], b=[3, 1, 4, 1, 5, 9], hole=[None, *"ababa"])
    table.to_csv(data.path / "s.csv", index_label="sample", na_rep="NA")
    formulas = ("--full", full, "--reduced", reduced)
    assert run(data, *args, command="lrt", formula=formulas) == 1
    lines = capsys.readouterr().err.splitlines()
    assert re.search(message, lines[-1])
    assert [line for line in lines if line.startswith("lmmjax: error: ")] == lines[-1:]
    assert engine.fits == []
    assert not data.out.exists()


def test_reml_where_only_random_effects_differ(engine, data):
    formulas = ("--full", "~ age + (1|g)", "--reduced", "~ age")
    assert run(data, "--reml", command="lrt", formula=formulas) == 0
    assert [fits.reml for fits in engine.fits] == [True, True]


def test_genes_in_columns_and_a_dropped_column(engine, data):
    turned = data.Y.T.assign(site="x")
    turned.to_csv(data.path / "e.tsv.gz", sep="\t", index_label="sample")
    assert run(data, "--drop-column", "site", "--genes-in", "columns") == 0
    assert read(data, "status.tsv")["gene"].tolist() == GENES


def test_genes_in_decides(engine, data, capsys):
    assert run(data, "--genes-in", "columns") == 1
    assert "e.tsv.gz carry the sample names, not the rows ('001', '1', ...)" in error_line(capsys)
    assert run(data, "--genes-in", "rows") == 0
    data.table.index = data.Y.columns = [f"00{i}" for i in range(6)]  # gene 001 is there, too
    more = pd.concat([data.table, data.table.set_axis([f"1{i}" for i in range(6)])]).iloc[:7]
    data.Y.to_csv(data.path / "e.tsv.gz", sep="\t", index_label="gene")
    more.to_csv(data.path / "s.csv", index_label="sample")
    for choice in ("rows", "auto"):
        capsys.readouterr()
        assert run(data, "--genes-in", choice, "--force") == 1
        assert "sample table that are not in" in (line := error_line(capsys))
        assert "'10'; both have to hold the same samples" in line


@pytest.mark.parametrize("kind", ["variance_partition", "lrt"])
def test_figures(engine, data, kind):
    pytest.importorskip("matplotlib")
    if kind == "lrt":
        formulas = ("--full", "~ age + (1|g)", "--reduced", "~ (1|g)")
        assert run(data, "--figure", command="lrt", formula=formulas) == 0
        assert (data.out / "lrt_qq.png").stat().st_size > 1_000
    else:
        assert run(data, "--figure") == 0
        assert (data.out / "variance_partition.png").stat().st_size > 1_000


def test_h5ad_brings_its_samples(engine, data, capsys):
    anndata = pytest.importorskip("anndata")
    path = data.path / "e.h5ad"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        adata = anndata.AnnData(data.Y.T, obs=data.table, layers={"double": 2 * data.Y.T})
        adata.write_h5ad(path)
    data.inputs = ["--expression", str(path)]
    assert run(data, "--layer", "double") == 0
    np.testing.assert_allclose(engine.fits[0].Y, 2 * data.Y.T)
    assert engine.samples["age"].tolist() == list(range(6))
    for option in ("--sample-column", "--drop-column"):
        assert run(data, option, "zz", "--force") == 2
        assert f"{option} is for" in capsys.readouterr().err
    data.inputs += ["--samples", str(path)]
    assert run(data, "--sample-column", "zz", "--force") == 1
    assert "e.h5ad: column of obs 'zz' does not exist" in error_line(capsys)


def error_line(capsys):
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert len(lines) == 1, said.err
    assert lines[0].startswith("lmmjax: error: ")
    return lines[0]


def test_bad_input_is_one_line_and_exit_code_1(engine, data, capsys):
    assert run(data, formula=("--formula", "~ nonsense")) == 1
    assert "unknown column 'nonsense'; did you mean 'age'?" in error_line(capsys)
    assert not data.out.exists()


def test_a_bad_cell(engine, data, capsys):
    text = data.Y.astype(object)
    text.iloc[2, 3] = "1e400"
    text.to_csv(data.path / "e.tsv.gz", sep="\t", index_label="gene")
    assert run(data) == 1
    assert "row 'NA' (line 4), column 's3': '1e400'" in error_line(capsys)


def test_samples_that_do_not_match(engine, data, capsys):
    data.table.iloc[:4].to_csv(data.path / "s.csv")
    assert run(data) == 1
    assert "not in the sample table: 's4', 's5'" in error_line(capsys)


def test_duplicated_genes_only_on_request(engine, data, capsys):
    data.Y.set_axis(["a", "a", "b", "c", "d"]).to_csv(data.path / "e.tsv.gz", sep="\t")
    assert run(data) == 1
    assert "genes occur more than once: 'a'; make them unique or pass --allow-duplicate" in (
        error_line(capsys)
    )
    assert run(data, "--allow-duplicate-genes") == 0
    assert engine.more == {"allow_duplicate_responses": True}
    assert read(data, "status.tsv")["gene"].tolist() == ["a", "a", "b", "c", "d"]


def test_an_unreadable_file_names_itself(engine, data, capsys):
    (data.path / "e.tsv.gz").write_bytes(b"\x1f\x8bnonsense")
    assert run(data) == 1
    assert "e.tsv.gz" in error_line(capsys)


def test_results_are_not_overwritten_unasked(engine, data, capsys):
    assert run(data) == 0
    capsys.readouterr()
    assert run(data) == 1
    assert "--force" in error_line(capsys)
    assert run(data, "--force") == 0


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["fit"],
        ["fit", "--no-such-option"],
        ["nonsense"],
        ["fit", "--expression", "missing.tsv", "--formula", "~ a", "--out", "x"],
    ],
)
def test_wrong_usage_is_exit_code_2(args, capsys):
    assert main(args) == 2
    assert "Usage" in capsys.readouterr().err


def test_samples_are_needed_but_for_h5ad(engine, data, capsys):
    data.inputs = data.inputs[:2]
    assert run(data) == 2
    assert "--samples is needed" in capsys.readouterr().err
    assert not data.out.exists()


def test_layers_are_for_h5ad(engine, data, capsys):
    assert run(data, "--layer", "q") == 2
    assert "--layer is for .h5ad files" in capsys.readouterr().err


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("lmmjax ")
    for command in ("varpart", "lrt", "fit"):
        assert main([command, "--help"]) == 0
        assert "--expression" in capsys.readouterr().out


def test_interruption_leaves_no_file(engine, data, capsys, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(StandIn, "status_table", interrupt)  # some tables are written by then
    assert run(data) == 130
    assert not data.out.exists()


INTERRUPTED = """
import signal, sys, time, lmmjax
from types import SimpleNamespace
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
def fit(*_, **__):
    print("fitting", flush=True)
    time.sleep(60)
lmmjax.compile = lambda *_: SimpleNamespace(fit=fit)
from lmmjax.cli import entry_point
entry_point()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_the_run_cleanly(data, number, code):
    args = ["fit", *data.inputs, "--formula", "~ age", "--out", str(data.out), "--no-cache"]
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *args], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "fitting\n"
    time.sleep(0.2)
    process.send_signal(number)
    assert process.wait(timeout=120) == code
    process.stdout.close()
    assert not data.out.exists()


def test_light_start():
    """Neither help nor version pays for pandas or JAX."""
    code = (
        "import sys\nfrom lmmjax.cli import main\nmain(['varpart', '--help'])\n"
        "sys.exit(bool({'jax', 'pandas', 'formulaic', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0


def test_cache_directory_depends_on_the_machine(monkeypatch):
    here = cache_directory()
    monkeypatch.setattr("lmmjax.compilation_cache._instruction_sets", lambda: "other")
    assert cache_directory() != here
    assert cache_directory().parent == here.parent


def test_cache_of_the_user_is_respected(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    assert use_compilation_cache() == tmp_path


def test_cache_where_one_wants_it(tmp_path):
    code = (
        "import sys, lmmjax\nassert str(lmmjax.use_compilation_cache(sys.argv[1])) == sys.argv[1]\n"
        "import jax\njax.jit(lambda x: 3 * x + 1)(2.0)"
    )
    where = tmp_path / "programs"
    subprocess.run([sys.executable, "-c", code, str(where)], check=True)
    assert any(where.iterdir())


def test_cache_that_cannot_be_made(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setattr(
        "lmmjax.compilation_cache.cache_directory", lambda: tmp_path / "file" / "cache"
    )
    assert use_compilation_cache() is None


def test_the_cache_is_filled(tmp_path):
    code = (
        "import lmmjax\nassert lmmjax.use_compilation_cache()\n"
        "import jax\njax.jit(lambda x: 3 * x + 1)(2.0)"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert [p for p in Path(tmp_path).rglob("*lmmjax-*/*") if p.is_file()]
