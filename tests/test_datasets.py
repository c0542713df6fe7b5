"""Packaged and simulated data."""

import numpy as np
import pandas as pd
import pytest
import reference

from lmmjax.datasets import load_sleepstudy, simulate_expression
from lmmjax.errors import LmmError


def test_sleepstudy_is_the_table_of_the_reference_fits() -> None:
    data = load_sleepstudy()
    assert data.shape == (180, 3)
    assert data["Days"].dtype == np.int64
    assert list(data["Subject"].cat.categories[:2]) == ["308", "309"]
    expected = reference.load_data("sleepstudy")
    np.testing.assert_array_equal(data["Reaction"], expected["Reaction"])
    assert list(data["Subject"]) == list(expected["Subject"])


def test_simulated_tables_have_the_documented_shape() -> None:
    data = simulate_expression(n_responses=200, seed=3)
    assert data.expression.shape == (200, 100)
    assert list(data.expression.columns) == list(data.samples.index)
    assert list(data.truth.index) == list(data.expression.index)
    assert data.samples.drop(columns="Age").nunique().to_dict() == {
        "Individual": 25,
        "Tissue": 3,
        "Batch": 4,
    }
    assert (data.samples.groupby("Individual")["Age"].nunique() == 1).all()
    assert all(isinstance(label, str) for label in data.samples["Batch"])
    assert not data.expression.isna().any(axis=None)


def test_the_seed_decides() -> None:
    first, again = (simulate_expression(n_responses=20, seed=5) for _ in range(2))
    pd.testing.assert_frame_equal(first.expression, again.expression)
    pd.testing.assert_frame_equal(first.samples, again.samples)
    other = simulate_expression(n_responses=20, seed=6)
    assert not np.allclose(first.expression, other.expression)


def test_about_half_of_the_genes_have_a_zero_component() -> None:
    truth = simulate_expression(n_responses=5000).truth
    zero = (truth[["Individual", "Tissue", "Batch"]] == 0).any(axis=1)
    assert 0.45 < zero.mean() < 0.6
    assert (truth["Residuals"] > 0).all()
    assert 0.25 < (truth["Age"] != 0).mean() < 0.35


def test_the_data_have_the_variances_of_the_truth() -> None:
    data = simulate_expression(
        n_responses=400, n_individuals=100, n_tissues=1, n_batches=1, n_observations=400, seed=2
    )
    values = data.expression.to_numpy().reshape(400, 100, 4)  # individuals have adjacent samples
    within = values.var(axis=2, ddof=1).mean(axis=1)
    assert np.median(within / data.truth["Residuals"]) == pytest.approx(1, abs=0.02)
    no_age = (data.truth["Age"] == 0).to_numpy()
    between = values.mean(axis=2).var(axis=1, ddof=1) - within / 4
    ratio = between[no_age].sum() / data.truth["Individual"][no_age].sum()
    assert ratio == pytest.approx(1, abs=0.1)


def test_missing_values_are_a_fraction() -> None:
    data = simulate_expression(n_responses=300, missing=0.2)
    assert data.expression.isna().to_numpy().mean() == pytest.approx(0.2, abs=0.01)
    complete = simulate_expression(n_responses=300)
    present = data.expression.notna().to_numpy()
    np.testing.assert_array_equal(
        data.expression.to_numpy()[present], complete.expression.to_numpy()[present]
    )


def test_uneven_sizes() -> None:
    data = simulate_expression(n_responses=3, n_individuals=7, n_batches=5, n_observations=23)
    assert data.samples["Individual"].value_counts().between(3, 4).all()
    assert data.samples["Batch"].nunique() == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"missing": 1.0}, "missing is 1.0"),
        ({"n_individuals": 101}, "Individual has 101 levels for 100 observations"),
        ({"n_responses": -1}, "n_responses is -1"),
        ({"age_fraction": 2.0}, "age_fraction is 2.0"),
    ],
)
def test_impossible_sizes_are_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(LmmError, match=message):
        simulate_expression(**arguments)  # type: ignore[arg-type]
