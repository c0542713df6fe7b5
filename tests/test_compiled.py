import jax
import jax.numpy as jnp
import numpy as np

from lmmjax import compiled


def counted(traces):
    @compiled.compiled("power")
    def program(power, x):
        traces.append((power, x.shape))
        return jnp.sum(x**power)

    return program


def test_a_signature_is_compiled_once():
    traces = []
    program = counted(traces)
    for _ in range(3):
        for power in (1, 2):
            for n in (2, 3):
                assert program(power, np.ones(n)) == n
    assert traces == [(1, (2,)), (1, (3,)), (2, (2,)), (2, (3,))]


def test_programs_kept_are_bounded(monkeypatch):
    monkeypatch.setattr(compiled, "PROGRAMS_KEPT", 4)
    traces = []
    program = counted(traces)
    for n in range(1, 10):
        assert program(1, np.ones(n)) == n
    assert len(traces) == 9
    program(1, np.ones(9))  # still there
    assert len(traces) == 9
    assert program(1, np.ones(1)) == 1  # gone, and back
    assert len(traces) == 10


def test_small_arrays_share_a_program_where_an_argument_can_wait(monkeypatch):
    traces = []

    @compiled.compiled("power", "negative", settled_late=("negative",))
    def program(power, negative, x):
        traces.append((power, x.shape))
        return jnp.where(negative, -1.0, 1.0) * jnp.sum(x**power)

    assert program(2, True, np.ones(3)) == -3 and program(2, False, np.ones(3)) == 3
    assert traces == [(2, (3,))]
    monkeypatch.setattr(compiled, "SMALL_INPUT", 3)
    assert program(2, True, np.ones(3)) == -3 and program(2, False, np.ones(3)) == 3
    assert traces == [(2, (3,))] * 3


def test_kept_under_a_trace():
    program = counted([])
    assert jax.grad(lambda x: program(2, x))(jnp.ones(3)).tolist() == [2.0, 2.0, 2.0]
