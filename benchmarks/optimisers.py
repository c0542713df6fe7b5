"""Which optimiser: lmmjax's Newton steps with the exact Hessian against optax's L-BFGS.

    python benchmarks/optimisers.py          # needs optax

Both minimise the same deviance of the same responses, vectorised over them: Newton as
``Model.fit`` does, L-BFGS (memory 10, zoom line search) on theta from theta = 1 with exact
gradients, until the gradient is below 1e-6 or 200 steps are made.  Reports median steps, CPU
time per response, and how many responses L-BFGS leaves more than 1e-6 above Newton's
optimum.  Writes ``benchmarks/results/optimisers.md``.
"""

from __future__ import annotations

import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from problems import PROBLEMS
from run import describe_machine, write_table

COUNT = 500
STEPS = 200


def lbfgs(model, y: np.ndarray, reml: bool):
    """theta, value and number of steps of every column of y."""
    import optax

    solver = optax.lbfgs()

    def one(column):
        def value(theta):
            return model.deviance(theta, column, reml)

        both = optax.value_and_grad_from_state(value)
        theta = jnp.ones(model.layout.n_theta)

        def step(carry):
            theta, state, count, _ = carry
            at, gradient = both(theta, state=state)
            updates, state = solver.update(
                gradient, state, theta, value=at, grad=gradient, value_fn=value
            )
            size = jnp.max(jnp.abs(gradient))
            return optax.apply_updates(theta, updates), state, count + 1, size

        start = (theta, solver.init(theta), jnp.zeros((), int), jnp.array(jnp.inf))
        theta, _, count, _ = jax.lax.while_loop(
            lambda c: (c[2] < STEPS) & (c[3] > 1e-6), step, start
        )
        return value(theta), count

    with jax.enable_x64(True):
        program = jax.jit(jax.vmap(one, in_axes=1))
        program(y)[0].block_until_ready()
        began = time.process_time()
        value, count = jax.block_until_ready(program(y))
        return np.asarray(value), np.asarray(count), time.process_time() - began


def main() -> None:
    warnings.simplefilter("ignore")
    lines = [
        f"{describe_machine()}; {COUNT} responses.",
        "",
        "| model | Newton: steps | CPU (µs) | L-BFGS: steps | CPU (µs) | left above Newton's |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    import lmmjax

    for name in ("three_crossed", "one_term", "random_slopes"):
        problem = PROBLEMS[name](COUNT)
        model = lmmjax.compile(problem.formula, problem.samples)
        y = np.ascontiguousarray(problem.expression.to_numpy().T)
        model.fit(y, reml=problem.reml, progress=False)
        began = time.process_time()
        fits = model.fit(y, reml=problem.reml, progress=False)
        ours = time.process_time() - began
        value, count, theirs = lbfgs(model, y, problem.reml)
        worse = ~(value <= fits.objective.to_numpy() + 1e-6)
        lines.append(
            f"| {problem.name} | {np.median(fits.n_iter):.0f} | {ours / COUNT * 1e6:.0f} |"
            f" {np.median(count):.0f} | {theirs / COUNT * 1e6:.0f} | {int(worse.sum())} |"
        )
    write_table("optimisers", lines)


if __name__ == "__main__":
    main()
