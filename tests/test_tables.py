"""Reading expression matrices and sample tables."""

import gzip

import numpy as np
import pandas as pd
import pytest

from lmmjax.errors import (
    AlignmentError,
    CodingWarning,
    DTypeError,
    DuplicateSamplesError,
    EmptyDataError,
    ShapeError,
    TableError,
)
from lmmjax.expression import read_expression, read_samples, write_table
from lmmjax.expression.anndata_view import dense_values


@pytest.fixture
def write(tmp_path):
    def write(text, name="table.tsv"):
        path = tmp_path / name
        data = text.encode() if isinstance(text, str) else text
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return write


ODD_NAMES = ["NA", "nan", "001", "1", "1e5", "TRUE", "é", "a b", "#x", "'q"]


@pytest.mark.parametrize("suffix", ["tsv", "tsv.gz", "parquet"])
def test_odd_names_survive_a_round_trip(tmp_path, suffix):
    values = np.arange(2.0 * len(ODD_NAMES)).reshape(-1, 2)
    frame = pd.DataFrame(values, index=ODD_NAMES, columns=["01", "1"])
    write_table(frame, tmp_path / f"e.{suffix}", "gene")
    back = read_expression(tmp_path / f"e.{suffix}")
    assert back.index.tolist() == ODD_NAMES
    assert back.columns.tolist() == ["01", "1"]
    assert back.index.name == "gene"
    np.testing.assert_array_equal(back, values)


def test_floats_survive_to_the_last_bit(tmp_path):
    rng = np.random.default_rng(1)
    values = rng.normal(size=(300, 4)) * 10.0 ** rng.integers(-300, 300, (300, 4))
    values[0] = [np.nan, 5e-324, np.finfo(float).max, -0.0]
    frame = pd.DataFrame(values, index=[f"g{i}" for i in range(300)], columns=list("abcd"))
    write_table(frame, tmp_path / "e.tsv", "gene")
    back = read_expression(tmp_path / "e.tsv").to_numpy()
    same = back.view(np.int64) == values.view(np.int64)
    assert (same | (np.isnan(back) & np.isnan(values))).all()


def test_missing_and_infinite_cells(write):
    path = write('g\ta\tb\tc\nx\t\tNA\tNaN\ny\tnan\t"NA"\t NA \nz\tInf\t-inf\t 1.5 \n')
    frame = read_expression(path)
    assert np.isnan(frame.loc[["x", "y"]].to_numpy()).all()
    assert frame.loc["z"].tolist() == [np.inf, -np.inf, 1.5]


@pytest.mark.parametrize("cell", ["1e400", "-1e400", "abc", "1_000", "0x10", "1,5", "TRUE"])
@pytest.mark.parametrize("name", ["table.tsv", "table.csv.gz"])
def test_a_bad_cell_is_named_by_row_column_and_value(write, cell, name):
    mark = "," if "csv" in name else "\t"
    rows = [["g", "s1", "s2"], ["a", "1", "2"], ["b", "3", f'"{cell}"']]
    path = write("\n".join(map(mark.join, rows)), name)
    with pytest.raises(DTypeError, match=f"row 'b' .line 3., column 's2': '{cell}'"):
        read_expression(path)


def test_a_decimal_comma_is_explained(write):
    with pytest.raises(DTypeError, match="decimal point"):
        read_expression(write("g;s1\na;1,5\n", "t.csv"))


def test_an_annotation_column_can_be_dropped(write):
    path = write("peptide\tprotein\ts1\na\tP1\t1\n")
    with pytest.raises(DTypeError, match="column 'protein': 'P1'"):
        read_expression(path)
    assert read_expression(path, drop_columns=["protein"]).columns.tolist() == ["s1"]
    with pytest.raises(TableError, match=r"'protien'.*did you mean 'protein'"):
        read_expression(path, drop_columns=["protien"])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("g\ta\tb\nx\t1\t2\n", "t.tsv"),
        ("g,a,b\nx,1,2\n", "t.csv"),
        ("g;a;b\nx;1;2\n", "t.csv"),
        ("g\ta\tb\r\nx\t1\t2\r\n", "t.txt"),
        ('"g" "a" "b"\n"x" 1 2\n', "t.txt"),
        ("\ufeffg,a,b\n\nx,1,2", "t.csv"),
        ("g,a,b\nx,1,2\n", "t.tsv"),
        ('g,"a","b"\n"x","1","2"\n', "t.csv.gz"),
    ],
)
def test_dialects(write, text, name):
    frame = read_expression(write(text, name))
    assert frame.index.tolist() == ["x"]
    assert frame.index.name == "g"
    assert frame.columns.tolist() == ["a", "b"]
    assert frame.to_numpy().tolist() == [[1.0, 2.0]]


def test_a_delimiter_can_be_given(write):
    assert read_expression(write("g|a\nx|1\n"), delimiter="|").loc["x", "a"] == 1.0


def test_headers_as_r_writes_them(write):
    # write.table gives the row names no header
    frame = read_expression(write('"a"\t"b"\n"x"\t1\t2\n'))
    assert frame.columns.tolist() == ["a", "b"]
    assert frame.index.tolist() == ["x"]


def test_delimiters_and_quotes_inside_names(write):
    frame = read_expression(write('g,"a,1","b ""2"""\n"x,y",1,2\n', "t.csv"))
    assert frame.columns.tolist() == ["a,1", 'b "2"']
    assert frame.index.tolist() == ["x,y"]


def test_several_gzip_members(tmp_path):
    # as bgzip writes them
    path = tmp_path / "t.tsv.gz"
    path.write_bytes(gzip.compress(b"g\ta\nx\t1\n") + gzip.compress(b"y\t2\n"))
    assert read_expression(path)["a"].tolist() == [1.0, 2.0]


def test_long_rows_in_few_lines(write):
    width = 30_000
    text = "g\t" + "\t".join(map(str, range(width))) + "\nx" + "\t0.123456789012" * width + "\n"
    assert read_expression(write(text)).shape == (1, width)


def test_duplicated_columns_are_named(write):
    with pytest.raises(AlignmentError, match="more than once: 's1', 's2'"):
        read_expression(write("g\ts1\ts2\ts1\ts2\nx\t1\t2\t3\t4\n"))


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", EmptyDataError, "empty"),
        ("g\ta\nx\t1\t2\t3\n", ShapeError, "the header has 2 fields, the first row 4"),
        ("g\ta\nx\t1\ny\n", ShapeError, "line 3 has 1 fields, expected 2"),
        ("g\t\ta\nx\t1\t2\n", TableError, "column 2 has no name"),
        ("g\ta\nx\t1\n\t2\n", AlignmentError, "data row 2 has no name"),
        (b"g\ta\nx\xff\t1\n", TableError, "UTF-8"),
    ],
)
def test_broken_tables(write, text, error, message):
    with pytest.raises(error, match=message):
        read_expression(write(text))


def test_a_damaged_gzip_file(tmp_path):
    path = tmp_path / "t.tsv.gz"
    path.write_bytes(gzip.compress(b"g\ta\n" + b"x\t1.2345\n" * 5000)[:-30])
    with pytest.raises(TableError, match="damaged"):
        read_expression(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('g\ta\tb\nx\t1\t"2', 2),  # Arrow would take this for 2
        ('g\ta\tb\nx\t1\t"2\n', 2),
        ('g\ta\tb\nw\t1\t2\nx\t1\t"2\ny\t1\t2\nz\t1\t2\n', 3),
        ('g\ta\tb\nw\t1\t2\n"x\t1\t2\ny\t1\t2\nz\t1\t2\n', 3),
        ('g\ta\tb\nw\t1\t2\n"x\t1\t2\n' + "y\t1\t2\n" * 30_000, 3),
        ('g\t"a\tb\nw\t1\t2\n', 1),
    ],
)
def test_a_quote_left_open_is_named_by_its_line(write, text, line):
    with pytest.raises(TableError, match=f"line {line}: "):
        read_expression(write(text))


def test_quotes_that_hold_lines_together_are_named(write):
    with pytest.raises(ShapeError, match=r"lines 3 to 5 .* have 3 fields, expected 2"):
        read_expression(write('g\ta\nw\t1\n"x\t1\ny\t2\nz"\t1\t2\n'))
    assert read_expression(write('g\ta\n"x\ny"\t1\n5"\t2\n')).index.tolist() == ["x\ny", '5"']


def test_a_sample_table_that_is_cut_off(write):
    with pytest.raises(TableError, match=r"line 3: a quote .* not closed; is the file cut off"):
        read_samples(write('id,age,sex\n001,40,"m"\n023,23,"i', "s.csv"))


def test_no_rows_and_no_columns(write):
    assert read_expression(write("g\ta\tb\n")).shape == (0, 2)
    assert read_expression(write("g\nx\n")).shape == (1, 0)


def test_unknown_suffix_and_missing_file(tmp_path):
    with pytest.raises(TableError, match="unknown kind of file"):
        read_expression(tmp_path / "e.xlsx")
    for read in (read_expression, read_samples):
        with pytest.raises(TableError, match=r"e\.tsv: there is no such file"):
            read(tmp_path / "e.tsv")
        (tmp_path / "folder.csv").mkdir(exist_ok=True)
        with pytest.raises(TableError, match=r"folder\.csv: not a file"):
            read(tmp_path / "folder.csv")


def test_orientation(write):
    path = write("sample\tg1\tg2\ns1\t1\t2\n")
    assert read_expression(path, orientation="columns").index.tolist() == ["g1", "g2"]
    assert read_expression(path, orientation="rows").index.tolist() == ["s1"]
    with pytest.raises(TableError, match="orientation"):
        read_expression(path, orientation="sideways")  # type: ignore[arg-type]


def test_parquet_with_the_names_in_a_plain_column(tmp_path):
    frame = pd.DataFrame({"gene": ["01", "1"], "a": [1, 2], "b": [0.5, None]})
    frame.to_parquet(tmp_path / "e.parquet")
    back = read_expression(tmp_path / "e.parquet")
    assert back.index.tolist() == ["01", "1"]
    np.testing.assert_array_equal(back, [[1.0, 0.5], [2.0, np.nan]])


def test_parquet_without_names_or_with_text(tmp_path):
    pd.DataFrame({"a": [1.0], "b": [2.0]}).to_parquet(tmp_path / "e.parquet")
    with pytest.raises(DTypeError, match=r"'a'.* should hold names"):
        read_expression(tmp_path / "e.parquet")
    frame = pd.DataFrame({"a": [1.0], "b": ["x"]}, index=["g"])
    frame.to_parquet(tmp_path / "e.parquet")
    with pytest.raises(DTypeError, match=r"not numeric: 'b'; leave them out .*--drop-column"):
        read_expression(tmp_path / "e.parquet")
    assert read_expression(tmp_path / "e.parquet", drop_columns=["b"]).columns.tolist() == ["a"]
    (tmp_path / "e.parquet").write_bytes(b"nonsense")
    with pytest.raises(TableError, match="not a readable Parquet file"):
        read_expression(tmp_path / "e.parquet")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # anndata's own
def test_h5ad(tmp_path):
    anndata = pytest.importorskip("anndata")
    sparse = pytest.importorskip("scipy.sparse")
    counts = np.array([[0.0, 2.0], [1.0, 0.0], [3.0, 4.0]])
    adata = anndata.AnnData(
        sparse.csr_matrix(counts),
        obs=pd.DataFrame({"age": [1, 2, 3]}, index=["s1", "s2", "s3"]),
        var=pd.DataFrame(index=["g1", "g2"]),
        layers={"log": np.log1p(counts)},
    )
    adata.write_h5ad(tmp_path / "e.h5ad")
    frame = read_expression(tmp_path / "e.h5ad")
    assert (frame.index.tolist(), frame.columns.tolist()) == (["g1", "g2"], ["s1", "s2", "s3"])
    np.testing.assert_array_equal(frame, counts.T)
    log = read_expression(tmp_path / "e.h5ad", layer="log")
    np.testing.assert_array_equal(log, np.log1p(counts).T)
    with pytest.raises(TableError, match="layer 'logg' does not exist; did you mean 'log'"):
        read_expression(tmp_path / "e.h5ad", layer="logg")
    assert read_samples(tmp_path / "e.h5ad")["age"].tolist() == [1, 2, 3]
    assert read_samples(tmp_path / "e.h5ad", index="age").index.tolist() == ["1", "2", "3"]
    with pytest.raises(TableError, match="column of obs 'agee' does not exist; did you mean 'age'"):
        read_samples(tmp_path / "e.h5ad", index="agee")
    bare = anndata.AnnData(counts)
    with pytest.raises(TableError, match="layer 'q' does not exist; there is none"):
        dense_values(bare, "q")
    (tmp_path / "bad.h5ad").write_bytes(b"nonsense")
    with pytest.raises(TableError, match=r"not a readable .h5ad"):
        read_expression(tmp_path / "bad.h5ad")


def test_samples_types(write):
    samples = read_samples(
        write(
            "id,age,dose,plate,sex,code,gap,allmissing,long\n"
            "001,40,0.5,001,M,1e3,3,NA,12345678901234567890\n"
            "1,51,1,2,F,x,,,1\n",
            "s.csv",
        )
    )
    assert samples.index.tolist() == ["001", "1"]
    assert samples.index.name == "id"
    assert samples["age"].dtype == np.int64
    assert samples["dose"].tolist() == [0.5, 1.0]
    assert samples["plate"].tolist() == ["001", "2"]
    assert samples["sex"].tolist() == ["M", "F"]
    assert samples["code"].tolist() == ["1e3", "x"]
    assert samples["gap"].dtype == np.float64
    assert samples["gap"].isna().tolist() == [False, True]
    assert samples["allmissing"].isna().tolist() == [True, True]
    assert samples["long"].tolist() == ["12345678901234567890", "1"]


def test_samples_missing_labels_are_missing_and_none_is_a_label(write):
    samples = read_samples(write("id\tgroup\na\tNA\nb\t\nc\tNone\nd\tnull\n"))
    assert samples["group"].isna().tolist() == [True, True, False, False]


def test_samples_a_slip_in_a_numeric_column_is_said(write):
    rows = "".join(f"s{i},{i}\n" for i in range(20))
    with pytest.warns(
        CodingWarning, match="column 'age' is read as text because of '4o' in row 'x'"
    ):
        samples = read_samples(write(f"id,age\n{rows}x,4o\n", "s.csv"))
    assert samples["age"].iloc[-1] == "4o"
    with pytest.raises(DTypeError, match="row 'x', column 'age': '1e400'"):
        read_samples(write(f"id,age\n{rows}x,1e400\n", "s.csv"))


def test_samples_decimal_commas_are_said(write):
    with pytest.warns(CodingWarning, match="'age' is read as text because of '41,13' in row 'b'"):
        samples = read_samples(write("id;age\na;40\nb;41,13\nc;7,5\n", "s.csv"))
    assert samples["age"].tolist() == ["40", "41,13", "7,5"]


def test_samples_infinite_cells_stay_numbers(write):
    assert np.isinf(read_samples(write("id,x\na,1\nb,Inf\n", "s.csv"))["x"]).tolist() == [
        False,
        True,
    ]


def test_samples_index_by_another_column(write):
    path = write("row,sample,age\n1,s1,40\n2,s2,50\n", "s.csv")
    samples = read_samples(path, index="sample")
    assert samples.index.tolist() == ["s1", "s2"]
    assert samples.columns.tolist() == ["row", "age"]
    assert samples["row"].tolist() == [1, 2]
    with pytest.raises(TableError, match=r"'sampel'.*did you mean 'sample'"):
        read_samples(path, index="sampel")


def test_samples_duplicates_and_missing_names(write):
    with pytest.raises(DuplicateSamplesError, match="more than once: 'a'; "):
        read_samples(write("id,x\na,1\nb,2\na,3\n", "s.csv"))
    with pytest.raises(AlignmentError, match="data row 2 has no sample name"):
        read_samples(write("id,x\na,1\n,2\n", "s.csv"))


def test_samples_parquet(tmp_path):
    frame = pd.DataFrame({"id": ["01", "1"], "sex": ["M", "F"]})
    frame.to_parquet(tmp_path / "s.parquet")
    assert read_samples(tmp_path / "s.parquet").index.tolist() == ["01", "1"]
    assert read_samples(tmp_path / "s.parquet", index="sex").index.tolist() == ["M", "F"]


def test_samples_without_rows(write):
    assert read_samples(write("id,x\n", "s.csv")).shape == (0, 1)
