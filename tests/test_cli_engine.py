"""The command line with the real engine: what is written is what Python gives."""

import json

import numpy as np
import pandas as pd
import pytest

import lmmjax
from lmmjax.cli import main
from lmmjax.datasets import simulate_expression
from lmmjax.errors import FitWarning

FORMULA = "~ Age + (1|Individual)"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli")
    simulated = simulate_expression(30, n_observations=60, n_individuals=15, seed=2)
    Y = simulated.expression.copy()
    Y.iloc[3] = 7.0
    Y.iloc[5, 2] = np.nan
    Y.to_csv(path / "e.tsv.gz", sep="\t", index_label="gene", na_rep="NA")
    simulated.samples.to_csv(path / "s.csv", index_label="sample")
    return path, Y, simulated.samples


def run(path, out, *args):
    tables = ["--expression", str(path / "e.tsv.gz"), "--samples", str(path / "s.csv")]
    return main([*args, *tables, "--out", str(path / out), "--no-cache"])


def table(path, out, name, *index):
    return pd.read_csv(path / out / f"{name}.tsv", sep="\t").set_index(list(index))


def test_varpart(data, capsys):
    path, Y, samples = data
    assert run(path, "varpart", "varpart", "--formula", FORMULA) == 0
    assert "1 of 30 responses" in capsys.readouterr().err
    with pytest.warns(FitWarning):
        fits = lmmjax.compile(FORMULA, samples).fit(Y, reml=False)
    written = table(path, "varpart", "variance_partition", "gene")
    np.testing.assert_allclose(written, fits.variance_partition(), rtol=1e-9, atol=1e-12)
    assert written.index.tolist() == Y.index.tolist()
    fixed = table(path, "varpart", "fixed_effects", "gene", "coefficient")
    np.testing.assert_allclose(
        fixed["estimate"].unstack()[["(Intercept)", "Age"]], fits.fixef, rtol=1e-9
    )
    status = table(path, "varpart", "status", "gene")["status"]
    assert status.iloc[3] == "constant_response"
    record = json.loads((path / "varpart" / "run.json").read_text())
    assert record["status"] == {"converged": 29, "constant_response": 1}
    assert record["version"] == lmmjax.__version__
    assert record["estimation"] == "ML"


def test_a_formula_that_names_no_column(data, capsys):
    path, _, _ = data
    assert run(path, "bad", "fit", "--formula", "~ Aeg + (1|Individual)") == 1
    assert "did you mean 'Age'" in capsys.readouterr().err
    assert not (path / "bad").exists()


def test_samples_with_a_missing_covariate_are_dropped(data, capsys):
    path, _, samples = data
    holes = samples.astype({"Age": float})
    holes.iloc[4, holes.columns.get_loc("Age")] = np.nan
    holes.to_csv(path / "s.csv", index_label="sample", na_rep="NA")
    try:
        assert run(path, "dropped", "fit", "--formula", FORMULA) == 0
    finally:
        samples.to_csv(path / "s.csv", index_label="sample")
    name = str(samples.index[4])
    assert f"1 of 60 observations dropped: missing values in 'Age' (1); they are {name!r}" in (
        capsys.readouterr().err
    )
    record = json.loads((path / "dropped" / "run.json").read_text())
    assert record["sizes"] == {"genes": 30, "samples": 60, "samples_fitted": 59}
    assert record["samples_dropped"] == [name]
    assert int(table(path, "dropped", "status", "gene")["n_obs"].to_numpy().max()) == 59


@pytest.mark.parametrize(
    ("full", "reduced", "args", "message"),
    [
        ("~ (1|Individual)", FORMULA, [], "more parameters than --full (4 and 3); swap them"),
        (FORMULA, "~ (1|Individual)", ["--reml"], "--reml compares only models with the same"),
        (FORMULA, "~ (1|Tissue)", [], "the models are not nested"),
    ],
)
def test_models_that_cannot_be_compared(data, capsys, full, reduced, args, message):
    path, _, _ = data
    assert run(path, "lrt", "lrt", "--full", full, "--reduced", reduced, *args) == 1
    assert message in capsys.readouterr().err
    assert not (path / "lrt").exists()
