"""Aligning expression values and weights with samples."""

import time

import numpy as np
import pandas as pd
import pytest

from lmmjax.errors import (
    AlignmentError,
    DesignError,
    DTypeError,
    EmptyDataError,
    ShapeError,
    WeightError,
)
from lmmjax.expression import align_expression, align_weights

SAMPLES = pd.DataFrame({"age": [1, 2, 3]}, index=["s1", "s2", "s3"])
GENES = ["g1", "g2"]
VALUES = np.array([[11.0, 12.0], [21.0, 22.0], [31.0, 32.0]])  # observations x responses


def frame(order=("s1", "s2", "s3")):
    return pd.DataFrame(VALUES, index=SAMPLES.index, columns=GENES).loc[list(order)]


@pytest.mark.parametrize("order", [("s1", "s2", "s3"), ("s3", "s1", "s2")])
@pytest.mark.parametrize("turned", [False, True])
def test_frames_are_aligned_by_label_on_either_axis(order, turned):
    Y = frame(order).T if turned else frame(order)
    aligned = align_expression(Y, SAMPLES)
    np.testing.assert_array_equal(aligned.values, VALUES)
    assert aligned.values.flags.c_contiguous
    assert aligned.values.dtype == np.float64
    assert aligned.responses.tolist() == GENES
    assert aligned.observations.tolist() == ["s1", "s2", "s3"]


def test_neither_axis():
    with pytest.raises(AlignmentError, match=r"neither the rows .* nor the columns"):
        align_expression(frame().set_axis(list("abc")), SAMPLES)


def test_labels_that_agree_only_as_text():
    samples = SAMPLES.set_axis([1, 2, 3])
    with pytest.raises(AlignmentError, match="agree as text: convert both to str"):
        align_expression(frame().set_axis(["1", "2", "3"]), samples)


def test_both_axes():
    square = pd.DataFrame(np.eye(3), index=SAMPLES.index, columns=SAMPLES.index)
    with pytest.raises(AlignmentError, match="both the rows and the columns"):
        align_expression(square, SAMPLES)


def test_the_axis_can_be_said():
    names = ["s1", "s2", "s3"]
    square = pd.DataFrame(VALUES[:, :1] + np.arange(3), index=names, columns=names)
    aligned = align_expression(square, SAMPLES, samples_in="rows")
    np.testing.assert_array_equal(aligned.values, square)
    np.testing.assert_array_equal(align_weights(square, aligned, SAMPLES, "rows"), square)
    aligned = align_expression(square, SAMPLES, samples_in="columns")
    np.testing.assert_array_equal(aligned.values, square.T)
    np.testing.assert_array_equal(align_weights(square, aligned, SAMPLES, "columns"), square.T)
    with pytest.raises(AlignmentError, match=r"rows of Y carry the sample names, not the columns"):
        align_expression(frame(), SAMPLES, samples_in="columns")
    with pytest.raises(AlignmentError, match="samples_in is 'sideways'"):
        align_expression(frame(), SAMPLES, samples_in="sideways")  # type: ignore[arg-type]


def test_a_gene_named_like_a_sample_does_not_hide_what_is_wrong():
    samples = pd.DataFrame(index=["001", "002", "003", "004"])
    Y = pd.DataFrame(np.ones((2, 3)), index=["001", "g2"], columns=["001", "002", "003"])
    with pytest.raises(AlignmentError, match="of the sample table that are not in Y: '004'"):
        align_expression(Y, samples)
    with pytest.raises(AlignmentError, match="of the sample table that are not in Y: '004'"):
        align_expression(Y, samples, samples_in="columns")


def test_lost_leading_zeros_are_said():
    samples = pd.DataFrame(index=["0", "1", "2"])
    genes = ["NA", "1", "g"]
    Y = pd.DataFrame(np.ones((3, 3)), index=genes, columns=["000", "001", "002"])
    with pytest.raises(AlignmentError, match=r"zeros look lost \('0' in the .*, '000' in Y\)"):
        align_expression(Y, samples)


def test_row_numbers_that_are_also_sample_names():
    samples = SAMPLES.reset_index(drop=True)
    aligned = align_expression(pd.DataFrame(np.ones((3, 50))), samples)
    assert aligned.values.shape == (3, 50)


def test_samples_missing_on_either_side_are_listed():
    with pytest.raises(AlignmentError, match="of the sample table that are not in Y: 's2'"):
        align_expression(frame(("s1", "s3")), SAMPLES)
    with pytest.raises(AlignmentError, match="in Y that are not in the sample table: 's3'"):
        align_expression(frame(), SAMPLES.iloc[:2])
    many = pd.DataFrame(np.ones((9, 1)), index=[*"abcdefgh", "s1"])
    with pytest.raises(AlignmentError, match=r"'a', 'b', 'c', 'd', 'e', ... \(8 in all\)"):
        align_expression(many, SAMPLES)


def test_duplicated_samples():
    doubled = pd.concat([SAMPLES, SAMPLES.iloc[:1]])
    with pytest.raises(AlignmentError, match="more than once in the sample table: 's1'"):
        align_expression(frame(), doubled)
    with pytest.raises(AlignmentError, match="more than once in Y: 's2'"):
        align_expression(frame(("s1", "s2", "s2", "s3")), SAMPLES)
    with pytest.raises(DesignError):
        align_expression(frame().loc[doubled.index], doubled)


def test_duplicated_responses_only_on_request():
    Y = frame().set_axis(["g", "g"], axis=1)
    with pytest.raises(AlignmentError, match="responses occur more than once: 'g'"):
        align_expression(Y, SAMPLES)
    aligned = align_expression(Y, SAMPLES, allow_duplicate_responses=True)
    assert aligned.responses.tolist() == ["g", "g"]


def test_arrays_go_by_position():
    aligned = align_expression(VALUES.astype(np.float32), SAMPLES)
    np.testing.assert_array_equal(aligned.values, VALUES)
    assert aligned.responses.equals(pd.RangeIndex(2))
    assert align_expression([1, 2, 3], SAMPLES).values.shape == (3, 1)
    with pytest.raises(ShapeError, match=r"2 rows, the sample table 3; .*Y\.T"):
        align_expression(VALUES.T, SAMPLES)
    with pytest.raises(ShapeError, match="3 dimensions"):
        align_expression(VALUES[None], SAMPLES)


def test_series():
    Y = pd.Series({"s3": 3, "s1": 1, "s2": 2}, name="y1")
    aligned = align_expression(Y, SAMPLES)
    assert aligned.values.tolist() == [[1.0], [2.0], [3.0]]
    assert aligned.responses.tolist() == ["y1"]
    with pytest.raises(DTypeError, match="'y1' is not numeric"):
        align_expression(Y.astype(str), SAMPLES)


def test_numbers_of_any_dtype():
    Y = frame().astype({"g1": "Float64", "g2": "int32"})
    Y.loc["s1", "g1"] = pd.NA
    values = align_expression(Y, SAMPLES).values
    np.testing.assert_array_equal(values, [[np.nan, 12], [21, 22], [31, 32]])


@pytest.mark.parametrize("bad", ["x", 1j])
def test_other_dtypes_are_named(bad):
    with pytest.raises(DTypeError, match="not numeric: 'extra'"):
        align_expression(frame().assign(extra=bad), SAMPLES)
    with pytest.raises(DTypeError, match="not real numbers"):
        align_expression(np.array([[bad]] * 3), SAMPLES)


def test_missing_and_infinite_cells_are_left_in():
    Y = frame()
    Y.iloc[0, 0], Y.iloc[1, 1] = np.nan, np.inf
    np.testing.assert_array_equal(align_expression(Y.T, SAMPLES).values, Y)


def test_empty_input():
    assert align_expression(frame()[[]], SAMPLES).values.shape == (3, 0)
    assert align_expression(frame()[[]].T, SAMPLES).values.shape == (3, 0)
    assert align_expression(np.empty((3, 0)), SAMPLES).values.shape == (3, 0)
    with pytest.raises(EmptyDataError):
        align_expression(frame().iloc[:0], SAMPLES.iloc[:0])
    with pytest.raises(EmptyDataError):
        align_expression(pd.DataFrame(), SAMPLES)


def test_a_sample_table_is_needed():
    with pytest.raises(AlignmentError, match="sample table is needed"):
        align_expression(frame())
    with pytest.raises(AlignmentError, match="layer='a' is for an AnnData"):
        align_expression(frame(), SAMPLES, layer="a")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # anndata's own
@pytest.mark.parametrize("form", ["csr_matrix", "csc_matrix", "array"])
def test_anndata(form, monkeypatch):
    anndata = pytest.importorskip("anndata")
    make = np.array if form == "array" else getattr(pytest.importorskip("scipy.sparse"), form)
    monkeypatch.setattr("lmmjax.expression.anndata_view._CHUNK_CELLS", 4)
    adata = anndata.AnnData(
        make(VALUES), obs=SAMPLES, var=pd.DataFrame(index=GENES), layers={"double": 2 * VALUES}
    )
    np.testing.assert_array_equal(align_expression(adata).values, VALUES)
    turned = align_expression(adata, SAMPLES.iloc[::-1])
    np.testing.assert_array_equal(turned.values, VALUES[::-1])
    assert turned.responses.tolist() == GENES
    np.testing.assert_array_equal(align_expression(adata, layer="double").values, 2 * VALUES)
    with pytest.raises(AlignmentError, match="in Y that are not in the sample"):
        align_expression(adata, SAMPLES.iloc[:2])


def test_a_large_table_is_aligned_quickly_and_copied_once():
    rng = np.random.default_rng(0)
    names = [f"s{i}" for i in range(100)]
    Y = pd.DataFrame(rng.normal(size=(20_000, 100)), columns=names)
    Y.index = [f"gene{i}" for i in range(20_000)]
    samples = pd.DataFrame(index=rng.permutation(names))
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        align_expression(Y, samples)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1  # 2 ms on a quiet core; a loaded machine gets some grace
    same = align_expression(Y.T.copy(), Y.T)
    assert same.values.shape == (100, 20_000)


# weights


@pytest.fixture
def aligned():
    return align_expression(frame(), SAMPLES)


def test_no_weights(aligned):
    assert align_weights(None, aligned, SAMPLES) is None


def test_weights_by_label(aligned):
    vector = align_weights(pd.Series({"s3": 3, "s2": 2, "s1": 0}), aligned, SAMPLES)
    assert vector is not None
    assert vector.tolist() == [0.0, 2.0, 3.0]
    table = frame(("s2", "s3", "s1"))[["g2", "g1"]]
    for weights in (table, table.T):
        np.testing.assert_array_equal(align_weights(weights, aligned, SAMPLES), VALUES)


def test_weights_by_position(aligned):
    np.testing.assert_array_equal(align_weights([1, 2, 3], aligned, SAMPLES), [1, 2, 3])
    np.testing.assert_array_equal(align_weights(VALUES, aligned, SAMPLES), VALUES)
    with pytest.raises(ShapeError, match="weights has 2 rows"):
        align_weights(np.ones(2), aligned, SAMPLES)
    with pytest.raises(ShapeError, match="weights have 1 columns, there are 2 responses"):
        align_weights(np.ones((3, 1)), aligned, SAMPLES)


def test_weights_of_other_responses(aligned):
    with pytest.raises(AlignmentError, match="responses without weights: 'g2'"):
        align_weights(frame()[["g1"]], aligned, SAMPLES)
    with pytest.raises(AlignmentError, match="not fitted: 'g3'"):
        align_weights(frame().assign(g3=1.0), aligned, SAMPLES)
    with pytest.raises(DTypeError, match="not numeric"):
        align_weights(pd.Series({"s1": "a", "s2": "b", "s3": "c"}), aligned, SAMPLES)


def test_weights_of_repeated_responses_need_the_same_order():
    Y = frame().set_axis(["g", "g"], axis=1)
    aligned = align_expression(Y, SAMPLES, allow_duplicate_responses=True)
    np.testing.assert_array_equal(align_weights(Y, aligned, SAMPLES), VALUES)
    with pytest.raises(AlignmentError, match="more than once in the responses: 'g'"):
        align_weights(frame(), aligned, SAMPLES)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_bad_weights_are_named(aligned, bad):
    weights = frame()
    weights.loc["s2", "g2"] = bad
    with pytest.raises(WeightError, match=r"observation 's2', response 'g2' is (-1|nan|inf)"):
        align_weights(weights, aligned, SAMPLES)
    with pytest.raises(WeightError, match="observation 's3' is"):
        align_weights([1.0, 0.0, bad], aligned, SAMPLES)
