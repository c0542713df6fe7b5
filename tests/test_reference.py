"""The reference fits are the published ones, and consistent in themselves."""

import numpy as np
import pytest
import reference

# As printed in lme4's documentation and papers; Pastes and Penicillin: Bates (2010).
PUBLISHED = [
    ("sleepstudy", "slope_reml", 1743.6283),
    ("sleepstudy", "slope_ml", 1751.9393),
    ("sleepstudy", "independent_ml", 1752.0033),
    ("sleepstudy", "intercept_reml", 1786.4651),
    ("Dyestuff", "batch_reml", 319.6543),
    ("Dyestuff", "batch_ml", 327.3271),
    ("Dyestuff2", "batch_ml", 162.8730),
    ("Penicillin", "crossed_reml", 330.8606),
    ("Penicillin", "crossed_ml", 332.1883),
    ("Pastes", "sample_batch_reml", 246.9907),
    ("Pastes", "sample_batch_ml", 247.9945),
]


@pytest.mark.parametrize(("dataset", "name", "objective"), PUBLISHED)
def test_published_objectives(dataset: str, name: str, objective: float) -> None:
    assert reference.reference_fit(dataset, name).objective == pytest.approx(objective, abs=6e-5)


def test_published_likelihood_ratio() -> None:
    intercept, slope = (
        reference.reference_fit("sleepstudy", name).objective
        for name in ("intercept_ml", "slope_ml")
    )
    assert intercept - slope == pytest.approx(42.139, abs=5e-4)


@pytest.mark.parametrize("fit", reference.reference_fits(), ids=lambda fit: fit.id)
def test_fits_are_polished_optima(fit: reference.ReferenceFit) -> None:
    assert fit.values["max_abs_score"] < 1e-8
    assert np.linalg.eigvalsh(np.array(fit.values["hessian"])).min() > 0
    assert fit.objective <= fit.values["default_objective"] + 1e-9
    assert fit.values["loglik"] == pytest.approx(-fit.objective / 2, rel=1e-14)
    assert fit.values["n_obs"] == len(fit.data)
    assert all(objective >= fit.objective for _, objective in fit.probes)
    np.testing.assert_allclose(
        np.sqrt(np.diag(np.array(fit.values["vcov"]))), fit.std_errors, rtol=1e-14
    )
