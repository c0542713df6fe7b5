"""Figures of one fit: what is drawn, and where; not how it looks."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import lmmjax
from lmmjax import plots
from lmmjax.errors import (
    AlignmentError,
    DTypeError,
    EmptyDataError,
    FitWarning,
    FormulaError,
    LmmError,
    ResponseError,
    ShapeError,
    TableError,
)
from lmmjax.plots.residual_figure import local_regression
from lmmjax.plots.shrinkage_figure import shrinkage

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def sleep():
    return lmmjax.datasets.load_sleepstudy()


@pytest.fixture(scope="module")
def m1(sleep):
    return lmmjax.lmer("Reaction ~ Days + (1 | Subject)", sleep)


@pytest.fixture(scope="module")
def m2(sleep):
    return lmmjax.lmer("Reaction ~ Days + (Days | Subject)", sleep)


@pytest.fixture(scope="module")
def clinics():
    """40 groups of 1 to 6 visits, two arms, four nurses, weights."""
    rng = np.random.default_rng(3)
    count = np.arange(40) % 6 + 1
    clinic = np.repeat([f"c{k:02d}" for k in range(40)], count)
    n = len(clinic)
    visit = np.concatenate([np.arange(c) for c in count]).astype(float)
    own = np.repeat(rng.normal(size=(40, 2)), count, axis=0)
    return pd.DataFrame(
        {
            "y": 10 + 3 * own[:, 0] + (1 + 0.6 * own[:, 1]) * visit + rng.normal(size=n),
            "visit": visit,
            "arm": np.where(rng.random(n) < 0.5, "a", "b"),
            "nurse": rng.choice(list("stuv"), n),
            "clinic": clinic,
            "w": rng.uniform(0.5, 2.0, n),
        }
    )


@pytest.fixture(scope="module")
def rich(clinics):
    """Weights, another covariate, and a crossed factor."""
    formula = "y ~ visit + arm + (visit | clinic) + (1 | nurse)"
    return lmmjax.lmer(formula, clinics, weights="w")


@pytest.fixture(scope="module")
def hopeless(sleep):
    """A response without estimates, out of a batch."""
    model = lmmjax.compile("~ Days + (1 | Subject)", sleep)
    with pytest.warns(FitWarning):
        return model.fit(pd.DataFrame({"flat": np.ones(180)}, index=sleep.index))["flat"]


def lines(axes: Any) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}


def legend(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def draw(figure: Any) -> None:
    """Layout problems are warnings, and warnings are errors here."""
    figure.canvas.draw()


# ---- trellis ---------------------------------------------------------------------------------


def test_trellis_shows_observations_and_predictions(sleep, m1, m2):
    figure: Any = plots.plot_trellis([m1, m2], "Days", labels=["M1", "M2"])
    assert [a.get_title() for a in figure.axes] == list(sleep["Subject"].cat.categories)
    assert legend(figure) == ["observed", "M1", "M2"]
    for axes in figure.axes:
        rows = sleep[sleep["Subject"] == axes.get_title()]
        drawn = lines(axes)
        np.testing.assert_array_equal(drawn["observed"], rows[["Days", "Reaction"]])
        for name, fit in (("M1", m1), ("M2", m2)):
            at, value = drawn[name].T
            np.testing.assert_allclose(
                np.interp(rows["Days"], at, value), fit.predict()[rows.index]
            )
    draw(figure)


def test_trellis_pages(rich):
    first: Any = plots.plot_trellis(rich, "visit", max_panels=30)
    second: Any = plots.plot_trellis(rich, "visit", max_panels=30, page=2)
    assert (len(first.axes), len(second.axes)) == (30, 10)
    assert second.legends[0].get_title().get_text() == "clinic: 31 to 40 of 40"
    assert legend(first) == ["observed", rich.formula]
    for page in (0, 3):
        with pytest.raises(LmmError, match=f"no page {page}; 40 groups make 2"):
            plots.plot_trellis(rich, "visit", max_panels=30, page=page)
    with pytest.raises(LmmError, match="max_panels"):
        plots.plot_trellis(rich, "visit", max_panels=0)


def test_trellis_averages_predictions_where_other_columns_vary(clinics, rich):
    figure: Any = plots.plot_trellis(rich, "visit", group="nurse")
    assert len(figure.axes) == 4
    for axes in figure.axes:
        of_nurse = clinics["nurse"] == axes.get_title()
        mean = rich.predict()[of_nurse].groupby(clinics.loc[of_nurse, "visit"]).mean()
        drawn = lines(axes)[rich.formula]
        np.testing.assert_allclose(drawn, np.column_stack([mean.index, mean]))


def test_trellis_against_a_factor_and_against_a_series(sleep, clinics, rich, m1):
    figure: Any = plots.plot_trellis(rich, "arm", group="nurse")
    assert [t.get_text() for t in figure.axes[-1].get_xticklabels()] == ["a", "b"]
    draw(figure)
    plain = lmmjax.lmer("Reaction ~ 1 + (1 | Subject)", sleep)
    figure = plots.plot_trellis(plain, sleep["Days"] / 2)
    drawn = lines(figure.axes[0])
    np.testing.assert_array_equal(drawn["observed"][:, 0], np.arange(10) / 2)
    assert np.ptp(drawn[plain.formula][:, 1]) == 0
    figure = plots.plot_trellis([plain, m1], "Days")  # only the second formula has it
    assert len(figure.axes) == 18
    with pytest.raises(AlignmentError, match="x has no value for the observations '1'"):
        plots.plot_trellis(plain, sleep["Days"].drop(1))


def test_trellis_of_numbers_used_as_labels_and_of_a_linear_model(sleep):
    fits = [lmmjax.lmer(f"Reaction ~ {x} + (1 | Subject)", sleep) for x in ("factor(Days)", "Days")]
    fits.append(lmmjax.lmer("Reaction ~ Days", sleep))
    figure: Any = plots.plot_trellis(fits, "Days", labels=["a", "b", "c"])
    drawn = lines(figure.axes[0])
    rows = sleep["Subject"] == "308"
    np.testing.assert_allclose(drawn["a"][:, 1], fits[0].predict()[rows])
    assert len(drawn["b"]) > 10
    np.testing.assert_allclose(drawn["c"][0], [0, float(fits[2].fixef.iloc[0])])


def test_trellis_leaves_out_what_a_response_lacks(sleep):
    y = sleep[["Reaction"]].where(sleep["Subject"] != "309")
    model = lmmjax.compile("~ Days + (1 | Subject)", sleep)
    figure: Any = plots.plot_trellis(model.fit(y)["Reaction"], "Days")
    titles = [a.get_title() for a in figure.axes]
    assert len(titles) == 17 and "309" not in titles


def test_trellis_bad_input(sleep, m1, m2, hopeless):
    with pytest.raises(FormulaError, match="no formula uses the column 'Dose'; there are 'Days'"):
        plots.plot_trellis(m1, "Dose")
    with pytest.raises(FormulaError, match="no grouping factor 'Site'; the model has 'Subject'"):
        plots.plot_trellis([m1, m2], "Days", group="Site")
    with pytest.raises(FormulaError, match="has no random effects"):
        plots.plot_trellis(lmmjax.lmer("Reaction ~ Days", sleep), "Days")
    with pytest.raises(ShapeError, match="a list of 2"):
        plots.plot_trellis([m1, m2], "Days", labels=["M1"])
    with pytest.raises(EmptyDataError, match="no fits"):
        plots.plot_trellis([], "Days")
    other = lmmjax.lmer(
        "Reaction ~ Days + (1 | Subject)", sleep.assign(Reaction=sleep["Reaction"] ** 2)
    )
    with pytest.raises(AlignmentError, match="fits of one response"):
        plots.plot_trellis([m1, other], "Days")
    with pytest.raises(ResponseError, match="flat has no estimates to draw: All observed"):
        plots.plot_trellis(hopeless, "Days")
    with pytest.raises(LmmError, match=r"not LmmFit; several fits go in a list"):
        plots.plot_trellis(m1, m2)


def test_trellis_against_the_only_covariate(sleep, m1, m2, rich):
    figure: Any = plots.plot_trellis([m1, m2])
    assert figure.get_supxlabel() == "Days"
    assert plots.plot_trellis(rich).get_supxlabel() == "visit"  # arm is no number
    two = lmmjax.lmer("Reaction ~ Days + week + (1 | Subject)", sleep.assign(
        week=np.arange(180) * 7 % 11))  # fmt: skip
    with pytest.raises(FormulaError, match=r"x has to be given.*several: 'Days', 'week'"):
        plots.plot_trellis(two)
    with pytest.raises(FormulaError, match="one numeric covariate; they use none"):
        plots.plot_trellis(lmmjax.lmer("Reaction ~ 1 + (1 | Subject)", sleep))


# ---- residuals -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "label"),
    [("pearson", "Pearson residual"), ("response", "residual"), ("scaled", "scaled residual")],
)
def test_residuals_against_fitted(clinics, rich, kind, label):
    figure: Any = plots.plot_residuals(rich, type=kind)
    (axes,) = figure.axes
    factor = {"pearson": np.sqrt(clinics["w"]), "response": 1.0}.get(
        kind, np.sqrt(clinics["w"]) / rich.sigma
    )
    points = axes.get_lines()[1].get_xydata()
    expected = np.column_stack([rich.fitted(), rich.residuals() * factor])
    np.testing.assert_allclose(points, expected)
    assert list(axes.get_lines()[0].get_ydata()) == [0, 0]
    assert axes.get_ylabel() == label and axes.get_xlabel() == "fitted y"
    assert legend(figure) == ["local regression"]
    draw(figure)


def test_residuals_without_a_smooth_line_for_few_fitted_values(clinics):
    fit = lmmjax.lmer("y ~ arm", clinics)
    figure: Any = plots.plot_residuals(fit)
    assert len(figure.axes[0].get_lines()) == 2 and not figure.legends
    draw(figure)


def test_local_regression_follows_a_curve_not_outliers():
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(-2, 2, 400))
    y = x**2 + rng.normal(scale=0.05, size=400)
    y[::40] += 50.0
    at, smooth = local_regression(x, y)
    assert len(at) == 100 and np.all(np.diff(at) > 0)
    middle = np.abs(at) < 1.2
    assert np.max(np.abs(smooth - at**2)[middle]) < 0.7  # two thirds of the data: much smoothing
    tied = np.r_[np.zeros(50), 1, 2, 3, 4, 5.0]
    assert np.isfinite(local_regression(tied, 2 * tied)[1]).all()


def test_qq_of_residuals(rich):
    figure: Any = plots.plot_qq(rich)
    (axes,) = figure.axes
    line, points = (one.get_xydata() for one in axes.get_lines())
    pearson = np.sort(rich.scaled_residuals() * rich.sigma)
    np.testing.assert_allclose(points[:, 1], pearson)
    np.testing.assert_allclose(points[:, 0], -points[::-1, 0], atol=1e-12)
    slope = np.diff(np.quantile(pearson, [0.25, 0.75]))[0] / (2 * 0.6744897501960817)
    np.testing.assert_allclose(np.polyfit(line[:, 0], line[:, 1], 1)[0], slope)
    assert legend(figure) == ["95% envelope", "normal"]
    scaled: Any = plots.plot_qq(rich, type="scaled").axes[0]
    np.testing.assert_allclose(scaled.get_lines()[1].get_ydata(), pearson / rich.sigma)


def test_qq_envelope_holds_normal_values(m2):
    axes: Any = plots.plot_qq(m2, "Subject").axes[0]
    band = axes.collections[0].get_paths()[0].vertices
    line = axes.get_lines()[0].get_xydata()
    for x, centre in line:
        edges = band[np.isclose(band[:, 0], x), 1]
        assert edges.min() < centre < edges.max()


def test_qq_of_random_effects(m2):
    figure: Any = plots.plot_qq(m2, "Subject")
    assert [a.get_title() for a in figure.axes] == ["(Intercept)", "Days"]
    for axes in figure.axes:
        modes = np.sort(m2.ranef()["Subject"][axes.get_title()])
        np.testing.assert_allclose(axes.get_lines()[1].get_ydata(), modes)
    draw(figure)


def test_residual_bad_input(m2, hopeless):
    with pytest.raises(LmmError, match="type is one of 'pearson', 'response', 'scaled'"):
        plots.plot_residuals(m2, type="deviance")
    with pytest.raises(FormulaError, match="one of 'residuals', 'Subject', not 'Days'"):
        plots.plot_qq(m2, "Days")
    for figure in (plots.plot_residuals, plots.plot_qq, plots.plot_caterpillar):
        with pytest.raises(ResponseError, match="no estimates"):
            figure(hopeless)


def test_residuals_of_a_linear_model(sleep):
    fit = lmmjax.lm("Reaction ~ Days", sleep)
    figure: Any = plots.plot_residuals(fit, type="scaled")
    (points,) = [p for p in lines(figure.axes[0]).values() if len(p) == 180]
    np.testing.assert_allclose(points, np.column_stack([fit.fitted(), fit.residuals("scaled")]))
    assert figure.axes[0].get_xlabel() == "fitted Reaction"
    draw(figure)
    quantiles: Any = plots.plot_qq(fit)
    np.testing.assert_allclose(
        quantiles.axes[0].get_lines()[1].get_ydata(), np.sort(fit.residuals())
    )
    with pytest.raises(FormulaError, match="what is one of 'residuals', not 'ranef'"):
        plots.plot_qq(fit, "ranef")


def test_qq_of_the_only_grouping_factor(m2, rich):
    figure: Any = plots.plot_qq(m2, "ranef")
    assert figure.get_supylabel() == "conditional mode of Subject"
    with pytest.raises(FormulaError, match="one of 'residuals', 'clinic', 'nurse', not 'ranef'"):
        plots.plot_qq(rich, "ranef")


@pytest.mark.parametrize(
    "function",
    [plots.plot_residuals, plots.plot_qq, plots.plot_caterpillar, plots.plot_shrinkage,
     plots.plot_trellis],
)  # fmt: skip
def test_what_is_no_fit_of_one_response(function, sleep, m2):
    name = function.__name__
    with pytest.raises(LmmError, match=rf"{name} draws one response; .*fits\[response\]"):
        function(m2.fits)
    with pytest.raises(LmmError, match=rf"{name} needs a fit by lmer.*, not str"):
        function("m2")
    if function not in (plots.plot_residuals, plots.plot_qq):
        with pytest.raises(LmmError, match="a fit by lm has none; plot_residuals and plot_qq"):
            function(lmmjax.lm("Reaction ~ Days", sleep))


# ---- caterpillar -----------------------------------------------------------------------------


def intervals(axes: Any) -> pd.DataFrame:
    """low, mode, high by row, over both containers."""
    found = {}
    for points, _, (bars,) in axes.containers:
        ends = np.asarray(bars.get_segments()).reshape(-1, 2, 2)
        for (x, row), (low, high) in zip(points.get_xydata(), ends[:, :, 0], strict=True):
            found[int(row)] = (low, x, high)
    return pd.DataFrame.from_dict(found, orient="index").sort_index()


def test_caterpillar_intervals_in_order(m2):
    figure: Any = plots.plot_caterpillar(m2, level=0.9)
    table = m2.ranef(cond_var=True)["Subject"].sort_values("(Intercept)")
    first, second = figure.axes
    assert [t.get_text() for t in first.get_yticklabels()] == list(table.index)
    for axes, name in ((first, "(Intercept)"), (second, "Days")):
        half = 1.6448536269514722 * table[f"{name}_sd"]
        expected = np.column_stack([table[name] - half, table[name], table[name] + half])
        np.testing.assert_allclose(intervals(axes), expected)
    assert legend(figure) == ["90% interval contains 0", "90% interval excludes 0"]
    draw(figure)
    by_slope: Any = plots.plot_caterpillar(m2, order_by="Days").axes[1]
    assert intervals(by_slope)[1].is_monotonic_increasing


def test_caterpillar_thins_many_levels(sleep):
    many = pd.concat([sleep.assign(Subject=k + sleep["Subject"].astype(str)) for k in "abcdef"])
    many["Reaction"] += np.random.default_rng(0).normal(size=len(many)) * 20
    fit = lmmjax.lmer("Reaction ~ Days + (1 | Subject)", many.reset_index(drop=True))
    figure: Any = plots.plot_caterpillar(fit, max_levels=60)
    modes = fit.ranef()["Subject"]["(Intercept)"]
    drawn = intervals(figure.axes[0])[1]
    assert len(drawn) == 60 and (drawn.min(), drawn.max()) == (modes.min(), modes.max())
    assert figure.get_suptitle() == "60 of 108 levels, evenly spread in their order"
    assert len(figure.axes[0].get_yticks()) <= 45
    assert figure.get_figheight() < 11
    draw(figure)


def test_caterpillar_and_shrinkage_of_uncorrelated_terms_and_singular_fits(sleep, clinics):
    fit = lmmjax.lmer("Reaction ~ Days + (Days || Subject)", sleep)
    for figure in (plots.plot_caterpillar(fit), plots.plot_qq(fit, "Subject")):
        assert [a.get_title() for a in figure.axes] == ["(Intercept)", "Days"]
    assert plots.plot_shrinkage(fit).axes[0].get_ylabel() == "Days"
    noise = clinics.assign(y=np.random.default_rng(5).normal(size=len(clinics)))
    flat = lmmjax.lmer("y ~ visit + (1 | nurse)", noise)
    if not flat.singular:
        pytest.fail("the example is meant to be singular")
    for figure in (plots.plot_caterpillar(flat), plots.plot_qq(flat, "nurse"),
                   plots.plot_shrinkage(flat), plots.plot_trellis(flat, "visit")):  # fmt: skip
        draw(figure)


def test_caterpillar_bad_input(sleep, m2):
    with pytest.raises(FormulaError, match="no grouping factor 'Days'; the model has 'Subject'"):
        plots.plot_caterpillar(m2, "Days")
    with pytest.raises(FormulaError, match="no effect 'Dose'; it has '\\(Intercept\\)', 'Days'"):
        plots.plot_caterpillar(m2, order_by="Dose")
    for level in (0.0, 1.0, 95):
        with pytest.raises(LmmError, match="between 0 and 1"):
            plots.plot_caterpillar(m2, level=level)
    with pytest.raises(LmmError, match="max_levels"):
        plots.plot_caterpillar(m2, max_levels=1)
    with pytest.raises(FormulaError, match="no random effects to draw"):
        plots.plot_caterpillar(lmmjax.lmer("Reaction ~ Days", sleep))


# ---- profile ---------------------------------------------------------------------------------


@pytest.fixture
def profile():
    v = np.linspace(-3.5, 3.5, 15)
    bounded = np.linspace(0.0, 6.0, 13)
    parts = {
        ".sigma": (25 * np.exp(0.05 * v), v),
        ".sig01": (bounded, bounded - 1.0),  # ends at 0, where zeta is -1
        "Days": (10 + 1.5 * v, v),
    }
    table = pd.concat(
        [pd.DataFrame({"parameter": k, "value": a, "zeta": b}) for k, (a, b) in parts.items()]
    )
    return table.sample(frac=1.0, random_state=0).sort_values(
        "parameter", key=lambda s: s == "Days"
    )


def drops(axes: Any) -> np.ndarray:
    """(x, zeta) at the upper or lower ends of the vertical lines."""
    segments = [s for c in axes.collections for s in c.get_segments()]
    return np.array([s[1] for s in segments if s[0][0] == s[1][0]])


@pytest.mark.parametrize("absolute", [False, True])
def test_zeta_intervals(profile, absolute):
    figure: Any = plots.plot_zeta(profile, absolute=absolute)
    by_name = {axes.get_xlabel(): axes for axes in figure.axes}
    assert list(by_name) == list(dict.fromkeys(profile["parameter"]))
    z = np.array([0.6744898, 1.2815516, 1.6448536, 1.9599640, 2.5758293])
    ends = drops(by_name["Days"])
    assert ends.shape == (10, 2)
    signed = (ends[:, 0] - 10) / 1.5
    np.testing.assert_allclose(np.sort(signed), np.sort(np.r_[-z, z]), atol=1e-6)
    np.testing.assert_allclose(ends[:, 1], np.abs(signed) if absolute else signed, atol=1e-6)
    # below its estimate the variance's profile reaches the 50% level only
    below = [x for x, _ in drops(by_name[".sig01"]) if x < 1]
    np.testing.assert_allclose(below, [1 - z[0]], atol=1e-6)
    curve = by_name["Days"].get_lines()[1].get_xydata()
    assert (curve[:, 1].min() >= 0) == absolute
    draw(figure)


def test_zeta_levels_and_gaps(profile):
    profile.loc[profile["zeta"].abs() > 3, "zeta"] = np.nan
    figure: Any = plots.plot_zeta(profile, levels=[0.95])
    assert len(drops(figure.axes[-1])) == 2
    draw(figure)


def test_zeta_of_a_profile(m2):
    profile = m2.profile(["Days"])
    figure: Any = plots.plot_zeta(profile)
    assert [axes.get_xlabel() for axes in figure.axes] == ["Days"]
    with pytest.raises(TableError, match=r"what fit.profile\(\) returns.* not a LmmFit"):
        plots.plot_zeta(m2)


def test_zeta_bad_input(profile):
    with pytest.raises(TableError, match="lacks the column\\(s\\) 'zeta'; it has 'parameter'"):
        plots.plot_zeta(profile.drop(columns="zeta"))
    with pytest.raises(TableError, match="not a dict"):
        plots.plot_zeta({"parameter": []})  # type: ignore[arg-type]
    with pytest.raises(DTypeError, match="'zeta' is not numeric"):
        plots.plot_zeta(profile.assign(zeta="x"))
    with pytest.raises(EmptyDataError, match="no rows"):
        plots.plot_zeta(profile.iloc[:0])
    with pytest.raises(EmptyDataError, match="fewer than 2 points"):
        plots.plot_zeta(profile.iloc[:1])
    with pytest.raises(LmmError, match="between 0 and 1"):
        plots.plot_zeta(profile, levels=[95])


# ---- shrinkage -------------------------------------------------------------------------------


def test_shrinkage_arrows(sleep, m2):
    figure: Any = plots.plot_shrinkage(m2)
    (axes,) = figure.axes
    drawn = lines(axes)
    subjects = sleep["Subject"].cat.categories
    by_subject = (sleep[sleep["Subject"] == s] for s in subjects)
    own = np.array([np.polyfit(r["Days"], r["Reaction"], 1)[::-1] for r in by_subject])
    model = m2.fixef + m2.ranef()["Subject"].loc[subjects]
    np.testing.assert_allclose(drawn["own observations"], own)
    np.testing.assert_allclose(drawn["mixed model"], model)
    np.testing.assert_allclose(drawn["population"], [m2.fixef])
    (arrows,) = axes.collections
    np.testing.assert_allclose(np.column_stack([arrows.U, arrows.V]), model - own, atol=1e-9)
    named = [t.get_text() for t in axes.texts]
    assert set(named) <= set(subjects) and len(named) >= 15  # where there is room
    assert figure.get_suptitle() == ""
    draw(figure)


def test_shrinkage_counts_groups_without_their_own_estimates(clinics, rich):
    figure: Any = plots.plot_shrinkage(rich)
    able = clinics.groupby("clinic").size() >= 2
    note = f"clinic; {int((~able).sum())} of 40 without an estimate of its own"
    assert figure.get_suptitle().startswith(note)
    assert len(lines(figure.axes[0])["mixed model"]) == able.sum()
    # what the other terms explain is subtracted, and the weights are used
    arm = rich.fixef["armb"] * (clinics["arm"] == "b")
    nurse = rich.ranef()["nurse"]["(Intercept)"].loc[clinics["nurse"]].to_numpy()
    rows = clinics["clinic"] == "c05"
    slope, intercept = np.polyfit(
        clinics["visit"][rows], (clinics["y"] - arm - nurse)[rows], 1, w=np.sqrt(clinics["w"][rows])
    )
    own = shrinkage(rich, "clinic").own.loc["c05"]
    np.testing.assert_allclose(own, [intercept, slope])
    draw(figure)


def test_shrinkage_of_a_scalar_term(sleep, m1):
    figure: Any = plots.plot_shrinkage(m1)
    (axes,) = figure.axes
    drawn = lines(axes)
    adjusted = sleep["Reaction"] - m1.fixef["Days"] * sleep["Days"]
    means = adjusted.groupby(sleep["Subject"], observed=True).mean()
    model = (m1.fixef["(Intercept)"] + m1.ranef()["Subject"]["(Intercept)"]).sort_values()
    np.testing.assert_allclose(drawn["mixed model"][:, 0], model)
    np.testing.assert_allclose(drawn["own observations"][:, 0], means[model.index])
    assert drawn["population"][0, 0] == m1.fixef["(Intercept)"]
    assert [t.get_text() for t in axes.get_yticklabels()] == list(model.index)
    draw(figure)


def test_shrinkage_of_chosen_effects_and_of_pairs(clinics, m2):
    (axes,) = plots.plot_shrinkage(m2, effects=["Days"]).axes
    assert axes.get_xlabel() == "Days"
    fit = lmmjax.lmer("y ~ visit + arm + (0 + arm | nurse) + (0 + visit | nurse)", clinics)
    figure: Any = plots.plot_shrinkage(fit)
    # arma and armb are means here, and armb of the fixed part is a difference
    a, b = "arma (deviation)", "armb (deviation)"
    labels = [(axes.get_xlabel(), axes.get_ylabel()) for axes in figure.axes]
    assert labels == [(a, b), (a, "visit"), (b, "visit")]
    draw(figure)


def test_shrinkage_bad_input(clinics, m1, m2):
    with pytest.raises(FormulaError, match="'Subject' has no effect 'Days'; its random effects"):
        plots.plot_shrinkage(m1, effects=["(Intercept)", "Days"])
    with pytest.raises(FormulaError, match="no grouping factor 'Site'"):
        plots.plot_shrinkage(m2, "Site")
    with pytest.raises(EmptyDataError, match="no effect"):
        plots.plot_shrinkage(m2, effects=[])


def test_figures_name_the_extra_that_is_missing(m2, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"pip install 'lmmjax\[plots\]'"):
        plots.plot_residuals(m2)
