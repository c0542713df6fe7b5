"""The deviance and its derivatives: dense algebra, finite differences, plain autodiff."""

from functools import partial

import cases
import dense
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lmmjax import deviance
from lmmjax.array_library import by_numpy
from lmmjax.crossproducts import shared_statistics
from lmmjax.errors import LmmError, ShapeError

#: every structure once; REML and ML differ in code only where terms are dense or vector-valued
DERIVATIVES = [
    ("crossed", True), ("slope_and_crossed", True), ("dense_slope", False), ("independent", False),
    ("no_fixed", True),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _double():
    with jax.enable_x64(True):
        yield


def some_theta(name: str, seed: int = 0) -> np.ndarray:
    """Interior, with off-diagonal entries of either sign."""
    layout = cases.model(name).layout
    return np.random.default_rng(seed).uniform(-0.9, 1.2, layout.n_theta)


def plain(name: str, reml: bool, y: np.ndarray):
    """theta (public order) -> evaluate(...).value, without any rule of our own."""
    model = cases.model(name)
    prepared = model.prepared
    stats, *_ = shared_statistics(model.layout, prepared.arrays, y[:, None])
    unit = model.theta_unit(prepared.z_scale)

    def value(theta):
        engine = (theta[model.order.theta] * unit)[:, None]
        return deviance.evaluate(model.layout, reml, stats, engine).value[0]

    return value


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", cases.FORMULAS)
def test_value_is_the_dense_objective(name: str, reml: bool) -> None:
    model, y = cases.model(name), cases.responses()[:, 0]
    value = jax.jit(partial(model.deviance, reml=reml))
    k = model.layout.n_theta
    thetas = [np.zeros(k), np.full(k, 1e-5), np.full(k, 20.0)]
    thetas += [some_theta(name, seed) for seed in range(3)]
    for theta in thetas[: None if k else 1]:
        expected = dense.objective(model.design, theta, y, reml)
        np.testing.assert_allclose(value(theta, y), expected, rtol=1e-10)


def through_spectrum(design, theta: float, y: np.ndarray) -> float:
    """ML objective for Lambda = theta I; singular values keep their digits at any theta."""
    left, singular, _ = np.linalg.svd(dense.random_effects(design, np.ones(len(design.terms)))[0])
    singular = np.concatenate([singular, np.zeros(design.n - len(singular))])
    ratio = np.where(singular > 1e-12 * singular[0], theta * singular, 0.0) ** 2
    root = 1 / np.sqrt(1 + ratio)
    x, rotated = root[:, None] * (left.T @ design.X), root * (left.T @ y)
    rest = rotated - x @ np.linalg.lstsq(x, rotated)[0]
    return np.log1p(ratio).sum() + design.n * (1 + np.log(2 * np.pi * rest @ rest / design.n))


@pytest.mark.parametrize(("name", "largest"), [("one_term", 10), ("crossed", 5)])
def test_value_at_large_theta(name: str, largest: int) -> None:
    """Variance ratios up to 1e20, or 1e10 where the columns of Z are linearly dependent."""
    model, y = cases.model(name), cases.responses()[:, 0]
    value = jax.jit(partial(model.deviance, reml=False))
    for power in range(1, largest + 1):
        theta = 10.0**power
        np.testing.assert_allclose(
            value(np.full(model.layout.n_theta, theta), y),
            through_spectrum(model.design, theta, y),
            rtol=1e-7,
        )


@pytest.mark.parametrize(("name", "reml"), DERIVATIVES)
def test_derivatives_are_those_of_plain_autodiff(name: str, reml: bool) -> None:
    model, y = cases.model(name), cases.responses()[:, 1]
    reference = plain(name, reml, y)
    public = partial(model.deviance, y=y, reml=reml)
    gradient, hessian = jax.jit(jax.grad(public)), jax.jit(jax.hessian(public))
    expected = jax.jit(lambda t: (jax.grad(reference)(t), jax.hessian(reference)(t)))
    zero, large = np.zeros(model.layout.n_theta), np.full(model.layout.n_theta, 30.0)
    for theta in (some_theta(name), some_theta(name, 1), zero, large):
        first, second = expected(theta)
        size = np.abs(second).max() + 1.0
        np.testing.assert_allclose(gradient(theta), first, rtol=1e-8, atol=1e-10 * size)
        np.testing.assert_allclose(hessian(theta), second, rtol=1e-7, atol=1e-9 * size)


@pytest.mark.parametrize("name", ["slope_and_crossed"])
def test_derivatives_are_those_of_finite_differences(name: str) -> None:
    model, y = cases.model(name), cases.responses()[:, 2]
    value = partial(dense.objective, model.design, y=y, reml=True)
    public = partial(model.deviance, y=y)
    theta = some_theta(name, 5)
    k, step = len(theta), 1e-4
    eye = step * np.eye(k)
    first = [(value(theta + e) - value(theta - e)) / (2 * step) for e in eye]
    second = [
        [
            (value(theta + a + b) - value(theta + a - b) - value(theta - a + b)
             + value(theta - a - b)) / (4 * step**2)
            for b in eye
        ]
        for a in eye
    ]  # fmt: skip
    np.testing.assert_allclose(jax.jit(jax.grad(public))(theta), first, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(jax.jit(jax.hessian(public))(theta), second, rtol=1e-3, atol=1e-3)


def test_hessian_is_symmetric_and_even_at_zero() -> None:
    model, y = cases.model("crossed"), cases.responses()[:, 0]
    public = partial(model.deviance, y=y)
    zero = np.zeros(2)
    np.testing.assert_array_equal(jax.jit(jax.grad(public))(zero), 0.0)
    hessian = np.asarray(jax.jit(jax.hessian(public))(zero))
    np.testing.assert_allclose(hessian, np.diag(np.diag(hessian)), atol=1e-12)
    theta = np.array([0.7, 0.4])
    assert float(public(theta)) == pytest.approx(float(public(-theta)), rel=1e-14)


def test_gradient_in_y() -> None:
    """d/dy of nu log(y'Py) is 2 nu P y / y'Py."""
    model, y = cases.model("crossed"), cases.responses()[:, 0]
    theta = np.array([0.7, 0.4])
    z, lam = dense.random_effects(model.design, theta)
    x = model.design.X
    inverse = np.linalg.inv(np.eye(40) + z @ lam @ lam.T @ z.T)
    projected = inverse - inverse @ x @ np.linalg.solve(x.T @ inverse @ x, x.T @ inverse)
    expected = 2 * 38 * projected @ y / (y @ projected @ y)
    got = jax.jit(jax.grad(model.deviance, argnums=1))(theta, jnp.asarray(y))
    np.testing.assert_allclose(got, expected, rtol=1e-8, atol=1e-10)


def test_mixed_derivative_in_theta_and_y() -> None:
    model, y = cases.model("crossed"), cases.responses()[:, 0]
    theta = np.array([0.7, 0.4])
    in_theta = jax.grad(model.deviance, argnums=0)
    mixed = np.asarray(jax.jit(jax.jacfwd(in_theta, argnums=1))(theta, jnp.asarray(y)))
    other = jax.jit(jax.jacfwd(jax.grad(model.deviance, argnums=1), argnums=0))
    np.testing.assert_allclose(mixed, np.asarray(other(theta, jnp.asarray(y))).T, atol=1e-9)
    direction = np.random.default_rng(0).normal(size=40)
    step = 1e-5
    moved = jax.jit(in_theta)
    finite = (moved(theta, y + step * direction) - moved(theta, y - step * direction)) / (2 * step)
    np.testing.assert_allclose(mixed @ direction, finite, rtol=1e-6, atol=1e-8)


def test_third_derivative() -> None:
    """Nobody needs it fast, but it must not be wrong (it differentiates the closed form)."""
    model, y = cases.model("one_term"), cases.responses()[:, 0]
    public = lambda t: model.deviance(t[None], y)  # noqa: E731
    reference = plain("one_term", True, y)
    third = jax.jit(jax.grad(jax.grad(jax.grad(public))))
    expected = jax.jit(jax.grad(jax.grad(jax.grad(lambda t: reference(t[None])))))
    np.testing.assert_allclose(third(jnp.array(0.7)), expected(jnp.array(0.7)), rtol=1e-8)


def test_vmap_over_theta_and_over_responses() -> None:
    model, y = cases.model("crossed"), cases.responses()
    thetas = np.random.default_rng(1).uniform(0, 2, (5, 2))
    single = jax.jit(model.deviance)
    over_theta = jax.jit(jax.vmap(model.deviance, in_axes=(0, None)))(thetas, y[:, 0])
    np.testing.assert_allclose(over_theta, [single(t, y[:, 0]) for t in thetas], rtol=1e-13)
    over_y = jax.jit(jax.vmap(model.deviance, in_axes=(None, 1)))(thetas[0], y)
    np.testing.assert_allclose(over_y, [single(thetas[0], column) for column in y.T], rtol=1e-13)
    gradients = jax.jit(jax.vmap(jax.grad(model.deviance), in_axes=(0, None)))(thetas, y[:, 0])
    each = jax.jit(jax.grad(model.deviance))
    np.testing.assert_allclose(gradients, [each(t, y[:, 0]) for t in thetas], rtol=1e-11)
    hessians = jax.jit(jax.vmap(jax.hessian(model.deviance), in_axes=(0, None)))(thetas, y[:, 0])
    assert hessians.shape == (5, 2, 2)


def test_reml_under_transformations_is_static() -> None:
    model, y = cases.model("one_term"), cases.responses()[:, 0]
    theta = np.array([0.5])
    assert float(model.deviance(theta, y, True)) != float(model.deviance(theta, y, False))
    with pytest.raises(jax.errors.ConcretizationTypeError):
        jax.jit(model.deviance)(theta, y, True)


def test_offset_is_taken_off() -> None:
    table = cases.samples()
    model = cases.lmmjax.compile("~ x + offset(days) + (1|g)", table)
    y = cases.responses()[:, 0]
    np.testing.assert_allclose(
        model.deviance([0.5], y),
        cases.model("one_term").deviance([0.5], y - table["days"].to_numpy()),
        rtol=1e-13,
    )
    np.testing.assert_allclose(
        model.deviance([0.5], y), dense.objective(model.design, [0.5], y, True), rtol=1e-10
    )


@pytest.mark.parametrize(
    ("theta", "n", "message"),
    [([0.5], 40, "2 entries"), ([[0.5, 0.5]], 40, "2 entries"), ([0.5, 0.5], 39, "40 obs")],
)
def test_wrong_shapes_are_named(theta, n, message) -> None:
    with pytest.raises(ShapeError, match=message):
        cases.model("crossed").deviance(theta, np.zeros(n))


def test_plain_call_is_double_and_leaves_the_configuration_alone() -> None:
    with jax.enable_x64(False):
        model, y = cases.model("crossed"), cases.responses()[:, 0]
        value = model.deviance([0.7, 0.4], y)
        assert float(value) == pytest.approx(
            dense.objective(model.design, [0.7, 0.4], y, True), rel=1e-12
        )
        assert jnp.zeros(1).dtype == jnp.float32


def test_transformations_in_single_precision_are_refused() -> None:
    model, y = cases.model("crossed"), cases.responses()[:, 0]
    theta = np.array([0.7, 0.4])

    def value(theta):
        return model.deviance(theta, y)

    with jax.enable_x64(False):
        for transformed in (jax.grad(value), jax.jit(value), jax.hessian(value)):
            with pytest.raises(LmmError, match=r"with jax\.enable_x64\(True\)"):
                transformed(theta)
        with pytest.raises(LmmError, match="double precision"):
            jax.vmap(value)(theta[None])


@pytest.mark.parametrize("name", ["slope_and_crossed", "dense_slope"])
def test_by_numpy_or_compiled(name: str) -> None:
    model, y = cases.model(name), cases.responses()[:, :2]
    theta = np.linspace(0.9, 0.3, 2 * model.layout.n_theta).reshape(-1, 2)
    with by_numpy():
        stats, _, _, _ = shared_statistics(model.layout, model.prepared.arrays, y)
    for reml in (True, False):
        with by_numpy():
            found = deviance.evaluate(model.layout, reml, stats, theta, derivatives=True)
        evaluate = jax.jit(partial(deviance.evaluate, model.layout, reml, derivatives=True))
        for part, one, other in zip(found._fields, found, evaluate(stats, theta), strict=True):
            assert type(one) is np.ndarray
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-10, err_msg=part)


def test_fixed_effects_and_standard_errors_fall_out() -> None:
    model, y = cases.model("crossed"), cases.responses()[:, :1]
    theta = np.array([0.7, 0.4])
    prepared = model.prepared
    stats, fixed, log_scale, _ = shared_statistics(model.layout, prepared.arrays, y)
    engine = (theta[model.order.theta] * model.theta_unit(prepared.z_scale))[:, None]
    out = deviance.evaluate(model.layout, True, stats, engine)
    back = np.linalg.inv(prepared.x_transform)
    expected = dense.at_theta(model.design, theta, y[:, 0], True)
    scale = np.exp(log_scale)
    np.testing.assert_allclose(
        back @ np.asarray((fixed + out.fixed) * scale)[:, 0], expected.beta, rtol=1e-9
    )
    sigma = np.sqrt(out.rss / 38) * scale
    np.testing.assert_allclose(sigma, [expected.sigma], rtol=1e-10)
    vcov = sigma[0] ** 2 * back @ np.asarray(out.fixed_cov)[..., 0] @ back.T
    np.testing.assert_allclose(vcov, expected.vcov, rtol=1e-9, atol=1e-12)
    z, lam = dense.random_effects(model.design, theta)
    v = np.eye(40) + z @ lam @ lam.T @ z.T
    u = (z.T @ np.linalg.solve(v, y[:, 0] - model.design.X @ expected.beta))[-3:]
    scale_h = prepared.z_scale[-1][0]
    np.testing.assert_allclose(
        np.asarray(out.dense_u)[:, 0] * float(scale[0]) * scale_h, u, rtol=1e-8, atol=1e-10
    )
