"""The Gram matrix of the variance components against the n x n matrices it stands for."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lmmjax import design_identifiability as identifiability
from lmmjax.design import build_design
from lmmjax.design_identifiability import CovarianceTerm, check_identifiable
from lmmjax.errors import CodingWarning, DesignError


def dense_gram(terms: list[CovarianceTerm], basis: np.ndarray) -> np.ndarray:
    """Gram matrix from projected n x n matrices; the terms' columns as given."""
    n = len(basis)
    projection = np.eye(n) - basis @ basis.T
    matrices = []
    for term in terms:
        indicator = np.eye(term.n_levels)[term.codes]
        blocks = [indicator * column[:, None] for column in term.z.T]
        for r in range(len(blocks)):
            for s in range(r + 1):
                product = blocks[r] @ blocks[s].T
                matrices.append(projection @ (product + product.T) @ projection / 2)
    matrices.append(projection)
    flat = np.array([matrix.ravel() for matrix in matrices])
    return flat @ flat.T


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(0, 3))
def test_gram_matrix(seed, n_terms, p):
    rng = np.random.default_rng(seed)
    n = 24
    terms = []
    for i in range(n_terms):
        q, levels = int(rng.integers(1, 4)), int(rng.integers(2, 6))
        codes = rng.integers(0, levels, n).astype(np.int32)
        z = identifiability._orthonormal(rng.normal(size=(n, q)))
        terms.append(CovarianceTerm(f"t{i}", f"g{i}", codes, z, levels))
    basis = np.linalg.qr(rng.normal(size=(n, p)))[0] if p else np.empty((n, 0))
    expected = dense_gram(terms, basis)
    assume(np.linalg.eigvalsh(expected)[0] > 1e-6)
    seen = []
    original = identifiability._check_independent
    try:
        identifiability._check_independent = lambda gram, *rest: seen.append(gram)
        check_identifiable(terms, basis)
    finally:
        identifiability._check_independent = original
    # the columns are orthonormalised again inside, which changes signs only
    tolerance = 1e-8 * np.abs(expected).max()
    np.testing.assert_allclose(np.abs(seen[0]), np.abs(expected), atol=tolerance)


def table() -> pd.DataFrame:
    rows = [(a, b) for a in "uvwx" for b in "pqr" for _ in range(3)]
    data = pd.DataFrame(rows, columns=["a", "b"])
    data["f"] = np.tile(["1", "2", "3"], 12)
    data["x"] = np.random.default_rng(0).normal(size=36)
    return data


@pytest.mark.parametrize(
    "formula",
    ["~ (1|a) + (1|b)", "~ (1|a) + (1|b) + (1|a:b)", "~ a + (1|b) + (1|a:b)", "~ a*b + (1|f)",
     "~ x + (x|a) + (x||b)", "~ (f|a)", "~ (1|a) + (0+x|a)", "~ x + (1|a/b/f)" ],
)  # fmt: skip
def test_fine(formula):
    if formula.endswith("a/b/f)"):
        with pytest.raises(DesignError, match="as many levels"):
            build_design(formula, table())
    else:
        build_design(formula, table())


@pytest.mark.parametrize(
    ("formula", "message"),
    [
        ("~ a:b + (1|a)", "lie within"),
        ("~ a*b + (1|a:b)", "lie within"),
        ("~ a + b + (1|f) + (1|a)", "lie within"),
    ],
)
@pytest.mark.filterwarnings("ignore::lmmjax.errors.RankWarning")
def test_within_the_fixed_effects(formula, message):
    with pytest.raises(DesignError, match=message):
        build_design(formula, table())


def test_variances_that_add_up_to_another():
    # two observations per pair, one of each kind: pairs and kinds within pairs exhaust them
    data = pd.DataFrame({"pair": np.repeat(list("abcdefgh"), 2), "kind": np.tile(["u", "v"], 8)})
    data["half"] = np.where(data["kind"] == "u", 1.0, 0.0)
    data["other"] = 1.0 - data["half"]
    with pytest.raises(DesignError, match=r"\(0 \+ half \| pair\).*the residuals cannot be told"):
        build_design("~ (0 + half|pair) + (0 + other|pair)", data)


def test_saturated_within_crossed_groups():
    g = np.repeat(np.arange(6), 4)
    other = pd.DataFrame({"g": g, "h": np.tile([0, 0, 1, 1], 6)})
    other["k"] = other["g"] * 2 + other["h"]
    other["s"] = np.where(other["h"] == 0, 1.0, -1.0)
    # +-1 slope and intercept by g span the same covariances as the pairs k of g
    with pytest.raises(DesignError, match="cannot be told apart"):
        build_design("~ (1|g) + (0 + s|g) + (1|k)", other)


def test_factor_in_a_double_bar_is_redundant_but_fitted():
    with pytest.warns(CodingWarning, match="their shares are not"):
        design = build_design("~ (b||a)", table())
    assert [term.n_columns for term in design.terms] == [1, 3]
