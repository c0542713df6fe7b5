import numpy as np
import pandas as pd
import pytest

import lmmjax
from lmmjax.design import build_design
from lmmjax.errors import NestingError
from lmmjax.inference.nesting import check_nested


@pytest.fixture(scope="module")
def samples():
    rng = np.random.default_rng(4)
    n = 96
    return pd.DataFrame(
        {
            "x": rng.normal(size=n),
            "w": rng.normal(size=n),
            "f": pd.Categorical(np.tile(["a", "b", "c"], n // 3)),
            "g": np.repeat([f"g{k}" for k in range(8)], n // 8),
            "h": rng.permutation(np.repeat([f"h{k}" for k in range(6)], n // 6)),
        }
    ).assign(
        relabelled=lambda d: d["g"].str.replace("g", "group"),
        far=lambda d: d["x"] + 1e6,
        shift=lambda d: 2 * d["x"] + 3,
    )


def nest(samples, small, large):
    return check_nested(build_design(small, samples), build_design(large, samples))


@pytest.mark.parametrize(
    ("small", "large", "new_parameters", "cone"),
    [
        ("~ x", "~ x + w", 0, ()),
        ("~ x + (1 | g)", "~ x * f + (1 | g)", 0, ()),
        ("~ x", "~ x + (1 | g)", 1, (1,)),
        ("~ x + (1 | g)", "~ x + (1 | g) + (1 | h)", 1, (1,)),
        ("~ x", "~ x + (1 | g) + (1 | h)", 2, (1, 1)),
        ("~ x + (1 | g)", "~ x + (x | g)", 2, (1,)),
        ("~ x + (1 | g)", "~ x + (x || g)", 1, (1,)),
        ("~ x + (x || g)", "~ x + (x | g)", 1, ()),
        ("~ x + (x | g)", "~ x + (x + w | g)", 3, (1,)),
        ("~ x + (1 | g)", "~ x + (x + w | g)", 5, (2,)),
        ("~ x", "~ x + (x | g)", 3, (2,)),
        ("~ x", "~ x + (x | g) + (1 | h)", 4, (1, 2)),
        # compound symmetry is a special case of an unstructured covariance, and not on its edge
        ("~ f + (1 | g)", "~ f + (1 | g / f)", 1, (1,)),
        ("~ f + (1 | g / f)", "~ f + (0 + f | g)", 4, ()),
        ("~ f + (1 | g / f)", "~ f + (f | g)", 4, ()),
        ("~ f + (1 | g)", "~ f + (0 + f | g)", 5, (2,)),
        # by partition and span, not by name
        ("~ (1 | relabelled)", "~ x + (1 | g)", 0, ()),
        ("~ x + (far | g)", "~ x + (x + w | g)", 3, (1,)),
        ("~ x + (x | g)", "~ x + (far + w | g)", 3, (1,)),
        ("~ 0 + f + (1 | g)", "~ f + (1 | g) + (1 | h)", 1, (1,)),
    ],
)
def test_nested(samples, small, large, new_parameters, cone):
    found = nest(samples, small, large)
    assert (found.new_parameters, found.cone) == (new_parameters, cone)
    assert found.cone_dimension == sum(r * (r + 1) // 2 for r in cone)


@pytest.mark.parametrize(
    ("small", "large", "what"),
    [
        ("~ w + (1 | g)", "~ x + f + (1 | g)", "fixed effects 'w'"),
        ("~ 1 + (1 | h)", "~ 1 + (x | g)", r"\(1 \| h\)"),
        ("~ 1 + (0 + x | g)", "~ 1 + (w | g)", r"\(0 \+ x \| g\)"),
        ("~ 1 + (x | g)", "~ 1 + x + (x || g)", r"\(x \| g\)"),
        ("~ 1 + (1 | g:f)", "~ 1 + (x | g)", r"\(1 \| g:f\)"),
        ("~ 1 + (1 | g)", "~ 1 + x + w", r"\(1 \| g\)"),
        ("~ 1 + offset(w) + (1 | g)", "~ x + (1 | g)", "offsets"),
    ],
)
def test_not_nested(samples, small, large, what):
    with pytest.raises(NestingError, match=what):
        nest(samples, small, large)


def test_offset_within_the_fixed_effects(samples):
    assert nest(samples, "~ offset(shift) + (1 | g)", "~ x + (1 | g)").new_parameters == 0
    equal = nest(samples, "~ offset(w) + (1 | g)", "~ offset(w) + x + (1 | g)")
    assert equal.new_parameters == 0


def test_reml_shift_is_the_change_of_coding(samples):
    found = nest(samples, "~ f + (1 | g)", "~ 0 + f + (1 | g) + (1 | h)")
    coding = np.array([[1.0, 0, 0], [1, 1, 0], [1, 0, 1]])  # cell means from treatment contrasts
    assert found.same_fixed
    assert found.reml_shift == pytest.approx(-2 * np.log(abs(np.linalg.det(coding))))
    doubled = samples.assign(x=2 * samples["x"])
    wide = check_nested(
        build_design("~ x + (1 | g)", samples),
        build_design("~ x + (1 | g) + (1 | h)", doubled),
    )
    assert wide.reml_shift == pytest.approx(2 * np.log(2))


def test_embedding_reproduces_the_covariance(samples):
    small = build_design("~ f + (1 | g / f)", samples)
    large = build_design("~ f + (f | g)", samples)
    found = check_nested(small, large)
    block = found.blocks[0]
    same_group = block.codes[:, None] == block.codes[None, :]
    for k, term in enumerate(small.terms):
        expected = (term.codes[:, None] == term.codes[None, :]).astype(float)
        covariance = block.z @ found.embedding[0][k] @ block.z.T * same_group
        scale = found.triangles[k][0, 0] ** 2
        np.testing.assert_allclose(covariance * scale, expected, atol=1e-9)


def test_sleepstudy_names_nothing():
    data = lmmjax.datasets.load_sleepstudy()
    found = nest(data, "~ Days + (Days || Subject)", "~ Days + (Days | Subject)")
    assert found.same_fixed and found.reml_shift == 0.0 and found.cone == ()
