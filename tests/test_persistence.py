"""Saved fits come back as they were, or not at all."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest

import lmmjax
from lmmjax import persistence
from lmmjax.errors import FitWarning, OutputError, TableError

NAMES = {"fits.json", "fits_responses.parquet", "fits_samples.parquet"}


def same(a: lmmjax.FitBatch, b: lmmjax.FitBatch) -> None:
    """Every stored number, bit for bit, and the model."""
    for field in fields(a):
        mine, theirs = getattr(a, field.name), getattr(b, field.name)
        if isinstance(mine, np.ndarray):
            np.testing.assert_array_equal(mine, theirs, err_msg=field.name)
            assert mine.dtype == theirs.dtype, field.name
    assert a.reml is b.reml
    pd.testing.assert_index_equal(a.responses, b.responses, exact=True)
    pd.testing.assert_index_equal(a.model.samples, b.model.samples, exact=True)
    one, two = a.model.design, b.model.design
    pd.testing.assert_index_equal(one.observations, two.observations, exact="equiv")
    np.testing.assert_array_equal(one.X, two.X)
    np.testing.assert_array_equal(one.kept, two.kept)
    assert (one.fixed_names, one.fixed_terms, one.n_dropped) == (
        two.fixed_names, two.fixed_terms, two.n_dropped,
    )  # fmt: skip
    for mine, theirs in zip(one.terms, two.terms, strict=True):
        assert (mine.label, mine.levels, mine.columns) == (
            theirs.label, theirs.levels, theirs.columns,
        )  # fmt: skip
        np.testing.assert_array_equal(mine.codes, theirs.codes)
        np.testing.assert_array_equal(mine.z, theirs.z)


@pytest.mark.parametrize("which", ["fits", "weighted"])
def test_round_trip(ragged, which, tmp_path):
    fits = getattr(ragged, which)
    fits.to_parquet(tmp_path / "deep" / "saved")
    assert {p.name for p in (tmp_path / "deep" / "saved").iterdir()} == NAMES
    back = lmmjax.FitBatch.from_parquet(tmp_path / "deep" / "saved")
    same(fits, back)
    pd.testing.assert_frame_equal(back.varcorr, fits.varcorr)
    pd.testing.assert_frame_equal(back.status_table(), fits.status_table())
    pd.testing.assert_frame_equal(back.ranef()["g"], fits.ranef()["g"])
    pd.testing.assert_frame_equal(back.residuals(), fits.residuals())
    pd.testing.assert_frame_equal(back.variance_partition(), fits.variance_partition())
    assert back["gene7"].summary() == fits["gene7"].summary()
    new = ragged.samples.iloc[:3]
    pd.testing.assert_series_equal(back["gene7"].predict(new), fits["gene7"].predict(new))


def test_everything_a_sample_table_can_hold(tmp_path):
    rng = np.random.default_rng(2)
    n = 40
    samples = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "count": pd.array(rng.integers(0, 9, n), dtype="Int64"),
            "flag": rng.random(n) < 0.5,
            "stage": pd.Categorical(
                rng.choice(["I", "II", "III"], n), ["I", "II", "III", "IV"], ordered=True
            ),
            "batch": np.tile([1, 2, 3, 4], 10),
            "not used": [object()] * n,
        },
        index=[1000 + i for i in range(n)],
    )
    samples.loc[1003, "x"] = np.nan
    with pytest.warns(lmmjax.errors.LmmWarning):
        model = lmmjax.compile(
            "~ poly(x, 2) + scale(count) + flag + stage + (1 | batch)", samples,
            contrasts={"stage": "poly", "flag": np.array([[0.0], [2.0]])},
        )  # fmt: skip
    weights = rng.uniform(0.5, 2, n)
    fits = model.fit(rng.normal(size=(n, 3)), weights=weights)
    fits.to_parquet(tmp_path)
    back = lmmjax.FitBatch.from_parquet(tmp_path)
    same(fits, back)
    assert back.model.samples.tolist() == samples.index.tolist()
    new = samples.iloc[5:9]
    pd.testing.assert_series_equal(back[1].predict(new), fits[1].predict(new))
    content = json.loads((tmp_path / "fits.json").read_text())
    assert content["common_weights"] is not None
    assert back.weights is not None and back.weights.shape == (39, 3)


def test_contrasts_given_as_tables_and_choices(tmp_path, sleepstudy):
    from lmmjax.formula_functions import ContrastChoice

    data = sleepstudy.assign(part=np.array(["a", "b", "c"])[sleepstudy["Days"] % 3])
    table = pd.DataFrame([[1.0, 0], [0, 1], [-1, -1]], index=list("abc"), columns=["u", "v"])
    for choice in (table, ContrastChoice("treatment", "c")):
        model = lmmjax.compile("~ part + (1 | Subject)", data, contrasts={"part": choice})
        fits = model.fit(data[["Reaction"]])
        fits.to_parquet(tmp_path, force=True)
        same(fits, lmmjax.FitBatch.from_parquet(tmp_path))


@pytest.mark.parametrize(
    "labels", [["001", "NA"], [1, 2], [0.5, 2.0], ["nan", ""]], ids=["text", "int", "float", "nan"]
)
def test_labels_survive(tmp_path, sleepstudy, labels):
    rng = np.random.default_rng(0)
    Y = pd.DataFrame(rng.normal(size=(180, 2)), columns=pd.Index(labels, name="gene"))
    fits = lmmjax.compile("~ 1", sleepstudy).fit(Y)  # reads no column at all
    fits.to_parquet(tmp_path)
    back = lmmjax.FitBatch.from_parquet(tmp_path)
    same(fits, back)
    assert back[labels[1]].sigma == fits[labels[1]].sigma


def test_no_responses(tmp_path, sleepstudy):
    model = lmmjax.compile("~ Days + (1 | Subject)", sleepstudy)
    fits = model.fit(pd.DataFrame(index=sleepstudy.index, columns=pd.Index([], dtype=str)))
    fits.to_parquet(tmp_path / "p")
    assert len(lmmjax.FitBatch.from_parquet(tmp_path / "p")) == 0
    fits.to_tsv(tmp_path / "t")
    header = (tmp_path / "t" / "theta.tsv").read_text()
    assert header == "response\tSubject.(Intercept)\n"


def test_labels_without_counterpart(tmp_path, slope_fit):
    fits = slope_fit.fits.take([0])
    fits.responses = pd.MultiIndex.from_tuples([("a", "b")])
    with pytest.raises(OutputError, match="convert them to str"):
        fits.to_parquet(tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_earlier_results_are_kept_unless_forced(tmp_path, slope_fit):
    fits = slope_fit.fits
    fits.to_parquet(tmp_path)
    with pytest.raises(OutputError, match="force=True"):
        fits.to_parquet(tmp_path)
    fits.to_parquet(tmp_path, force=True)
    same(fits, lmmjax.FitBatch.from_parquet(tmp_path))


def test_interrupted_save_leaves_nothing(tmp_path, slope_fit, monkeypatch):
    def stop(*_args, **_kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(persistence.json, "dumps", stop)
    with pytest.raises(KeyboardInterrupt):
        slope_fit.fits.to_parquet(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_files_of_different_calls_are_told_apart(tmp_path, slope_fit):
    slope_fit.fits.to_parquet(tmp_path / "a")
    slope_fit.fits.to_parquet(tmp_path / "b")
    shutil.copy(tmp_path / "b" / "fits_responses.parquet", tmp_path / "a")
    with pytest.raises(TableError, match="does not belong"):
        lmmjax.FitBatch.from_parquet(tmp_path / "a")


def test_damaged_files(tmp_path, slope_fit):
    with pytest.raises(TableError, match=r"fits\.json cannot be read"):
        lmmjax.FitBatch.from_parquet(tmp_path)
    (tmp_path / "fits.json").write_text("{}")
    with pytest.raises(TableError, match="does not describe saved fits"):
        lmmjax.FitBatch.from_parquet(tmp_path)
    slope_fit.fits.to_parquet(tmp_path, force=True)
    good = json.loads((tmp_path / "fits.json").read_text())
    for change, message in (
        ({"format_version": 99}, "newer format"),
        ({"fixed_names": ["(Intercept)", "Hours"]}, "codes the model differently"),
    ):
        (tmp_path / "fits.json").write_text(json.dumps(good | change))
        with pytest.raises(TableError, match=message):
            lmmjax.FitBatch.from_parquet(tmp_path)
    (tmp_path / "fits.json").write_text(json.dumps(good))
    (tmp_path / "fits_samples.parquet").write_bytes(b"PAR1")
    with pytest.raises(TableError, match="cannot be read"):
        lmmjax.FitBatch.from_parquet(tmp_path)


def test_a_formula_in_a_file_runs_nothing(tmp_path, slope_fit):
    slope_fit.fits.to_parquet(tmp_path)
    content = json.loads((tmp_path / "fits.json").read_text())
    target = tmp_path / "touched"
    content["formula"] = f"~ __import__('os').system('touch {target}') + (Days | Subject)"
    (tmp_path / "fits.json").write_text(json.dumps(content))
    with pytest.raises(lmmjax.errors.FormulaError):
        lmmjax.FitBatch.from_parquet(tmp_path)
    assert not target.exists()


def test_directory_that_cannot_be_made(tmp_path, slope_fit):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        slope_fit.fits.to_parquet(tmp_path / "file" / "inside")


def test_tsv(ragged, tmp_path):
    ragged.fits.to_tsv(tmp_path)
    stems = ["fixed_effects", "status", "theta", "variance_partition", "varcorr"]
    assert {p.name for p in tmp_path.iterdir()} == {f"{s}.tsv" for s in stems}

    def read(stem: str) -> pd.DataFrame:
        # as text: not every parser of pandas reads floats to the last bit
        return pd.read_csv(tmp_path / f"{stem}.tsv", sep="\t", dtype=str)

    fixed = read("fixed_effects")
    estimates = ragged.fits.fixef.to_numpy().ravel()
    np.testing.assert_array_equal(fixed["estimate"].astype(float), estimates)
    assert fixed["coefficient"].to_list() == list(ragged.fits.fixef.columns) * 12
    assert read("status")["status"].to_list() == ragged.fits.status.to_list()
    np.testing.assert_array_equal(read("theta").iloc[:, 1:].astype(float), ragged.fits.theta)
    np.testing.assert_array_equal(
        read("varcorr")["vcov"].astype(float), ragged.fits.varcorr["vcov"]
    )
    shares = read("variance_partition").set_index("response")
    np.testing.assert_array_equal(shares.astype(float), ragged.fits.variance_partition())
    with pytest.raises(OutputError):
        ragged.fits.to_tsv(tmp_path)
    ragged.fits.to_tsv(tmp_path, force=True)


def test_failures_do_not_warn_again(ragged, tmp_path, recwarn):
    ragged.fits.to_parquet(tmp_path)
    lmmjax.FitBatch.from_parquet(tmp_path)
    assert not [w for w in recwarn if issubclass(w.category, FitWarning)]


# ---- one fit -------------------------------------------------------------------------------


def test_a_fit_comes_back_as_a_fit(tmp_path, sleepstudy):
    data = sleepstudy.assign(w=np.linspace(0.5, 2, 180))
    data.loc[3, "Reaction"] = np.nan
    with pytest.warns(lmmjax.errors.DroppedRowsWarning):
        fit = lmmjax.lmer(
            "log(Reaction) ~ Days + (1 | Subject)", data, weights="w",
            offset=np.sin(np.arange(180.0)),
        )  # fmt: skip
    fit.save(tmp_path / "one")
    back = lmmjax.load(tmp_path / "one")
    assert isinstance(back, lmmjax.LmmFit)
    same(fit.fits, back.fits)
    assert back.summary() == fit.summary() and back.response == "log(Reaction)"
    pd.testing.assert_series_equal(back.fitted(), fit.fitted())
    np.testing.assert_array_equal(back.model.design.response, fit.model.design.response)
    assert back.refit(reml=False).objective == fit.refit(reml=False).objective
    with pytest.raises(OutputError, match="force=True"):
        fit.save(tmp_path / "one")


def test_a_row_of_a_batch_is_saved_alone(ragged, tmp_path):
    ragged.weighted["gene7"].save(tmp_path / "row")
    back = lmmjax.load(tmp_path / "row")
    assert isinstance(back, lmmjax.LmmFit)
    assert back.summary() == ragged.weighted["gene7"].summary()


def test_load_gives_back_a_batch(slope_fit, tmp_path):
    slope_fit.fits.to_parquet(tmp_path)
    back = lmmjax.load(tmp_path)
    assert isinstance(back, lmmjax.FitBatch)
    same(back, slope_fit.fits)
    with pytest.raises(TableError, match="cannot be read"):
        lmmjax.load(tmp_path / "nowhere")
