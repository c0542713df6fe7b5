"""One response never affects another, and chunks do not matter."""

import cases
import numpy as np
import pytest
from cases import fit_quietly, numbers

from lmmjax import batch
from lmmjax.structure import Layout

HOPELESS = {
    "nan": np.nan,
    "inf": np.inf,
    "constant": 3.0,
    "zero": 0.0,
}


def poison(y: np.ndarray, columns: np.ndarray, seed: int = 0) -> np.ndarray:
    """Columns replaced by one hopeless response each, in turn, some only in part."""
    rng = np.random.default_rng(seed)
    out = y.copy()
    for k, column in enumerate(columns):
        value = list(HOPELESS.values())[k % len(HOPELESS)]
        if np.isinf(value):
            out[rng.integers(0, len(y), 3), column] = value
        else:
            out[:, column] = value
    return out


def assert_bitwise(one, other, columns: np.ndarray) -> None:
    for key, value in numbers(one).items():
        np.testing.assert_array_equal(value[columns], numbers(other)[key][columns], err_msg=key)
    np.testing.assert_array_equal(one.status_codes[columns], other.status_codes[columns])


@pytest.mark.parametrize("what", HOPELESS)
@pytest.mark.parametrize("path", ["auto", "weighted"])
def test_neighbours_are_unchanged_bit_for_bit(what: str, path) -> None:
    model, y = cases.model("crossed"), cases.responses(37)
    clean = model.fit(y, chunk_size=16, path=path)
    bad = y.copy()
    bad[:, 5] = HOPELESS[what]
    fits = fit_quietly(model, bad, chunk_size=16, path=path)
    assert not fits.converged.iloc[5]
    assert np.isnan(fits.theta.iloc[5]).all() and np.isnan(fits.objective.iloc[5])
    assert_bitwise(fits, clean, np.delete(np.arange(37), 5))


@pytest.mark.parametrize("count", [9, 33])
def test_neighbours_are_unchanged_where_the_batch_gets_smaller(count: int) -> None:
    """Without a hopeless response the rest would fill a smaller power of two: no matter."""
    model, y = cases.model("crossed"), cases.responses(count)
    clean = model.fit(y)
    bad = y.copy()
    bad[:, 3] = np.nan
    assert_bitwise(fit_quietly(model, bad), clean, np.delete(np.arange(count), 3))


@pytest.mark.parametrize("weighted", [False, True])
def test_modes_of_neighbours_are_unchanged_bit_for_bit(weighted: bool) -> None:
    model, y = cases.model("crossed"), cases.responses(9)
    weights = np.linspace(0.5, 2.0, y.size).reshape(y.shape) if weighted else None
    clean = model.fit(y, weights=weights)
    bad = y.copy()
    bad[:, 1], bad[3, 2], bad[:, 4] = np.nan, np.inf, 3.0
    fits = fit_quietly(model, bad, weights=weights)
    others = np.delete(np.arange(9), [1, 2, 4])
    for name in ("fitted", "residuals"):
        one, other = (getattr(f, name)().to_numpy() for f in (fits, clean))
        np.testing.assert_array_equal(one[:, others], other[:, others], err_msg=name)
        assert np.isnan(one[:, [1, 2, 4]]).all()
    for group, modes in fits.ranef().items():
        other = clean.ranef()[group].to_numpy()
        np.testing.assert_array_equal(modes.to_numpy()[others], other[others], err_msg=group)
        assert np.isnan(modes.to_numpy()[[1, 2, 4]]).all()


@pytest.mark.parametrize("percent", [1, 10, 50])
def test_poisoned_batches(percent: int) -> None:
    model, y = cases.model("crossed"), cases.responses(200)
    clean = model.fit(y, chunk_size=64)
    columns = np.random.default_rng(percent).choice(200, 2 * percent, replace=False)
    fits = fit_quietly(model, poison(y, columns), chunk_size=64)
    good = np.setdiff1d(np.arange(200), columns)
    assert_bitwise(fits, clean, good)
    assert (fits.status.iloc[good] == "converged").all()
    assert not fits.converged.iloc[columns].any()
    assert set(fits.status.iloc[columns]) <= {"missing", "nonfinite", "constant_response"}


def test_missing_values_of_one_leave_the_others_unchanged() -> None:
    """A response that moves to the per-response path takes nobody with it."""
    model, y = cases.model("crossed"), cases.responses(37)
    some = y.copy()
    some[3, 5] = np.nan
    clean, fits = model.fit(y, chunk_size=16), model.fit(some, chunk_size=16)
    assert_bitwise(fits, clean, np.delete(np.arange(37), 5))
    assert fits.n_obs[5] == 39


@pytest.mark.parametrize("size", [1, 7, 512])
def test_chunk_size_does_not_matter(size: int) -> None:
    model, y = cases.model("crossed"), cases.responses(130)
    one = model.fit(y, chunk_size=32)
    other = model.fit(y, chunk_size=size)
    np.testing.assert_allclose(other.objective, one.objective, rtol=1e-10)
    np.testing.assert_allclose(other.sigma, one.sigma, rtol=1e-10)
    np.testing.assert_allclose(other.theta.to_numpy(), one.theta.to_numpy(), atol=1e-10)
    np.testing.assert_allclose(other.fixef.to_numpy(), one.fixef.to_numpy(), rtol=1e-10)


def test_order_of_responses_does_not_matter() -> None:
    model, y = cases.model("crossed"), cases.responses(130)
    order = np.random.default_rng(0).permutation(130)
    one, other = model.fit(y, chunk_size=32), model.fit(y[:, order], chunk_size=32)
    np.testing.assert_array_equal(numbers(one)["theta"][order], numbers(other)["theta"])
    np.testing.assert_array_equal(numbers(one)["objective"][order], numbers(other)["objective"])


def test_one_response_alone_is_the_same_response() -> None:
    model, y = cases.model("crossed"), cases.responses(130)
    many = model.fit(y, chunk_size=32)
    for g in (0, 77):
        alone = model.fit(y[:, g])
        np.testing.assert_allclose(alone.theta.iloc[0], many.theta.iloc[g], atol=1e-10)
        np.testing.assert_allclose(alone.objective.iloc[0], many.objective.iloc[g], rtol=1e-12)


def test_slow_responses_are_carried_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one trip per call the compaction does nearly all the work, to the same optimum."""
    model, y = cases.model("crossed"), cases.responses(130)
    expected = model.fit(y, chunk_size=32)
    monkeypatch.setattr(batch, "FIRST_TRIPS_SCALAR", 1)
    monkeypatch.setattr(batch, "MORE_TRIPS", 2)
    fits = model.fit(y, chunk_size=32)
    assert (fits.status == "converged").all()
    np.testing.assert_allclose(fits.objective, expected.objective, rtol=1e-12)
    np.testing.assert_allclose(fits.theta.to_numpy(), expected.theta.to_numpy(), atol=1e-6)


def test_repeated_fits_are_the_same_bits() -> None:
    model, y = cases.model("crossed"), cases.responses(40)
    one, other = model.fit(y, chunk_size=8), model.fit(y, chunk_size=8)
    assert_bitwise(one, other, np.arange(40))


def test_block_size_is_a_power_of_two_within_memory() -> None:
    layout = Layout(p=2, eliminated=(1,), dense=((1, 3), (1, 4)))
    for doubles in (10, 10_000, 10_000_000):
        size = batch.block_size(layout, 100, doubles, None)
        assert size & (size - 1) == 0
    large = batch.block_size(layout, 1000, 100_000, None)
    small = batch.block_size(layout, 1000, 100_000, 1e6)
    assert small <= large
    assert batch.chunk_size(layout, small, 1e6, 20_000) == small


def test_chunks_of_several_blocks_where_every_core_gets_some(monkeypatch) -> None:
    scalar = Layout(p=2, eliminated=(1,), dense=((1, 3),))
    vector = Layout(p=2, eliminated=(2,), dense=())
    monkeypatch.setattr(batch, "_cores", lambda: 2)
    sizes = {total: batch.chunk_size(scalar, 128, None, total) for total in (1, 1600, 20_000)}
    assert sizes == {1: 128, 1600: 256, 20_000: 1024}
    assert batch.chunk_size(vector, 128, None, 20_000) == 512
    monkeypatch.setattr(batch, "_cores", lambda: 64)
    assert batch.chunk_size(scalar, 128, None, 20_000) == 128


def test_no_responses() -> None:
    fits = cases.model("crossed").fit(np.zeros((40, 0)))
    assert len(fits) == 0
    assert list(fits.theta.columns) == ["g.(Intercept)", "h.(Intercept)"]
    assert list(fits.variance_partition().columns) == ["g", "h", "x", "Residuals"]
