"""The optimiser finds the optimum: exact answers, reference fits, and no better one nearby."""

import itertools

import cases
import jax
import jax.numpy as jnp
import nist
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from lmmjax import optimize
from lmmjax.crossproducts import shared_statistics
from lmmjax.model import Model
from lmmjax.structure import Layout, canonical_theta

#: Random starts per response; with 20 of them (two minutes) nothing better was found either.
STARTS = 3


def best_of_many_starts(
    model: Model, y: np.ndarray, reml: bool, starts: int = 20, seed: int = 0
) -> float:
    """Lowest objective that scipy reaches from random starts."""
    with jax.enable_x64(True):
        value = jax.jit(lambda t: model.deviance(t, y, reml))
        slope = jax.jit(jax.grad(lambda t: model.deviance(t, y, reml)))
        rng = np.random.default_rng(seed)
        k = model.layout.n_theta
        points = rng.uniform(-2, 2, (starts, k)) * 10.0 ** rng.uniform(-1, 0.5, (starts, k))
        return min(
            float(minimize(value, point, jac=slope, method="BFGS", options={"gtol": 1e-7}).fun)
            for point in points
        )


def simulated_slopes(count: int) -> tuple[Model, np.ndarray]:
    """The layout of sleepstudy with covariances of every shape, many of them singular."""
    rng = np.random.default_rng(678)
    table = cases.balanced()
    days = table["Days"].to_numpy()
    subject = np.repeat(np.arange(18), 10)
    sd = np.stack([rng.choice([0.0, 0.3, 1.0], count), rng.choice([0.0, 0.05, 0.2], count)])
    rho = rng.choice([-0.95, -0.5, 0.0, 0.5, 0.95], count)
    first, second = rng.normal(size=(2, 18, count))
    intercept = sd[0] * first
    slope = sd[1] * (rho * first + np.sqrt(1 - rho**2) * second)
    y = intercept[subject] + slope[subject] * days[:, None] + rng.normal(size=(180, count))
    return cases.lmmjax.compile("~ Days + (Days|Subject)", table), y


def test_random_slopes_reach_the_best_known_optimum() -> None:
    """100 responses against random starts of scipy; a better one anywhere is a failure."""
    model, y = simulated_slopes(100)
    fits = model.fit(y)
    assert (fits.status == "converged").all()
    layout = model.layout
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        # one compiled function of (theta, y) for all responses
        both = jax.jit(jax.value_and_grad(model.deviance))
        gaps = np.zeros(100)
        for g in range(100):

            def at(theta, g=g):
                value, slope = both(theta, y[:, g])
                return float(value), np.asarray(slope)

            scale = 10.0 ** rng.uniform(-1, 0.5, (STARTS, layout.n_theta))
            points = rng.uniform(-1.5, 1.5, (STARTS, layout.n_theta)) * scale
            best = min(
                minimize(at, p, jac=True, method="L-BFGS-B", options={"maxiter": 60}).fun
                for p in points
            )
            gaps[g] = fits.objective.iloc[g] - best
    worse = np.flatnonzero(gaps > 1e-6)
    assert not len(worse), dict(zip(worse.tolist(), gaps[worse].tolist(), strict=True))


@pytest.mark.parametrize("name", ["crossed", "dense_slope"])
def test_no_start_finds_a_better_optimum(name: str) -> None:
    model, y = cases.model(name), cases.responses()
    fits = model.fit(y)
    for g in range(4 if name == "crossed" else 2):
        best = best_of_many_starts(model, y[:, g], True, starts=6, seed=g)
        assert fits.objective.iloc[g] <= best + 1e-6


@pytest.mark.parametrize(
    ("name", "reml"),
    [*((name, True) for name in nist.NAMES), ("SmLs01", False), ("SmLs04", False),
     ("SmLs07", False), ("SiRstv", False)],
)  # fmt: skip
def test_nist(name: str, reml: bool) -> None:
    """Exact to 1e-6 for the rounded data, on the shared and on the per-response path."""
    y, groups = nist.load(name)
    exact = nist.exact(name, reml)
    table = cases.pd.DataFrame({"g": groups})
    model = cases.lmmjax.compile("~ 1 + (1|g)", table)
    for path in ("auto", "weighted") if reml else ("auto",):
        fits = model.fit(y[:, None], reml=reml, path=path)
        assert fits.status.iloc[0] == "converged"
        np.testing.assert_allclose(fits.theta.iloc[0, 0], exact.theta, rtol=1e-6)
        np.testing.assert_allclose(fits.sigma.iloc[0] ** 2, exact.residual_variance, rtol=1e-6)
        rounding = max(1e-14, len(y) * np.finfo(float).eps)  # of a plain sum of len(y) numbers
        np.testing.assert_allclose(fits.fixef.iloc[0, 0], exact.mean, rtol=rounding)
        np.testing.assert_allclose(fits.objective.iloc[0], exact.objective, rtol=1e-6, atol=1e-6)


def one_way(between: float, within: float, groups: int = 8, size: int = 6) -> np.ndarray:
    """Balanced responses with mean squares (between, within) exactly."""
    rng = np.random.default_rng(0)
    effects = rng.normal(size=groups)
    effects -= effects.mean()
    effects *= np.sqrt(between / size * (groups - 1) / np.sum(effects**2))
    noise = rng.normal(size=(groups, size))
    noise -= noise.mean(axis=1, keepdims=True)
    noise *= np.sqrt(within * groups * (size - 1) / np.sum(noise**2))
    return (effects[:, None] + noise).reshape(-1)


def test_balanced_one_way_has_the_textbook_answer() -> None:
    """theta^2 = (F - 1) / size, zero where F < 1, whatever the size of F."""
    ratios = np.array([0.0, 0.5, 0.999, 1.0, 1.001, 1.5, 4.0, 1e2, 1e4, 1e6, 1e8])
    table = cases.pd.DataFrame({"g": np.repeat([f"g{i}" for i in range(8)], 6)})
    y = np.stack([one_way(max(r, 1e-30), 1.0) for r in ratios], axis=1)
    fits = cases.lmmjax.compile("~ (1|g)", table).fit(y)
    assert (fits.status == "converged").all()
    expected = np.sqrt(np.maximum(ratios - 1, 0) / 6)
    theta = fits.theta.iloc[:, 0].to_numpy()
    far = ratios != 1.0  # exactly there the deviance is flat to fourth order
    np.testing.assert_allclose(theta[far], expected[far], rtol=1e-6, atol=1e-12)
    np.testing.assert_array_equal(fits.singular, theta < 1e-4)
    assert (theta[ratios < 1] == 0).all()
    assert theta[~far][0] < 1e-3


def test_random_slopes_of_any_size() -> None:
    """Relative standard deviations from 10 to 1e5: vector-valued terms have no upper limit."""
    model, rng = cases.model("slope"), np.random.default_rng(1)
    term = model.design.terms[0]
    y = []
    for size in (10.0, 100.0, 1e3, 1e5):
        effects = rng.normal(size=(8, 2)) * [size, 0.3 * size]
        y.append(np.sum(term.z * effects[term.codes], axis=1) + rng.normal(size=40))
    fits = model.fit(np.stack(y, axis=1))
    assert (fits.status == "converged").all()
    assert (fits.gradient_norm < 1e-6).all()
    assert (fits.sigma.between(0.5, 2.0)).all()


def test_converged_means_a_minimum() -> None:
    for name in ("crossed", "slope"):
        fits = cases.model(name).fit(cases.responses())
        assert (fits.status == "converged").all()
        assert (fits.gradient_norm < 1e-3).all()
        assert (fits.min_hessian_eigenvalue > -1e-4).all()
        assert (fits.n_iter < 60).all()


def test_reported_derivatives_are_those_of_the_deviance() -> None:
    model, y = cases.model("slope"), cases.responses()
    fits = model.fit(y)
    with jax.enable_x64(True):
        gradient, hessian = jax.jit(jax.grad(model.deviance)), jax.jit(jax.hessian(model.deviance))
        for g in range(12):
            theta = fits.theta.iloc[g].to_numpy()
            slope = np.abs(gradient(theta, y[:, g])).max()
            curvature = np.linalg.eigvalsh(hessian(theta, y[:, g]))
            size = np.abs(curvature).max()
            np.testing.assert_allclose(fits.gradient_norm.iloc[g], slope, atol=1e-8 * size)
            np.testing.assert_allclose(
                fits.min_hessian_eigenvalue.iloc[g], curvature.min(), rtol=1e-5, atol=1e-7 * size
            )


def test_diagonal_of_lambda_is_not_negative() -> None:
    layout = Layout(p=1, eliminated=(2,), dense=((1, 3),))
    theta = np.array([[-1.0, 2.0], [0.5, -3.0], [-2.0, 0.0], [-0.3, 0.3]])
    np.testing.assert_array_equal(
        canonical_theta(layout, theta), [[1.0, 2.0], [-0.5, -3.0], [2.0, 0.0], [0.3, 0.3]]
    )
    fits = cases.model("slope").fit(cases.responses())
    assert (fits.theta.iloc[:, [0, 2]].to_numpy() >= 0).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_a_bounded_step_goes_downhill_unless_nothing_can(seed: int, k: int) -> None:
    """Found in the wild: two coordinates at once drawn to their bounds, one of them uphill."""
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(k, k + 1))
    hessian, gradient = root @ root.T, rng.normal(size=k)
    x = np.where(rng.random(k) < 0.4, 0.0, rng.gamma(1.0, 0.3, size=k))
    with jax.enable_x64(True):
        step, _ = jit_bounded_step(
            x[:, None], gradient[:, None], hessian[..., None], np.array([np.inf])
        )
    step = np.asarray(step)[:, 0]
    assert (x + step >= 0).all()
    if ((x > 0) | (gradient < 0)).any():
        assert gradient @ step < 0
    else:
        assert (step == 0).all()


@jax.jit
def jit_bounded_step(x, gradient, hessian, radius):
    return optimize.newton_step(x, gradient, hessian, radius, np.ones(len(x), dtype=bool))


def test_a_bounded_step_solves_the_bounded_quadratic() -> None:
    """The values of the response that once went nowhere, against an exhaustive search."""
    x = np.array([0.1955, 0.0577, 3.7033])
    gradient = np.array([1.0419, 0.9900, -0.0657])
    hessian = np.array([[17.7, -2.64, -0.42], [-2.64, 1.46, 0.06], [-0.42, 0.06, 1.99]])
    with jax.enable_x64(True):
        step, _ = jit_bounded_step(
            x[:, None], gradient[:, None], hessian[..., None], np.array([np.inf])
        )
    best = None
    for held in itertools.product((False, True), repeat=3):
        fixed = np.where(held, -x, 0.0)
        free = ~np.array(held)
        right = -(gradient + hessian @ fixed)[free]
        fixed[free] = np.linalg.solve(hessian[np.ix_(free, free)], right)
        value = gradient @ fixed + 0.5 * fixed @ hessian @ fixed
        if (x + fixed >= -1e-15).all() and (best is None or value < best[0]):
            best = value, fixed
    assert best is not None
    np.testing.assert_allclose(np.asarray(step)[:, 0], best[1], atol=1e-12)


def test_blocks_do_not_change_the_optimum() -> None:
    model, y = cases.model("crossed"), cases.responses(64)
    with jax.enable_x64(True):
        arrays = jax.tree.map(jnp.asarray, model.prepared.arrays)
        stats, *_ = shared_statistics(model.layout, arrays, jnp.asarray(y))
        size = jnp.asarray(model.level_size)[:, None]
        start = jnp.full((2, 64), 0.7)
        alive = jnp.arange(64) != 5
        one, packed = (
            optimize.minimise(
                model.layout, True, stats, size, start, jnp.full(64, 2.0), alive, 50, block
            )
            for block in (64, 8)
        )
    np.testing.assert_array_equal(one.n_iter, packed.n_iter)
    assert not one.active.any() and not packed.active.any()
    there = np.asarray(alive)
    np.testing.assert_allclose(
        one.point.theta[:, there], packed.point.theta[:, there], rtol=1e-9, atol=1e-12
    )
