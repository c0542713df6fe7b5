import jax
import numpy as np

from lmmjax import compiled
from lmmjax.array_library import jnp


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


def test_numpy_computes_what_is_not_worth_compiling():
    kinds = []

    @compiled.compiled("power", unless=lambda power, x: len(x) < 4)
    def program(power, x):
        total = jnp.sum(x**power)
        kinds.append(type(total))
        return total

    def of(n):
        return program(2, np.arange(n))

    assert of(3) == 5 and of(4) == 14 and of(3) == 5
    # outside, the functions are JAX's again, and a trace is never left
    assert issubclass(kinds[0], np.generic) and issubclass(kinds[1], jax.core.Tracer)
    assert isinstance(jnp.zeros(2), jax.Array)
    assert jax.grad(lambda x: program(2, x))(np.ones(3)).tolist() == [2.0, 2.0, 2.0]


def test_kept_under_a_trace():
    program = counted([])
    assert jax.grad(lambda x: program(2, x))(jnp.ones(3)).tolist() == [2.0, 2.0, 2.0]
