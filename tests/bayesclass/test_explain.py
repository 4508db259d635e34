import html.parser
import re
import tomllib

import numpy as np
import pandas as pd
import pytest

from bayesclass import plots
from bayesclass.classifier import Classifier
from bayesclass.explain import explanation_figure, write_explanation
from bayesclass.explain_views import magnitude_view, step_view
from bayesclass.posterior import UnknownObjectError
from bayesclass.recipe import Recipe
from structurefn.light_curves import LightCurves

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def batch(tiny_classifier):
    wanted = tiny_classifier.classifier.recipe.light_curves
    return LightCurves.from_frame(tiny_classifier.light_curves, channels=wanted.channels)


@pytest.fixture(scope="module")
def flux_classifier(tiny_classifier):
    """The same sample as fluxes, with a light recipe without chains of neighbours."""
    text = tiny_classifier.recipe_text.replace('quantity = "mag"', 'quantity = "flux"')
    recipe = tomllib.loads(text.replace('"total"', '"difference"'))
    recipe["streams"] = [s for s in recipe["streams"] if s["kind"] in ("triplets", "magnitude")]
    recipe["fit"] |= {"draws": 2}
    table = tiny_classifier.light_curves
    flux = 10 ** (-0.4 * (table["mag"] - 25.0))
    table = table.drop(columns=["mag", "mag_err"]).assign(flux=flux, flux_err=0.9 * table["mag_err"] * flux)
    return Classifier(Recipe.from_dict(recipe)).fit(table, tiny_classifier.objects), table


def one(batch, index=0, points=None):
    chosen = batch.take_objects([index])
    return chosen if points is None else chosen.keep_points(np.arange(chosen.n_points) < points)


@pytest.mark.parametrize("points", [None, 3, 1, 0])
@pytest.mark.parametrize("with_objects", [True, False])
def test_a_picture_whatever_there_is(tiny_classifier, batch, tmp_path, points, with_objects):
    curve = one(batch, points=points)
    objects = tiny_classifier.objects.iloc[:1] if with_objects else None
    path = tmp_path / "object.png"
    write_explanation(tiny_classifier.classifier, curve, objects, "o0", path)
    assert path.read_bytes().startswith(PNG)


def test_limits_are_drawn_and_named(tiny_classifier, tmp_path):
    table = tiny_classifier.light_curves.query("object_id == 'o1'").assign(upper_limit=False)
    table.loc[table.index[-2:], "upper_limit"] = True
    curve = LightCurves.from_frame(table, channels=("S/g", "S/r"))
    posterior = tiny_classifier.classifier.classify(curve)
    figure = explanation_figure(tiny_classifier.classifier, curve, posterior, "made by hand")
    assert figure.axes[0].get_title() == "Light curve; arrows: upper limits"
    assert figure.axes[0].yaxis_inverted()
    assert figure.get_supxlabel().startswith(f"made by hand;  {curve.n_detections[0]} detections")
    assert "upper limits counted, not used" in figure.get_supxlabel()
    figure.savefig(tmp_path / "x.png")


def test_the_waterfall_leaves_out_what_says_nothing_and_still_adds_up(tiny_classifier, batch):
    posterior = tiny_classifier.classifier.classify(one(batch))
    figure = explanation_figure(tiny_classifier.classifier, one(batch), posterior)
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert "latitude" not in labels
    assert "host" not in labels
    assert figure.axes[1].get_title().endswith("2 without evidence")
    best, other = np.sort(posterior.probability[0])[::-1][:2]
    assert figure.axes[1].patches[-1].get_width() == pytest.approx(np.log(best / other), abs=1e-4)


class Resources(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.sources, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in ("src", "href", "srcset", "data")]

    def handle_data(self, data):
        self.text.append(data)


def test_the_page_needs_nothing_else_and_escapes_its_input(tiny_classifier, tmp_path):
    name = "<b>o&1</b> $x$"
    table = tiny_classifier.light_curves.query("object_id == 'o1'").assign(object_id=name)
    objects = tiny_classifier.objects.iloc[1:2].assign(object_id=name)
    curve = LightCurves.from_frame(table, channels=("S/g", "S/r"))
    path = tmp_path / "object.HTML"
    write_explanation(tiny_classifier.classifier, curve, objects, name, path)
    text = path.read_text(encoding="utf-8")
    found = Resources()
    found.feed(text)
    assert not {"script", "link", "iframe", "b"} & set(found.tags)
    assert len(found.sources) == 1
    assert found.sources[0].startswith("data:image/png;base64,")
    assert "url(" not in text
    assert "@import" not in text
    assert name in "".join(found.text)
    posterior = tiny_classifier.classifier.classify(curve, objects)
    explanation = posterior.explain(name)
    for leaf, p in explanation.probability.items():
        assert f"<td>{leaf}</td><td>{p:.4f}</td>" in text
    for row in explanation.table.itertuples():
        assert f"<td>{row.piece}</td><td>{row.nats:+.2f}</td>" in text
    assert f"<td>latitude</td><td>measured</td><td>{objects['latitude'].iloc[0]:.4g} deg</td>" in text


def test_missing_context_is_named_on_the_page(tiny_classifier, batch, tmp_path):
    path = tmp_path / "o0.html"
    write_explanation(tiny_classifier.classifier, one(batch, points=0), None, "o0", path)
    text = path.read_text(encoding="utf-8")
    assert "<td>latitude</td><td>not covered</td><td></td>" in text
    assert "<li>no usable point: prior and context only</li>" in text


def test_another_ending_and_another_object_are_refused(tiny_classifier, batch, tmp_path):
    with pytest.raises(ValueError, match=r"must go to a file that ends in \.png or \.html, but x\.pdf"):
        write_explanation(tiny_classifier.classifier, one(batch), None, "o0", tmp_path / "x.pdf")
    with pytest.raises(UnknownObjectError, match="nearest is 'o0'"):
        write_explanation(tiny_classifier.classifier, one(batch), None, "o9", tmp_path / "x.png")
    assert list(tmp_path.iterdir()) == []


def test_steps_are_those_of_nightly_means_in_the_channel_with_most(tiny_classifier, batch):
    fitted = tiny_classifier.classifier.fitted
    curve = one(batch, 4)
    view = step_view(fitted, curve, (2, 0))
    table = curve.to_frame()
    nights = {}
    chained = {s.channels[0] for s in fitted.experts.streams if s.kind == "adjacent"}
    for band, own in table[("S/" + table["band"]).isin(chained)].groupby("band"):
        weight = own["mag_err"] ** -2.0
        group = np.floor(own["mjd"])
        total = weight.groupby(group).sum()
        mean = {c: (weight * own[c]).groupby(group).sum() / total for c in ("mjd", "mag")}
        nights[f"S/{band}"] = (mean["mjd"].to_numpy(), mean["mag"].to_numpy(), total.to_numpy() ** -0.5)
    time, mag, error = nights[view.channel]
    assert len(time) == max(len(entry[0]) for entry in nights.values())
    np.testing.assert_allclose(view.lag, np.diff(time), rtol=1e-6)
    np.testing.assert_allclose(view.change, np.diff(mag), atol=1e-9)
    stream = next(s for s in fitted.experts.streams if s.name == f"chain {view.channel}")
    centres = stream.grid.error_centres
    typical = np.median(np.sqrt(error[1:] ** 2 + error[:-1] ** 2))
    nearest = int(np.argmin(np.abs(np.log(centres) - np.log(typical))))
    expected = fitted.experts.densities[stream.name].observed[[2, 0], :, nearest]
    np.testing.assert_array_equal(view.log_probability, expected)
    np.testing.assert_allclose(np.exp(view.log_probability).sum(axis=-1), 1.0, atol=1e-5)


def test_flux_and_a_model_without_chains(flux_classifier, tmp_path):
    classifier, table = flux_classifier
    table = table.assign(upper_limit=False)
    curve = LightCurves.from_frame(table.query("object_id == 'o2'"), channels=("S/g", "S/r"))
    for points in (None, 1, 0):
        chosen = one(curve, points=points)
        write_explanation(classifier, chosen, None, "o2", tmp_path / "flux.png")
        assert (tmp_path / "flux.png").read_bytes().startswith(PNG)
    figure = explanation_figure(classifier, curve, classifier.classify(curve))
    assert not figure.axes[0].yaxis_inverted()


def test_triplets_stand_in_for_chains_weighted_by_their_events(flux_classifier):
    classifier, table = flux_classifier
    curve = LightCurves.from_frame(table.query("object_id == 'o2'"), channels=("S/g", "S/r"))
    view = step_view(classifier.fitted, curve, (1, 2))
    density = classifier.fitted.experts.densities["triplets S/g"]
    stream = next(s for s in classifier.fitted.experts.streams if s.name == "triplets S/g")
    n_second = stream.grid.row_shape[1]
    assert view.log_probability.shape == (2, n_second, stream.grid.n_columns)
    assert len(view.lag_edges) == n_second + 1
    np.testing.assert_allclose(np.exp(view.log_probability).sum(axis=-1), 1.0, atol=1e-5)
    # A row by the definition: rows of one second lag, each with the weight of its events.
    errors = [
        int(s)
        for s in range(stream.grid.n_errors)
        if np.allclose(
            _average(density.observed, density, 1, 1, s, stream.grid), np.exp(view.log_probability[0, 1])
        )
    ]
    assert errors


def _average(observed, density, leaf, second, error, grid):
    n_first, n_second, n_change = grid.row_shape
    total, weights = np.zeros(grid.n_columns), 0.0
    for first in range(n_first):
        for change in range(n_change):
            row = (first * n_second + second) * n_change + change
            weight = density.effective_events[leaf, row] + 1e-3
            total += weight * np.exp(observed[leaf, row, error])
            weights += weight
    return total / weights


def test_magnitudes_of_a_single_point(tiny_classifier, batch):
    fitted = tiny_classifier.classifier.fitted
    channel = next(s.channels[0] for s in fitted.experts.streams if s.kind == "magnitude")
    curve = one(batch)
    curve = curve.keep_points(curve.channel == curve.channels.index(channel))
    curve = curve.keep_points(np.arange(curve.n_points) == 0)
    view = magnitude_view(fitted, curve, (0, 1))
    figure = explanation_figure(tiny_classifier.classifier, curve, tiny_classifier.classifier.classify(curve))
    assert figure.axes[-1].get_title() == f"No pair of points; its magnitudes in {channel}"
    assert view.channel == curve.channels[curve.channel[0]]
    np.testing.assert_array_equal(view.magnitude, curve.value)
    assert view.probability.shape == (2, len(view.edges) - 1)
    assert step_view(fitted, curve, (0, 1)) is None
    assert magnitude_view(fitted, one(batch, points=0), (0, 1)) is None


def test_the_ratio_has_the_sign_of_the_first_class():
    first, second = np.log([[0.8, 0.2]]), np.log([[0.2, 0.8]])
    ax = plots.density_ratio(first, second, [1, 10], [-1, 0, 1], lag=[20.0], dm=[-3.0], linear_width=0.1)
    np.testing.assert_allclose(ax.collections[0].get_array().ravel(), [np.log(4), -np.log(4)])
    # What lies beyond the cells is drawn on their edge.
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[10.0, -1.0]])
    with pytest.raises(ValueError, match="one cell between each two edges"):
        plots.density_ratio(first, second, [1, 10, 100], [-1, 0, 1])


def test_magnitude_densities_integrate_to_one():
    edges = np.array([16.0, 17.0, 19.0])
    ax = plots.magnitudes([[0.5, 0.5], [0.9, 0.1]], ("a", "b"), edges, [18.2])
    for patch in ax.patches:
        values, at, _ = patch.get_data()
        assert np.sum(values * np.diff(at)) == pytest.approx(1.0)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["a", "b", "this object"]


def test_a_page_does_not_depend_on_the_other_objects(tiny_classifier, batch, tmp_path):
    objects = tiny_classifier.objects
    write_explanation(tiny_classifier.classifier, one(batch, 3), objects.iloc[3:4], "o3", tmp_path / "a.html")
    few = batch.take_objects([1, 3, 5])
    write_explanation(tiny_classifier.classifier, few, objects.iloc[[1, 3, 5]], "o3", tmp_path / "b.html")
    rows = [
        re.findall(r"<td>([+-]?\d[\d.]*)</td>", re.sub('base64,[^"]+', "", (tmp_path / name).read_text()))
        for name in ("a.html", "b.html")
    ]
    np.testing.assert_allclose(np.array(rows[0], float), np.array(rows[1], float), atol=0.011)
    assert pd.Series(rows[0]).size > 10
