"""The same functions by NumPy and compiled by JAX."""

import threading

import jax
import numpy as np
import pytest
from cases import FORMULAS, model, numbers, responses, samples

import lmmjax
from lmmjax import small_work, statistics
from lmmjax.array_library import by_numpy, jnp, lax


def both(monkeypatch, fit):
    """What ``fit`` returns where NumPy computes, and where compiled programs have to."""
    seen = []
    is_small = small_work.is_small
    monkeypatch.setattr("lmmjax.program.is_small", lambda *a: seen.append(is_small(*a)) or seen[-1])
    quick = fit()
    assert seen and all(seen)  # NumPy it was
    monkeypatch.setattr(small_work, "SHORT", 0.0)
    slow = fit()
    assert not seen[-1]
    return quick, slow


def assert_close(quick, slow):
    one, other = numbers(quick), numbers(slow)
    assert np.array_equal(one.pop("n_iter"), other.pop("n_iter"))
    gradients = one.pop("gradient_norm"), other.pop("gradient_norm")
    assert max(np.nanmax(part, initial=0.0) for part in gradients) < 1e-5
    for name, value in one.items():
        np.testing.assert_allclose(value, other[name], rtol=1e-9, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(quick.objective, slow.objective, rtol=1e-13)
    assert list(quick.status) == list(slow.status)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("name", FORMULAS)
def test_shared_path(monkeypatch, name, reml):
    count = 1 if reml else 3  # starts of a single response are worked on side by side
    assert_close(*both(monkeypatch, lambda: model(name).fit(responses()[:, :count], reml=reml)))


@pytest.mark.parametrize("name", ["slope_and_crossed", "linear"])
def test_own_weights_and_missing_values(monkeypatch, name):
    y = responses()[:, :2].copy()
    y[3, 0] = y[[7, 20], 1] = np.nan
    weights = np.random.default_rng(1).uniform(0.5, 2.0, y.shape)
    assert_close(*both(monkeypatch, lambda: model(name).fit(y, weights=weights)))


def test_blocked_path_known_sigma_and_start(monkeypatch):
    known = lmmjax.compile(FORMULAS["crossed"], samples(), sigma=1.3)
    start = {"start": [0.4, 0.7], "path": "blocked"}
    assert_close(*both(monkeypatch, lambda: known.fit(responses()[:, :1], **start)))


@pytest.mark.parametrize("name", ["slope", "dense_slope"])
def test_starts_side_by_side_or_one_after_the_other(monkeypatch, name):
    fits = [model(name).fit(responses()[:, k : k + 1]) for k in range(4)]
    monkeypatch.setattr(statistics, "FEW_NUMBERS", 0)
    for k, fit in enumerate(fits):
        other = model(name).fit(responses()[:, k : k + 1])
        np.testing.assert_allclose(fit.objective, other.objective, rtol=1e-12)
        np.testing.assert_allclose(fit.theta, other.theta, atol=1e-6)
        assert list(fit.n_iter) == list(other.n_iter)


def test_conditional_modes(monkeypatch):
    fits = model("dense_slope").fit(responses()[:, :2])
    quick = fits.ranef()
    monkeypatch.setattr(small_work, "SHORT", 0.0)
    slow = fits.ranef()
    for group, table in quick.items():
        np.testing.assert_allclose(table, slow[group], rtol=1e-10, atol=1e-12)


def test_a_failed_response_is_told_the_same_way(monkeypatch):
    y = responses()[:, :4].copy()
    y[:, 1], y[:, 2] = 5.0, np.nan
    alone = model("crossed").fit(y[:, [0, 3, 3, 0]])
    with pytest.warns(lmmjax.LmmWarning):
        quick, slow = both(monkeypatch, lambda: model("crossed").fit(y))
    assert list(quick.status) == list(slow.status)
    assert quick.status.iloc[1] != "converged" and quick.theta.iloc[1].isna().all()
    for name, value in numbers(quick).items():  # bit for bit
        assert np.array_equal(value[[0, 3]], numbers(alone)[name][:2]), name


def test_numpy_is_left_again_and_other_threads_never_enter():
    kinds = []

    def look():
        kinds.append(type(jnp.zeros(1)))

    with pytest.raises(ZeroDivisionError), by_numpy():
        look()
        with by_numpy():
            look()
        look()
        other = threading.Thread(target=look)
        other.start()
        other.join()
        raise ZeroDivisionError
    look()
    assert kinds[:3] == [np.ndarray] * 3 and all(issubclass(k, jax.Array) for k in kinds[3:])
    assert len(kinds) == 5


def test_control_flow_means_the_same():
    def everything():
        x = jnp.array([[3.0, 1.0, 2.0, 1.0]])
        return [
            lax.fori_loop(2, 5, lambda k, total: total + k, 0),
            lax.while_loop(lambda c: c < 9, lambda c: c * 2, 1),
            lax.map(lambda part: (part[0] + part[1], part[1]), (x[0], 2.0 * x[0])),
            lax.cond(jnp.any(x > 2), lambda: 1.0, lambda: 2.0),
            *lax.top_k(x, 2),
            lax.index_in_dim(x, 2, 1, keepdims=False),
            lax.dynamic_index_in_dim(x, 0, 0, keepdims=False),
            lax.optimization_barrier((x, x)),
            jnp.argsort(x, axis=1),
        ]

    expected = jax.tree.map(np.asarray, everything())
    with by_numpy():
        found = everything()
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_sparse_path_of_one_response_is_a_program():
    y = responses()[:, :1]
    one, other = (model("crossed").fit(y, path=path) for path in ("sparse", "auto"))
    np.testing.assert_allclose(one.objective, other.objective, rtol=1e-12)
    np.testing.assert_allclose(one.fixef, other.fixef, rtol=1e-7)
