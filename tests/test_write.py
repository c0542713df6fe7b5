"""Writing tables and directories of results."""

import json
import os
import stat

import numpy as np
import pandas as pd
import pytest

from lmmjax.errors import OutputError
from lmmjax.expression import OutputDirectory, write_table
from lmmjax.expression import write as write_module

TABLE = pd.DataFrame(
    {
        "value": [0.1, np.nan, 1e-300],
        "n": [1, 2, 3],
        "ok": [True, False, True],
        "text": ["plain", "tab\there", 'a "quote"'],
    },
    index=["a", "NA", "001"],
)


def names(path):
    return sorted(p.name for p in path.iterdir())


def test_tsv(tmp_path):
    write_table(TABLE, tmp_path / "t.tsv", "gene")
    assert (tmp_path / "t.tsv").read_text() == (
        "gene\tvalue\tn\tok\ttext\n"
        "a\t0.1\t1\tTRUE\tplain\n"
        'NA\tNA\t2\tFALSE\t"tab\there"\n'
        '001\t1e-300\t3\tTRUE\t"a ""quote"""\n'
    )
    assert names(tmp_path) == ["t.tsv"]


def test_tsv_without_index_rows_or_columns(tmp_path):
    path = tmp_path / "t.tsv"
    write_table(TABLE.filter(["n"]), path)
    assert path.read_text() == "n\n1\n2\n3\n"
    write_table(TABLE.iloc[:0], path, "gene")
    assert path.read_text() == "gene\tvalue\tn\tok\ttext\n"
    write_table(TABLE.filter([]), path, "gene")
    assert path.read_text() == "gene\na\nNA\n001\n"


def test_missing_labels_in_the_index(tmp_path):
    frame = pd.DataFrame({"x": [1, 2]}, index=pd.Index(["a", None], dtype=object))
    write_table(frame, tmp_path / "t.tsv", "gene")
    assert (tmp_path / "t.tsv").read_text() == "gene\tx\na\t1\nNA\t2\n"


def test_missing_cells_of_every_dtype(tmp_path):
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None], dtype="Int64"),
            "f": pd.array([None, 0.5], dtype="Float64"),
            "b": pd.array([None, True], dtype="boolean"),
            "c": pd.Categorical(["x", None]),
            "o": np.array([None, 2.5], dtype=object),
        }
    )
    write_table(frame, tmp_path / "t.tsv")
    assert (
        tmp_path / "t.tsv"
    ).read_text() == "i\tf\tb\tc\to\n1\tNA\tNA\tx\tNA\nNA\t0.5\tTRUE\tNA\t2.5\n"


def test_blocks_of_rows_join_without_a_seam(tmp_path, monkeypatch):
    frame = pd.DataFrame({"x": np.arange(10) / 7})
    write_table(frame, tmp_path / "whole.tsv", "i")
    monkeypatch.setattr(write_module, "_BLOCK_ROWS", 3)
    write_table(frame, tmp_path / "parts.tsv", "i")
    assert (tmp_path / "whole.tsv").read_bytes() == (tmp_path / "parts.tsv").read_bytes()


def test_gzip_is_reproducible(tmp_path):
    write_table(TABLE, tmp_path / "a.tsv.gz", "gene")
    write_table(TABLE, tmp_path / "b.tsv.gz", "gene")
    assert (tmp_path / "a.tsv.gz").read_bytes() == (tmp_path / "b.tsv.gz").read_bytes()
    back = pd.read_csv(tmp_path / "a.tsv.gz", sep="\t", index_col=0, keep_default_na=False)
    assert back.index.tolist() == TABLE.index.tolist()
    assert back["text"].tolist() == TABLE["text"].tolist()


def test_parquet_has_the_index_first(tmp_path):
    from pyarrow import parquet

    write_table(TABLE, tmp_path / "t.parquet", "gene")
    assert parquet.read_schema(tmp_path / "t.parquet").names[0] == "gene"
    back = pd.read_parquet(tmp_path / "t.parquet")
    assert back.index.tolist() == TABLE.index.tolist()
    pd.testing.assert_frame_equal(back, TABLE, check_index_type=False, check_names=False)


def test_unknown_suffix(tmp_path):
    with pytest.raises(OutputError, match="written as"):
        write_table(TABLE, tmp_path / "t.xlsx")


def test_permissions_are_the_usual_ones(tmp_path):
    (tmp_path / "plain").touch()
    write_table(TABLE, tmp_path / "t.tsv")
    modes = [stat.S_IMODE(os.stat(tmp_path / n).st_mode) for n in ("plain", "t.tsv")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("suffix", ["tsv", "tsv.gz", "parquet"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error, suffix):
    path = tmp_path / f"t.{suffix}"
    path.write_text("old")

    def fail(*_):
        raise error

    monkeypatch.setattr(write_module, "to_tsv", fail)
    monkeypatch.setattr(write_module, "_write_parquet", fail)
    with pytest.raises(error):
        write_table(TABLE, path)
    assert path.read_text() == "old"
    assert names(tmp_path) == [path.name]


def test_directory_appears_as_a_whole(tmp_path):
    out = tmp_path / "a" / "b"
    with OutputDirectory(out, ["status"]) as results:
        results.write_json("run.json", {"x": np.float64(1.5), "nan": np.nan, "n": np.int64(2)})
        results.write_table("status", TABLE, "gene")
        results.reserve("figure.png").write_bytes(b"png")
        assert not any(n in names(out) for n in ("run.json", "status.tsv", "figure.png"))
    assert names(out) == ["figure.png", "run.json", "status.tsv"]
    assert json.loads((out / "run.json").read_text()) == {"x": 1.5, "nan": None, "n": 2}


def test_run_json_is_renamed_last(tmp_path, monkeypatch):
    renamed = []
    replace = os.replace
    monkeypatch.setattr(
        write_module.os, "replace", lambda a, b: (renamed.append(b.name), replace(a, b))
    )
    with OutputDirectory(tmp_path) as results:
        results.write_json("run.json", {})
        results.write_table("status", TABLE)
    assert renamed == ["status.tsv", "run.json"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_directory_leaves_nothing(tmp_path, error):
    out = tmp_path / "a" / "b"
    with pytest.raises(error), OutputDirectory(out) as results:
        results.write_table("status", TABLE)
        raise error
    assert names(tmp_path) == []
    (tmp_path / "keep").mkdir()
    with pytest.raises(error), OutputDirectory(tmp_path / "keep"):
        raise error
    assert names(tmp_path) == ["keep"]


def test_earlier_results_are_kept_unless_forced(tmp_path):
    with OutputDirectory(tmp_path, ["status"], format="parquet") as results:
        results.write_table("status", TABLE)
        results.write_json("run.json", {})
    before = names(tmp_path)
    with pytest.raises(OutputError, match="holds results already"):
        with OutputDirectory(tmp_path, ["status"]):
            pass
    assert names(tmp_path) == before
    with pytest.raises(RuntimeError):
        with OutputDirectory(tmp_path, ["status"], force=True):
            raise RuntimeError
    assert names(tmp_path) == before
    with OutputDirectory(tmp_path, ["status"], force=True) as results:
        results.write_table("status", TABLE)
        results.write_json("run.json", {"second": True})
    assert names(tmp_path) == ["run.json", "status.tsv"]  # no stale status.parquet beside it


def test_a_figure_goes_with_the_results_it_shows(tmp_path):
    (tmp_path / "qq.png").touch()
    with pytest.raises(OutputError, match=r"holds results already.*qq\.png"):
        with OutputDirectory(tmp_path, ["status"], others=["qq.png"]):
            pass
    with OutputDirectory(tmp_path, ["status"], others=["qq.png"], force=True) as results:
        results.write_table("status", TABLE)
        assert "qq.png" in names(tmp_path)  # until the new ones are there
    assert names(tmp_path) == ["status.tsv"]


def test_other_files_are_no_obstacle(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with OutputDirectory(tmp_path, ["status"]) as results:
        results.write_table("status", TABLE)
    assert names(tmp_path) == ["notes.txt", "status.tsv"]


def test_a_file_in_the_way(tmp_path):
    (tmp_path / "results").write_text("a file")
    with pytest.raises(OutputError, match="cannot write"), OutputDirectory(tmp_path / "results"):
        pass
    with pytest.raises(OutputError, match="format is 'xlsx'"):
        OutputDirectory(tmp_path, format="xlsx")  # type: ignore[arg-type]
