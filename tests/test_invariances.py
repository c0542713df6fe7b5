"""What must not matter, does not: order, names, units, offsets."""

import cases
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SETTINGS = settings(max_examples=8, deadline=None, derandomize=True, database=None)
FORMULA = cases.FORMULAS["crossed"]


def fitted(table=None, y=None, formula: str = FORMULA, **options):
    table = cases.samples() if table is None else table
    y = cases.responses() if y is None else y
    return cases.lmmjax.compile(formula, table).fit(y, **options)


def assert_same(one, other, rtol: float = 1e-9, theta: float = 1e-6) -> None:
    cases.assert_same_fits(one, other, rtol=rtol, theta_atol=theta)


@SETTINGS
@given(seed=st.integers(0, 10**6))
def test_order_of_rows(seed: int) -> None:
    order = np.random.default_rng(seed).permutation(40)
    assert_same(fitted(), fitted(cases.samples().iloc[order], cases.responses()[order]))


def test_order_of_rows_is_by_label() -> None:
    """A DataFrame of responses finds its samples by name."""
    y = cases.pd.DataFrame(cases.responses(), index=cases.samples().index)
    y.columns = [f"r{i}" for i in range(12)]
    order = np.random.default_rng(0).permutation(40)
    one, other = fitted(y=y), fitted(y=y.iloc[order])
    np.testing.assert_array_equal(one.theta.to_numpy(), other.theta.to_numpy())
    turned = fitted(y=y.T.iloc[:, order])
    np.testing.assert_array_equal(one.objective, turned.objective)


@SETTINGS
@given(seed=st.integers(0, 10**6))
def test_names_of_levels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = cases.samples().copy()
    for column in ("g", "h"):
        levels = table[column].unique()
        names = rng.permutation([f"level {k}" for k in range(len(levels))])
        table[column] = table[column].map(dict(zip(levels, names, strict=True)))
    assert_same(fitted(), fitted(table))


def test_kind_of_label() -> None:
    """Text, categorical (with a level nobody has) and integer codes group alike."""
    codes = cases.pd.factorize(cases.samples()["g"])[0]
    for labels in (
        cases.pd.Categorical.from_codes(codes, [f"c{k}" for k in range(9)]),
        codes + 100,
        codes / 2,
    ):
        assert_same(fitted(), fitted(cases.samples().assign(g=labels)))


@SETTINGS
@given(
    power=st.integers(-12, 12),
    shift=st.sampled_from([0.0, 1.0, -1e3, 1e6]),
    sign=st.sampled_from([-1.0, 1.0]),
)
def test_units_of_a_covariate(power: int, shift: float, sign: float) -> None:
    scale = sign * 10.0**power
    table = cases.samples().assign(x=(cases.samples()["x"] + shift) * scale)
    one, other = fitted(reml=False), fitted(table, reml=False)
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-9)
    np.testing.assert_allclose(one.theta.to_numpy(), other.theta.to_numpy(), atol=1e-6)
    np.testing.assert_allclose(other.fixef["x"] * scale, one.fixef["x"], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(other.std_errors["x"] * abs(scale), one.std_errors["x"], rtol=1e-7)


@pytest.mark.parametrize("power", [-12, -3, 3, 12])
@pytest.mark.parametrize("name", ["slope", "slope_and_crossed"])
def test_units_of_a_slope(name: str, power: int) -> None:
    """Lambda's row of the slope scales inversely; nothing else changes, flags included."""
    formula = cases.FORMULAS[name]
    one = fitted(formula=formula, reml=False)
    table = cases.samples().assign(days=cases.samples()["days"] * 10.0**power)
    other = fitted(table, formula=formula, reml=False)
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-9)
    first, second = one.theta.to_numpy().copy(), other.theta.to_numpy().copy()
    second[:, 1:3] *= 10.0**power
    np.testing.assert_allclose(first, second, atol=1e-5)
    np.testing.assert_allclose(
        one.variance_partition().to_numpy(), other.variance_partition().to_numpy(), atol=1e-6
    )
    np.testing.assert_array_equal(one.singular, other.singular)


@SETTINGS
@given(
    shift=st.floats(-100, 100),
    power=st.integers(-12, 12),
    sign=st.sampled_from([-1.0, 1.0]),
)
def test_units_of_the_response(shift: float, power: int, sign: float) -> None:
    scale = sign * 10.0**power
    one, other = fitted(), fitted(y=(shift + cases.responses()) * scale)
    np.testing.assert_allclose(one.theta.to_numpy(), other.theta.to_numpy(), atol=1e-9)
    np.testing.assert_allclose(other.sigma, one.sigma * abs(scale), rtol=1e-9)
    np.testing.assert_allclose(
        other.objective, one.objective + 2 * 38 * np.log(abs(scale)), rtol=1e-10, atol=1e-8
    )
    np.testing.assert_allclose(other.fixef["x"], one.fixef["x"] * scale, rtol=1e-8)


@pytest.mark.parametrize("path", ["auto", "weighted"])
@pytest.mark.parametrize("scale", [1e-170, 1e-12, 1e12, 1e160])
def test_scale_of_the_response_leaves_theta(scale: float, path) -> None:
    one, other = fitted(path=path), fitted(y=cases.responses() * scale, path=path)
    assert (other.status == "converged").all()
    np.testing.assert_allclose(one.theta.to_numpy(), other.theta.to_numpy(), atol=1e-10)
    np.testing.assert_allclose(other.sigma / scale, one.sigma, rtol=1e-10)
    np.testing.assert_allclose(other.fixef.to_numpy() / scale, one.fixef.to_numpy(), rtol=1e-9)
    np.testing.assert_allclose(
        other.std_errors.to_numpy() / scale, one.std_errors.to_numpy(), rtol=1e-9
    )
    np.testing.assert_array_equal(one.singular, other.singular)


@pytest.mark.parametrize("scale", [1e-170, 1e-12, 1e12, 1e160])
def test_scale_of_the_response_leaves_the_partition(scale: float) -> None:
    one, other = fitted(), fitted(y=cases.responses() * scale)
    shares = other.variance_partition()
    np.testing.assert_allclose(shares.to_numpy(), one.variance_partition().to_numpy(), atol=1e-9)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-12)
    sdcor, expected = other.varcorr["sdcor"], one.varcorr["sdcor"]
    np.testing.assert_allclose(sdcor / scale, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("path", ["auto", "weighted", "blocked"])
def test_offset_of_the_response(path) -> None:
    """y + 1e8, sd 1: as good as the digits that are left in y."""
    shifted = cases.responses() + 1e8
    rest = shifted - 1e8
    one, other = fitted(y=rest), fitted(y=shifted, path=path)
    np.testing.assert_allclose(one.theta.to_numpy(), other.theta.to_numpy(), atol=1e-6)
    np.testing.assert_allclose(one.sigma, other.sigma, rtol=1e-7)
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-8)
    np.testing.assert_allclose(one.fixef["x"], other.fixef["x"], rtol=1e-6)
    np.testing.assert_allclose(
        one.fixef["(Intercept)"] + 1e8, other.fixef["(Intercept)"], rtol=1e-14
    )


@pytest.mark.parametrize("path", ["auto", "weighted", "blocked"])
def test_offset_of_a_covariate(path) -> None:
    far = cases.samples()["x"] + 1e9
    one = fitted(cases.samples().assign(x=far - 1e9))
    other = fitted(cases.samples().assign(x=far), path=path)
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-9)
    np.testing.assert_allclose(one.theta.to_numpy(), other.theta.to_numpy(), atol=1e-6)
    np.testing.assert_allclose(one.fixef["x"], other.fixef["x"], rtol=1e-6)
    np.testing.assert_allclose(one.std_errors["x"], other.std_errors["x"], rtol=1e-6)


def test_reml_objective_follows_the_determinant_of_x() -> None:
    """REML criteria compare only under one coding: a factor c in x adds 2 log c."""
    table = cases.samples().assign(x=cases.samples()["x"] * 1000)
    np.testing.assert_allclose(
        fitted(table).objective, fitted().objective + 2 * np.log(1000.0), rtol=1e-10
    )


def test_terms_in_another_order() -> None:
    one, other = fitted(), fitted(formula="~ (1|h) + x + (1|g)")
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-12)
    np.testing.assert_allclose(
        one.theta.to_numpy(), other.theta[one.theta.columns].to_numpy(), atol=1e-8
    )


def test_equivalent_formulas() -> None:
    nested, written_out = fitted(formula="~ (1|h/k)"), fitted(formula="~ (1|h) + (1|h:k)")
    np.testing.assert_allclose(nested.objective, written_out.objective, rtol=1e-12)
    assert_same(fitted(formula="~ days + (days|g)"), fitted(formula="~ 1 + days + (1 + days|g)"))
