"""model.deviance: a plain call, by NumPy, and one under JAX's transformations."""

import cases
import jax
import numpy as np
import pytest

import lmmjax
from lmmjax import small_work

THETA = {"crossed": [0.7, 0.4], "slope": [0.9, -0.2, 0.3], "dense_slope": [0.5, 0.8, 0.1, 0.0]}


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", THETA)
def test_plain_call_is_the_traced_one(name, reml):
    model, y = cases.model(name), cases.responses()[:, 0]
    plain = model.deviance(THETA[name], y, reml)
    with jax.enable_x64(True):
        traced = jax.jit(lambda theta, y: model.deviance(theta, y, reml))(np.array(THETA[name]), y)
    assert isinstance(plain, jax.Array) and plain.dtype == np.float64 and plain.shape == ()
    np.testing.assert_allclose(plain, traced, rtol=1e-13)


def test_offset_and_known_sigma():
    table = cases.samples().assign(o=np.linspace(-1.0, 2.0, 40))
    y = cases.responses()[:, 1]
    plain = lmmjax.compile("~ x + (1|g)", table, sigma=1.2)
    moved = lmmjax.compile("~ x + offset(o) + (1|g)", table, sigma=1.2)
    value = float(plain.deviance([0.6], y))
    assert float(moved.deviance([0.6], y + table["o"].to_numpy())) == pytest.approx(
        value, rel=1e-13
    )
    # in the mean too, as the dense likelihood has it
    z = (table["g"].to_numpy()[:, None] == np.unique(table["g"])).astype(float)
    v = 1.2**2 * (np.eye(40) + 0.6**2 * z @ z.T)
    x = np.column_stack([np.ones(40), table["x"]])
    xvx = x.T @ np.linalg.solve(v, x)
    rest = y - x @ np.linalg.solve(xvx, x.T @ np.linalg.solve(v, y))
    expected = (
        np.linalg.slogdet(v)[1]
        + np.linalg.slogdet(xvx)[1]
        + rest @ np.linalg.solve(v, rest)
        + 38 * np.log(2 * np.pi)
    )
    assert value == pytest.approx(expected, rel=1e-12)


def test_a_large_model_is_computed_by_jax(monkeypatch):
    model, y = cases.model("crossed"), cases.responses()[:, 0]
    quick = float(model.deviance([0.7, 0.4], y))
    monkeypatch.setattr(small_work, "SHORT", 0.0)
    assert float(model.deviance([0.7, 0.4], y)) == pytest.approx(quick, rel=1e-13)
