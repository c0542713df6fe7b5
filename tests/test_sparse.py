"""Models with many crossed levels: the sparse form against the dense ones and the judge."""

import cases
import dense
import numpy as np
import pandas as pd
import pytest
from cases import assert_same_fits

import lmmjax
from lmmjax.sparse import prepare_sparse, worth_it


@pytest.fixture(scope="module")
def ratings() -> pd.DataFrame:
    """900 ratings, 320 students x 290 lecturers that rarely meet, 3 departments."""
    rng = np.random.default_rng(5)
    n = 900
    student = np.concatenate([np.arange(320), rng.integers(0, 320, n - 320)])
    lecturer = np.concatenate([np.arange(290), rng.integers(0, 290, n - 290)])
    department = lecturer % 3
    data = pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "student": [f"s{i}" for i in student],
            "lecturer": [f"l{i}" for i in lecturer],
            "department": [f"d{i}" for i in department],
            "w": rng.uniform(0.5, 2.0, n),
        }
    )
    slopes = rng.normal(size=290)
    data["y"] = (
        3.0
        + 0.5 * data["x"]
        + 0.6 * rng.normal(size=320)[student]
        + 0.8 * rng.normal(size=290)[lecturer]
        + 0.4 * slopes[lecturer] * data["x"]
        + rng.normal(size=n)
    )
    return data


@pytest.fixture(scope="module")
def model(ratings: pd.DataFrame) -> lmmjax.model.Model:
    return lmmjax.compile("~ x + (1|student) + (1|lecturer) + (1|department)", ratings)


def test_chosen_where_columns_are_many_and_rarely_meet(ratings, model) -> None:
    assert model.many_columns
    assert "sparse blocked elimination" in model.explain()
    assert not cases.model("crossed").many_columns
    full = pd.DataFrame({"a": np.repeat(np.arange(300), 260), "b": np.tile(np.arange(260), 300)})
    crossed = lmmjax.compile("~ (1|a) + (1|b)", full.astype(str))
    assert not crossed.many_columns  # every pair meets: nothing is sparse
    assert not worth_it(cases.model("one_term").layout, [np.arange(3)], [3], [None])


@pytest.mark.parametrize("reml", [True, False])
def test_agrees_with_the_judge_and_with_the_dense_path(ratings, model, reml) -> None:
    y = ratings[["y"]].to_numpy()
    fits = model.fit(y, reml=reml)
    assert fits.status.iloc[0] == "converged"
    judge = dense.at_theta(model.design, fits.theta.iloc[0], y[:, 0], reml)
    np.testing.assert_allclose(fits.objective.iloc[0], judge.objective, rtol=1e-11)
    np.testing.assert_allclose(fits.sigma.iloc[0], judge.sigma, rtol=1e-9)
    np.testing.assert_allclose(fits.fixef.iloc[0], judge.beta, rtol=1e-9)
    np.testing.assert_allclose(fits.std_errors.iloc[0], np.sqrt(np.diag(judge.vcov)), rtol=1e-9)
    if reml:
        assert_same_fits(fits, model.fit(y, reml=reml, path="blocked"))


def test_several_responses_and_common_weights(ratings, model) -> None:
    rng = np.random.default_rng(1)
    y = ratings["y"].to_numpy()[:, None] + rng.normal(size=(len(ratings), 5))
    weights = ratings["w"].to_numpy()
    together = model.fit(y, weights=weights)
    judge = dense.at_theta(model.design, together.theta.iloc[3], y[:, 3], True, weights)
    np.testing.assert_allclose(together.objective.iloc[3], judge.objective, rtol=1e-11)
    alone = model.fit(y[:, 3:4], weights=weights)
    np.testing.assert_allclose(alone.objective.iloc[0], together.objective.iloc[3], rtol=1e-13)
    np.testing.assert_allclose(alone.theta.iloc[0], together.theta.iloc[3], atol=1e-9)


def test_vector_terms_on_both_sides(ratings) -> None:
    model = lmmjax.compile("~ x + (x|student) + (x|lecturer)", ratings)
    assert model.many_columns
    y = ratings[["y"]].to_numpy()
    fits = model.fit(y, n_starts=1)
    judge = dense.at_theta(model.design, fits.theta.iloc[0], y[:, 0], True)
    np.testing.assert_allclose(fits.objective.iloc[0], judge.objective, rtol=1e-11)
    assert fits.gradient_norm.iloc[0] < 1e-5


def test_modes_and_fitted_values(ratings, model) -> None:
    fit = lmmjax.lmer("y ~ x + (1|student) + (1|lecturer) + (1|department)", ratings)
    design = model.design
    z = np.concatenate(
        [
            t.z * (t.codes[:, None] == np.arange(t.n_levels)) * s
            for t, s in zip(design.terms, fit.theta, strict=True)
        ],
        axis=1,
    )
    system = z.T @ z + np.eye(z.shape[1])
    residual = ratings["y"].to_numpy() - design.X @ fit.fixef.to_numpy()
    spherical = np.linalg.solve(system, z.T @ residual)
    np.testing.assert_allclose(
        fit.fitted(), design.X @ fit.fixef.to_numpy() + z @ spherical, rtol=1e-9
    )


def test_pairs_are_the_cross_products(model) -> None:
    made = prepare_sparse(
        model.layout, model.design.X, model._z, model._codes, model._levels, None
    ).arrays
    shared = model._prepare(None, max_classes=-1, sparse=False).arrays
    rotated = np.zeros(shared.rotated_r.shape)
    for i in range(rotated.shape[1]):
        rotated[made.entry_level, i, made.entry_column] = made.entry_value[:, i]
    np.testing.assert_allclose(rotated, shared.rotated_r, atol=1e-12)
    np.testing.assert_allclose(made.within_rr, shared.within_rr, atol=1e-11)
    product = np.zeros(shared.within_rr.shape)
    np.add.at(product, (made.pair_row, made.pair_column), made.pair_value[:, 0])
    np.testing.assert_allclose(
        np.tril(product),
        np.tril(np.einsum("lm,lk->mk", rotated[:, 0], rotated[:, 0])),
        atol=1e-12,
    )


def test_the_sparse_path_needs_two_factors() -> None:
    with pytest.raises(ValueError, match="two grouping factors"):
        cases.model("one_term").fit(cases.responses(), path="sparse")
