"""All numerical paths give the same answer, and missing means absent."""

from typing import Any, get_args

import cases
import dense
import numpy as np
import pandas as pd
import pytest
from cases import assert_same_fits, fit_quietly

from lmmjax.model import Path


def absent(formula: str, y: np.ndarray, rows: np.ndarray, weights: np.ndarray | None = None):
    """The fit of one response when only `rows` (positions) are in the sample table."""
    model = cases.lmmjax.compile(formula, cases.samples().iloc[rows])
    return model.fit(y[rows, None], weights=None if weights is None else weights[rows])


def assert_one_row(fits: Any, at: int, alone: Any, atol: float = 1e-6) -> None:
    """Response `at` of a batch equals a batch of one, whose design may have fewer columns."""
    assert fits.status.iloc[at] == alone.status.iloc[0]
    assert fits.n_obs[at] == alone.n_obs[0]
    assert fits.df.iloc[at] == alone.df.iloc[0]
    np.testing.assert_allclose(fits.objective.iloc[at], alone.objective.iloc[0], rtol=1e-9)
    np.testing.assert_allclose(fits.theta.iloc[at], alone.theta.iloc[0], atol=atol)
    np.testing.assert_allclose(fits.sigma.iloc[at], alone.sigma.iloc[0], rtol=atol)
    for here, there in ((fits.fixef, alone.fixef), (fits.std_errors, alone.std_errors)):
        mine = here.iloc[at].dropna()
        other = there.iloc[0].dropna()
        assert list(mine.index) == list(other.index)
        np.testing.assert_allclose(mine, other, rtol=atol, atol=atol)


@pytest.mark.parametrize(
    ("name", "reml", "paths"),
    [
        ("one_term", True, ["blocked", "weighted", "spectral"]),
        ("crossed", True, ["blocked", "sparse", "weighted"]),
        ("slope_and_crossed", True, ["blocked", "sparse", "weighted"]),
        ("slope", False, ["weighted"]),
        ("nested", False, ["sparse", "weighted"]),
        ("dense_slope", False, ["sparse"]),
        ("no_fixed", True, ["weighted", "spectral"]),
        ("linear", True, ["weighted"]),
    ],
)
def test_paths_agree(name: str, reml: bool, paths: list[Path]) -> None:
    model, y = cases.model(name), cases.responses()
    first = model.fit(y, reml=reml, path="compressed")
    assert (first.status == "converged").all()
    for path in paths:
        assert_same_fits(first, model.fit(y, reml=reml, path=path))
    for g in range(3):
        at = dense.at_theta(model.design, first.theta.iloc[g], y[:, g], reml)
        np.testing.assert_allclose(first.objective.iloc[g], at.objective, rtol=1e-10)
        np.testing.assert_allclose(first.sigma.iloc[g], at.sigma, rtol=1e-9)
        np.testing.assert_allclose(first.fixef.iloc[g], at.beta, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(
            first.std_errors.iloc[g], np.sqrt(np.diag(at.vcov)), rtol=1e-8, atol=1e-10
        )


@pytest.mark.parametrize("name", ["one_term", "crossed", "linear"])
def test_weights_of_one_change_nothing(name: str) -> None:
    model, y = cases.model(name), cases.responses()
    plain = model.fit(y)
    assert_same_fits(plain, model.fit(y, weights=np.ones(40)))
    assert_same_fits(plain, model.fit(y, weights=np.ones((40, 12))))


@pytest.mark.parametrize("name", ["one_term", "crossed"])
def test_one_vector_or_one_matrix_of_weights(name: str) -> None:
    model, y = cases.model(name), cases.responses()
    weights = np.random.default_rng(4).uniform(0.2, 3.0, 40)
    paths: list[Path] = ["compressed", "weighted"]
    paths += ["spectral"] if name == "one_term" else []
    matrix = model.fit(y, weights=np.repeat(weights[:, None], 12, axis=1))
    for path in paths:
        assert_same_fits(matrix, model.fit(y, weights=weights, path=path))
    for g in range(3):
        at = dense.at_theta(model.design, matrix.theta.iloc[g], y[:, g], True, weights)
        np.testing.assert_allclose(matrix.objective.iloc[g], at.objective, rtol=1e-10)
        np.testing.assert_allclose(matrix.sigma.iloc[g], at.sigma, rtol=1e-9)
        np.testing.assert_allclose(matrix.fixef.iloc[g], at.beta, rtol=1e-8)


def test_scale_of_the_weights_scales_sigma_only() -> None:
    model, y = cases.model("crossed"), cases.responses()
    weights = np.random.default_rng(4).uniform(0.2, 3.0, (40, 12))
    one, other = model.fit(y, weights=weights), model.fit(y, weights=100 * weights)
    np.testing.assert_allclose(
        10 * one.theta.to_numpy(), 10 * (other.theta.to_numpy() * 10), atol=1e-4
    )
    np.testing.assert_allclose(10 * one.sigma, other.sigma, rtol=1e-6)
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-9)
    np.testing.assert_allclose(one.fixef.to_numpy(), other.fixef.to_numpy(), rtol=1e-6)


def test_duplicated_rows_are_weight_two_for_coefficients() -> None:
    """Without random effects, a row twice or a weight of 2: same coefficients."""
    table, y = cases.samples(), cases.responses()
    twice = np.concatenate([np.arange(40), np.arange(10)])
    doubled = table.iloc[twice].set_axis([f"d{i}" for i in range(50)])
    weights = np.ones(40)
    weights[:10] = 2.0
    rows = cases.lmmjax.compile("~ x + f", doubled).fit(y[twice])
    weighted = cases.model("linear").fit(y, weights=weights)
    np.testing.assert_allclose(rows.fixef.to_numpy(), weighted.fixef.to_numpy(), rtol=1e-9)
    assert (weighted.n_obs == 40).all()


def test_duplicated_rows_are_weight_two_with_random_effects() -> None:
    """Same theta dependence too: Z'WZ and Z'Wy are equal, only n and log weights differ."""
    table, y = cases.samples(), cases.responses()[:, 0]
    doubled = table.iloc[np.repeat(np.arange(40), 2)].set_axis([f"d{i}" for i in range(80)])
    model, twice = cases.model("crossed"), cases.lmmjax.compile("~ x + (1|g) + (1|h)", doubled)
    for theta in ([0.7, 0.4], [0.0, 1.0]):
        at = dense.at_theta(model.design, theta, y, False, np.full(40, 2.0))
        other = dense.at_theta(twice.design, theta, np.repeat(y, 2), False)
        np.testing.assert_allclose(at.beta, other.beta, rtol=1e-9)
        np.testing.assert_allclose(at.sigma**2 * 40, other.sigma**2 * 80, rtol=1e-9)
        value = float(twice.deviance(theta, np.repeat(y, 2), reml=False))
        np.testing.assert_allclose(value, other.objective, rtol=1e-10)


MISSING: dict[str, Any] = {
    "one": np.array([4]),
    "scattered": np.array([0, 7, 8, 15, 22, 30, 39]),
    "group": np.arange(0, 3),
    "two_groups": np.concatenate([np.arange(0, 7), np.arange(33, 40)]),
}


@pytest.mark.parametrize("name", ["crossed", "slope_and_crossed"])
def test_missing_is_absent(name: str) -> None:
    model, y = cases.model(name), cases.responses().copy()
    weights = np.ones_like(y)
    for g, rows in enumerate(MISSING.values()):
        y[rows, g] = np.nan
        weights[rows, g] = 0.0
    fits = model.fit(y)
    zero_weight = model.fit(cases.responses(), weights=weights)
    for key, value in cases.numbers(zero_weight).items():
        np.testing.assert_array_equal(
            value[: len(MISSING)], cases.numbers(fits)[key][: len(MISSING)], err_msg=key
        )
    complete = model.fit(cases.responses())
    np.testing.assert_allclose(
        zero_weight.objective,
        np.where(np.arange(12) < len(MISSING), fits.objective, complete.objective),
        rtol=1e-10,
    )
    for g, (what, rows) in enumerate(MISSING.items()):
        at = dense.at_theta(model.design, fits.theta.iloc[g], y[:, g], True)
        np.testing.assert_allclose(fits.objective.iloc[g], at.objective, rtol=1e-10)
        np.testing.assert_allclose(fits.fixef.iloc[g], at.beta, rtol=1e-8)
        if what in ("one", "two_groups"):
            left = np.setdiff1d(np.arange(40), rows)
            alone = absent(cases.FORMULAS[name], cases.responses()[:, g], left)
            assert_one_row(fits, g, alone)


def test_missing_with_weights_is_absent() -> None:
    model, y = cases.model("crossed"), cases.responses().copy()[:, :2]
    weights = np.random.default_rng(5).uniform(0.3, 2.0, 40)
    rows = MISSING["scattered"]
    y[rows, 1] = np.nan
    fits = model.fit(y, weights=weights)
    left = np.setdiff1d(np.arange(40), rows)
    alone = absent(cases.FORMULAS["crossed"], y[:, 1], left, weights)
    assert_one_row(fits, 1, alone)


def test_factor_level_that_a_response_never_sees() -> None:
    """Its coefficient is NaN for that response; everything else as if the level were gone."""
    formula = "~ x + f + (1|g)"
    y = cases.responses().copy()[:, :3]
    rows = np.flatnonzero(cases.samples()["f"].to_numpy() == "c")
    y[rows, 1] = np.nan
    fits = cases.lmmjax.compile(formula, cases.samples()).fit(y)
    assert fits.fixef.iloc[1].isna().sum() == 1
    assert not fits.fixef.iloc[[0, 2]].isna().any().any()
    assert_one_row(fits, 1, absent(formula, y[:, 1], np.setdiff1d(np.arange(40), rows)))


def test_reference_level_that_a_response_never_sees() -> None:
    """The first wins: the last dummy of what is left is aliased, as lme4 would drop it."""
    formula = "~ x + f + (1|g)"
    y = cases.responses().copy()[:, :2]
    y[cases.samples()["f"].to_numpy() == "a", 1] = np.nan
    fits = cases.lmmjax.compile(formula, cases.samples()).fit(y)
    beta = fits.fixef.iloc[1]
    assert list(beta.index[beta.isna()]) == [beta.index[-1]]
    assert fits.df.iloc[1] == fits.df.iloc[0] - 1
    rows = np.flatnonzero(cases.samples()["f"].to_numpy() != "a")
    alone = absent("~ 0 + f + x + (1|g)", y[:, 1], rows)
    np.testing.assert_allclose(fits.sigma.iloc[1], alone.sigma.iloc[0], rtol=1e-7)
    by_ml = cases.lmmjax.compile(formula, cases.samples()).fit(y, reml=False)
    other = cases.lmmjax.compile("~ 0 + f + x + (1|g)", cases.samples().iloc[rows])
    np.testing.assert_allclose(
        by_ml.objective.iloc[1], other.fit(y[rows, 1:], reml=False).objective.iloc[0], rtol=1e-9
    )


def test_covariate_that_is_constant_for_a_response() -> None:
    table = cases.samples().copy()
    table["late"] = (np.arange(40) >= 30).astype(float) * np.linspace(1, 2, 40)
    y = cases.responses().copy()[:, :2]
    y[30:, 1] = np.nan
    fits = cases.lmmjax.compile("~ late + x + (1|g)", table).fit(y)
    assert np.isnan(fits.fixef["late"].iloc[1]) and np.isfinite(fits.fixef["x"].iloc[1])
    alone = cases.lmmjax.compile("~ x + (1|g)", table.iloc[:30]).fit(y[:30, 1:])
    assert_one_row(fits, 1, alone)


def test_rank_is_re_checked_before_a_response_is_called_too_short() -> None:
    """Five observations, of which four fixed effects are estimable: enough to fit."""
    formula = "~ f + x + (1|g)"
    rows = np.array([0, 1, 4, 5, 8, 9])  # f: a, b, a, b, a, b
    y = np.full((40, 2), np.nan)
    y[:, 0] = cases.responses()[:, 0]
    five = rows[:5]
    y[five, 1] = cases.responses()[five, 2]
    fits = fit_quietly(cases.lmmjax.compile(formula, cases.samples()), y)
    alone = absent(formula, y[:, 1], five)
    assert alone.status.iloc[0] == "converged"
    assert_one_row(fits, 1, alone)


def test_group_confounded_with_fixed_effects_for_a_response() -> None:
    """On what is left, Z lies in the span of X: no variance can be estimated."""
    table = cases.samples().copy()
    table["arm"] = np.where(np.isin(table["g"], ["g0", "g1", "g2", "g3"]), "one", "two")
    y = cases.responses().copy()[:, :2]
    y[~np.isin(table["g"], ["g3", "g6"]), 1] = np.nan
    fits = fit_quietly(cases.lmmjax.compile("~ arm + (1|g)", table), y)
    assert fits.status.iloc[0] == "converged"
    assert fits.status.iloc[1] == "unidentifiable"
    assert fits.fixef.iloc[1].isna().all()


def test_two_groupings_that_coincide_for_a_response() -> None:
    """g and h differ in the table, but not on what this response has."""
    table = cases.samples().copy()
    table["h"] = np.where(np.arange(40) < 25, table["g"], "rest")
    y = cases.responses().copy()[:, :2]
    y[25:, 1] = np.nan
    fits = fit_quietly(cases.lmmjax.compile("~ x + (1|g) + (1|h)", table), y)
    assert fits.status.iloc[0] == "converged"
    assert fits.status.iloc[1] == "unidentifiable"


def test_slope_whose_covariate_is_constant_for_a_response() -> None:
    table = cases.samples().copy()
    y = cases.responses().copy()[:, :2]
    y[table["days"].to_numpy() != 1.0, 1] = np.nan
    y[:2, 1] = [1.0, 2.0]
    fits = fit_quietly(cases.lmmjax.compile("~ 1 + (days|h)", table), y)
    assert fits.status.iloc[0] == "converged"
    y[:2, 1] = np.nan  # now days == 1 wherever there is a value
    fits = fit_quietly(cases.lmmjax.compile("~ 1 + (days|h)", table), y)
    assert fits.status.iloc[1] == "unidentifiable"


def test_covariate_with_a_large_offset_and_no_intercept() -> None:
    """x + 1e9 beside dummies: the constant is in the span of X without being a column."""
    table = cases.samples().copy()
    table["far"] = table["x"] + 1e9
    table["near"] = table["far"] - 1e9  # what the rounding left of x
    y = cases.responses()[:, :3]
    near = cases.lmmjax.compile("~ 0 + f + near + (1|g)", table).fit(y)
    far = cases.lmmjax.compile("~ 0 + f + far + (1|g)", table)
    for path in ("auto", "weighted"):
        fits = far.fit(y, path=path)
        np.testing.assert_allclose(fits.fixef["far"], near.fixef["near"], rtol=1e-6)
        np.testing.assert_allclose(fits.sigma, near.sigma, rtol=1e-6)


@pytest.mark.parametrize("path", get_args(Path))
def test_explain_names_the_path(path: Path) -> None:
    text = cases.model("one_term").explain(path)
    expected = {"auto": "compressed", "weighted": "per-response"}.get(path, path)
    assert expected in text


def test_path_is_chosen_from_the_structure() -> None:
    assert "compressed" in cases.model("crossed").explain()
    assert "linear model" in cases.model("linear").explain()
    rng = np.random.default_rng(0)
    many = pd.DataFrame({"t": rng.normal(size=210), "g": np.repeat(np.arange(70), 3).astype(str)})
    model = cases.lmmjax.compile("~ t + (t|g)", many)
    assert "blocked" in model.explain()
    y = rng.normal(size=(210, 2))
    assert_same_fits(model.fit(y), model.fit(y, path="compressed"))


def test_spectral_path_needs_one_scalar_term() -> None:
    with pytest.raises(ValueError, match="exactly one random-effects term"):
        cases.model("crossed").fit(cases.responses(), path="spectral")
