import numpy as np
import pytest

import lmmjax
from lmmjax.design import build_design
from lmmjax.inference.information import _covariances, _rounded, boundary_information
from lmmjax.inference.mixture import cone_weights
from lmmjax.inference.nesting import check_nested


@pytest.fixture(scope="module")
def samples():
    data = lmmjax.datasets.simulate_expression(n_responses=1, seed=3).samples
    return data.assign(x=np.random.default_rng(5).normal(size=len(data)))


def dense_information(nesting, x, covariances, weights):
    """From n x n matrices."""
    root = np.sqrt(weights)
    n = len(x)
    contrasts = np.linalg.qr(x * root[:, None], mode="complete")[0][:, x.shape[1] :]
    total, derivatives, tested = np.eye(n), [], []
    for block, covariance in zip(nesting.blocks, covariances, strict=True):
        q = block.z.shape[1]
        z = [np.eye(block.n_levels)[block.codes] * (c * root)[:, None] for c in block.z.T]
        total = total + sum(covariance[r, s] * z[r] @ z[s].T for r in range(q) for s in range(q))
        for s in range(q):
            for r in range(s, q):
                product = z[r] @ z[s].T
                derivatives.append(product if r == s else product + product.T)
                tested.append(min(r, s) >= q - block.new)
    derivatives.append(np.eye(n))
    tested = np.array([*tested, False])
    inverse = np.linalg.inv(contrasts.T @ total @ contrasts)
    scaled = [inverse @ contrasts.T @ d @ contrasts for d in derivatives]
    info = 0.5 * np.array([[np.sum(a * b.T) for b in scaled] for a in scaled])
    cross = info[np.ix_(tested, ~tested)]
    rest = np.linalg.pinv(info[np.ix_(~tested, ~tested)])
    return info[np.ix_(tested, tested)] - cross @ rest @ cross.T


CASES = [
    ("~ Age", "~ Age + (1|Tissue) + (1|Batch)"),
    ("~ Age + (1|Individual)", "~ Age + (1|Individual) + (1|Tissue) + (1|Batch)"),
    ("~ Age + (x|Individual)", "~ Age + (x|Individual) + (1|Tissue) + (1|Batch)"),
    ("~ 1", "~ 1 + (x|Individual)"),
    ("~ 1 + (1|Individual)", "~ 1 + (x + Age|Tissue) + (1|Individual)"),
]


@pytest.mark.parametrize(("small", "large"), CASES)
@pytest.mark.parametrize("weighted", [False, True])
def test_against_dense(samples, small, large, weighted):
    rng = np.random.default_rng(6)
    design = build_design(large, samples)
    nesting = check_nested(build_design(small, samples), design)
    count = sum(len(r) * (len(r) + 1) // 2 for r in nesting.triangles)
    theta = rng.normal(size=(4, count))
    theta[0] = 0.0
    weights = rng.uniform(0.2, 3.0, size=len(samples)) if weighted else None
    found = boundary_information(nesting, design.X, theta, weights)
    covariances = _covariances(nesting, _rounded(nesting, theta))
    for g in range(len(theta)):
        expected = dense_information(
            nesting,
            design.X,
            [c[g] for c in covariances],
            np.ones(len(samples)) if weights is None else weights,
        )
        np.testing.assert_allclose(found[g], expected, atol=1e-9 * np.abs(expected).max())


def test_rounding_moves_the_weights_little(samples):
    nesting = check_nested(build_design("~ 1", samples), build_design("~ 1 + (1|Batch)", samples))
    assert nesting.cone == (1,)
    small = build_design("~ Age + (1|Individual)", samples)
    design = build_design("~ Age + (1|Individual) + (1|Batch:Tissue) + (1|Tissue)", samples)
    nesting = check_nested(small, design)
    theta = np.linspace(0.0, 5.0, 60)[:, None]
    weights = cone_weights(boundary_information(nesting, design.X, theta), nesting.cone)
    assert weights is not None
    for g in (0, 7, 23, 59):
        exact = dense_information(
            nesting, design.X, [c[g] for c in _covariances(nesting, theta)], np.ones(len(samples))
        )
        np.testing.assert_allclose(weights[g], cone_weights(exact[None], (1, 1))[0], atol=0.01)


def test_scale_of_a_slope_does_not_matter(samples):
    theta = np.array([[0.7, -0.4, 0.9]])
    found = []
    for factor in (1.0, 1e9):
        table = samples.assign(x=samples["x"] * factor)
        design = build_design("~ 1 + (x|Individual) + (1|Tissue) + (1|Batch)", table)
        nesting = check_nested(build_design("~ 1 + (x|Individual)", table), design)
        found.append(boundary_information(nesting, design.X, theta / [1, factor, factor]))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-6)
