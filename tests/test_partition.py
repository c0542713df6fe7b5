"""Variance fractions by variancePartition's definition."""

import cases
import dense
import numpy as np
import pytest
import reference

import lmmjax
from lmmjax.errors import LmmError


@pytest.mark.parametrize(
    "name", ["crossed", "slope_and_crossed", "dense_slope", "nested", "no_fixed", "linear"]
)
def test_fractions_are_those_of_the_definition(name: str) -> None:
    model, y = cases.model(name), cases.responses()
    fits = model.fit(y, reml=True)
    shares = fits.variance_partition()
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=1e-12)
    assert (shares.to_numpy() >= 0).all()
    for g in range(12):
        expected = dense.partition(
            model.design, fits.theta.iloc[g].to_numpy(), fits.sigma.iloc[g],
            fits.fixef.iloc[g].to_numpy(),
        )  # fmt: skip
        assert list(shares.columns) == list(expected)
        np.testing.assert_allclose(shares.iloc[g], list(expected.values()), rtol=1e-10, atol=1e-14)


def test_terms_of_one_group_are_told_apart() -> None:
    fits = cases.model("independent").fit(cases.responses(), reml=True)
    shares = fits.variance_partition()
    assert len(set(shares.columns)) == 4
    days = cases.samples()["days"].to_numpy()
    slope = fits.varcorr.query("name1 == 'days'")["vcov"] * np.mean(days**2)
    ratio = shares.iloc[:, 1].to_numpy() / shares["Residuals"].to_numpy()
    np.testing.assert_allclose(ratio, slope.to_numpy() / fits.sigma.to_numpy() ** 2, rtol=1e-9)


def test_columns_add_up_to_terms() -> None:
    fits = cases.model("linear").fit(cases.responses())
    terms, columns = fits.variance_partition(), fits.variance_partition(by="column")
    assert list(terms.columns) == ["x", "f", "Residuals"]
    dummies = [name for name in columns.columns if name.startswith("f")]
    assert len(dummies) == 3
    np.testing.assert_allclose(columns[dummies].sum(axis=1), terms["f"], rtol=1e-12)
    np.testing.assert_allclose(columns["x"], terms["x"], rtol=1e-14)


def test_unknown_by() -> None:
    fits = cases.model("linear").fit(cases.responses())
    with pytest.raises(LmmError, match="'term' or 'column'"):
        fits.variance_partition(by="gene")


def test_failed_responses_are_nan() -> None:
    y = cases.responses().copy()
    y[:, 2] = 1.0
    shares = cases.fit_quietly(cases.model("crossed"), y).variance_partition()
    assert shares.iloc[2].isna().all()
    assert not shares.drop(index=shares.index[2]).isna().any().any()


def test_missing_values_are_absent_from_the_fractions_too() -> None:
    """Fractions are of the response's own observations, as if the others were not there."""
    y = cases.responses().copy()[:, :1]
    rows = np.arange(5, 40)
    y[:5] = np.nan
    shares = cases.model("crossed").fit(y, reml=False).variance_partition()
    alone = lmmjax.compile(cases.FORMULAS["crossed"], cases.samples().iloc[rows])
    expected = alone.fit(y[rows], reml=False).variance_partition()
    np.testing.assert_allclose(shares.to_numpy(), expected.to_numpy(), atol=1e-7)


def test_one_line() -> None:
    shares = lmmjax.variance_partition(
        cases.responses(), cases.FORMULAS["crossed"], cases.samples()
    )
    expected = cases.model("crossed").fit(cases.responses(), reml=False).variance_partition()
    np.testing.assert_allclose(shares.to_numpy(), expected.to_numpy(), rtol=1e-12)


def test_one_line_of_an_anndata_by_column() -> None:
    anndata = pytest.importorskip("anndata")
    table = anndata.AnnData(cases.responses(), obs=cases.samples())
    shares = lmmjax.variance_partition(table, cases.FORMULAS["linear"], by="column")
    expected = cases.model("linear").fit(cases.responses(), reml=False).variance_partition("column")
    np.testing.assert_allclose(shares.to_numpy(), expected.to_numpy(), rtol=1e-12)
    assert shares.columns.tolist() == expected.columns.tolist()
    with pytest.raises(LmmError, match="unless Y is an AnnData"):
        lmmjax.variance_partition(cases.responses(), cases.FORMULAS["linear"])
    with pytest.raises(LmmError, match="'term' or 'column', not 'gene'"):
        lmmjax.variance_partition(table, cases.FORMULAS["linear"], by="gene")


@pytest.mark.parametrize("name", ["crossed_ml"])
def test_fractions_of_a_reference_fit(name: str) -> None:
    fit = reference.reference_fit("Penicillin", name)
    y = fit.data["diameter"].to_numpy(float)[:, None]
    model = lmmjax.compile(fit.formula, fit.data)
    shares = model.fit(y, reml=fit.reml).variance_partition().iloc[0]
    variances = fit.varcorr.set_index("group")["vcov"].astype(float)
    expected = variances / variances.sum()
    np.testing.assert_allclose(shares["plate"], expected["plate"], atol=1e-7)
    np.testing.assert_allclose(shares["sample"], expected["sample"], atol=1e-7)
    np.testing.assert_allclose(shares["Residuals"], expected["Residual"], atol=1e-7)
