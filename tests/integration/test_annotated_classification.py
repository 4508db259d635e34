"""From positions and catalogues to classes and reasons, through the command line alone."""

import sys

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from mocpy import MOC
from typer.testing import CliRunner

from bayesclass.classifier import Classifier
from bayesclass.cli import app
from bayesclass.metrics import log_loss

LEAVES = ("star", "nuclear", "supernova")
CENTRE, SIDE = (150.0, 2.0), 2.0  # of the surveyed square [deg]
RECIPE = """
schema = 1
name = "from-the-sky"
[classes]
label = "label"
leaves = ["star", "nuclear", "supernova"]
[light_curves]
quantity = "mag"
photometry = "difference"
channels = ["S/g"]
[[streams]]
name = "magnitude"
kind = "magnitude"
channels = ["S/g"]
[[evidence]]
name = "host_normalised_separation"
column = "host_normalised_separation"
kind = "continuous"
transform = "log10"
covered = { column = "host_covered", equals = true }
[[evidence]]
name = "host_mag"
column = "host_mag"
kind = "continuous"
unit = "mag"
[[matches]]
name = "variables"
radius = 10.0
scatter = 0.5
title = "a known variable"
[fit]
folds = 2
versions = 1
draws = 4
"""
CATALOGUE = """
path = "{name}.csv"
name = "{name}"
role = "{role}"
ra = "ra"
dec = "dec"
unit = "deg"
footprint = "square.fits"
"""
GALAXIES = """magnitude = "mag"
[columns]
major_axis = "a"
minor_axis = "b"
position_angle = "angle"
[units]
major_axis = "arcsec"
minor_axis = "arcsec"
position_angle = "deg"
"""


def square(rng, n):
    """Positions uniform in the square, whose sides are a little longer than those of the objects."""
    dec = CENTRE[1] + SIDE * rng.uniform(-0.52, 0.52, n)
    return CENTRE[0] + SIDE * rng.uniform(-0.52, 0.52, n) / np.cos(np.deg2rad(dec)), dec


def moved(ra, dec, distance, angle):
    """Positions at a distance [arcsec] and angle [rad] from others, on a plane."""
    shift = np.exp(1j * angle) * distance / 3600
    return ra + shift.imag / np.cos(np.deg2rad(dec)), dec + shift.real


def sky(rng, labels):
    """Objects, variables and galaxies: stars are often known variables, all others have host galaxies."""
    n = len(labels)
    ra, dec = square(rng, n)
    known = (labels == "star") & (rng.random(n) < 0.6)
    distance, angle = 0.4 * np.sqrt(-2 * np.log(rng.random(n))), rng.uniform(0, 2 * np.pi, n)
    star = moved(ra[known], dec[known], distance[known], angle[known])
    field = square(rng, 3000)
    variables = pd.DataFrame({"ra": np.append(star[0], field[0]), "dec": np.append(star[1], field[1])})
    has = labels != "star"
    size = rng.uniform(2.0, 5.0, n)
    away = size * np.where(labels == "nuclear", rng.uniform(0.02, 0.2, n), rng.gamma(1.5, 0.8, n) + 0.1)
    host = moved(ra[has], dec[has], away[has], angle[has])
    far = square(rng, 6000)
    galaxies = pd.DataFrame(
        {
            "ra": np.append(host[0], far[0]),
            "dec": np.append(host[1], far[1]),
            "mag": np.append(rng.normal(18.5, 1.0, has.sum()), rng.normal(21.0, 1.0, 6000)),
            "a": np.append(size[has], rng.uniform(1.0, 3.0, 6000)),
        }
    )
    galaxies["b"], galaxies["angle"] = galaxies["a"], 0.0
    objects = pd.DataFrame({"object_id": [f"o{i}" for i in range(n)], "ra": ra, "dec": dec, "label": labels})
    return objects, variables, galaxies


def run(*arguments):
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Annotated objects and a model fitted on the first 240 of them."""
    folder = tmp_path_factory.mktemp("sky")
    rng = np.random.default_rng(4)
    objects, variables, galaxies = sky(rng, rng.choice(LEAVES, 400))
    # The last two lie far from everything that was surveyed, and one of them nowhere.
    objects.loc[398:, ["ra", "dec"]] = [[300.0, -60.0], [np.nan, np.nan]]
    objects.to_csv(folder / "positions.csv", index=False)
    variables.to_csv(folder / "variables.csv", index=False)
    galaxies.to_csv(folder / "galaxies.csv", index=False)
    half = 0.52 * SIDE * u.deg
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    vertices = np.array([[CENTRE[0] + x * half.value, CENTRE[1] + y * half.value] for x, y in corners])
    moc = MOC.from_polygon(vertices[:, 0] * u.deg, vertices[:, 1] * u.deg, max_depth=12)
    moc.save(folder / "square.fits", format="fits")
    (folder / "variables.toml").write_text(CATALOGUE.format(name="variables", role="sources"))
    (folder / "galaxies.toml").write_text(CATALOGUE.format(name="galaxies", role="galaxies") + GALAXIES)
    (folder / "recipe.toml").write_text(RECIPE)
    points = pd.DataFrame({"object_id": objects["object_id"], "survey": "S", "band": "g", "mjd": 60000.0})
    points = points.assign(mag=rng.normal(19.0, 1.0, len(points)), mag_err=0.1)
    points.iloc[:-2].to_csv(folder / "points.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "dustmaps.sfd", None)
        said = run(
            *("annotate", folder / "positions.csv", "--radius", "variables=10", "--radius", "galaxies=30"),
            *("--catalogue", f"variables={folder / 'variables.toml'}"),
            *("--catalogue", f"galaxies={folder / 'galaxies.toml'}"),
            *("--alternatives", 3, "--out", folder / "evidence.parquet"),
        )
    assert "up to 3 hosts" in said
    evidence = pd.read_parquet(folder / "evidence.parquet")
    train = evidence["object_id"].isin(objects["object_id"][:240])
    evidence[train].to_csv(folder / "train.csv", index=False)
    evidence[~train].to_csv(folder / "test.csv", index=False)
    said = run(
        *("fit", folder / "recipe.toml", "--light-curves", folder / "points.csv"),
        *("--objects", folder / "train.csv", "--out", folder / "model"),
    )
    assert f"rows of alternatives: {train.sum()}" in said
    assert "variables counterparts: star 0." in said
    return folder


@pytest.fixture(scope="module")
def posterior(folder):
    run(
        *("classify", folder / "model", "--light-curves", folder / "points.csv"),
        *("--objects", folder / "test.csv", "--out", folder / "posteriors.csv"),
    )
    table = pd.read_csv(folder / "posteriors.csv").set_index("object_id")
    rows = pd.read_csv(folder / "test.csv")
    return table, rows


def test_one_posterior_an_object_and_better_than_frequencies(posterior):
    table, rows = posterior
    tested = table.loc[[f"o{i}" for i in range(240, 398)]]
    labels = rows.drop_duplicates("object_id").set_index("object_id")["label"]
    truth = np.array([LEAVES.index(label) for label in labels.loc[tested.index]])
    p = tested[[f"p_{leaf}" for leaf in LEAVES]].to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    # Context says nearly all: frequencies alone give 1.1.
    assert log_loss(p, truth) < 0.55
    assert (p.argmax(axis=1) == truth).mean() > 0.8


def test_outside_the_footprint_the_prior_is_left(folder, posterior):
    table, _ = posterior
    fitted = Classifier.load(folder / "model").fitted
    log = fitted.pool.log_prior + fitted.pool.bias
    prior = np.exp(log - np.logaddexp.reduce(log))
    for object_id in ("o398", "o399"):
        np.testing.assert_allclose(table.loc[object_id, [f"p_{leaf}" for leaf in LEAVES]], prior, atol=1e-6)
        assert "no context" in table.loc[object_id, "warnings"]


def test_matches_and_hosts_are_among_the_reasons(folder, posterior):
    _, rows = posterior
    stars = rows[(rows["label"] == "star") & (rows["variables_separation_arcsec"] < 1.0)]
    name = stars["object_id"].iloc[0]
    for suffix in ("html", "png"):
        run(
            *("explain", folder / "model", name, "--light-curves", folder / "points.csv"),
            *("--objects", folder / "test.csv", "--out", folder / f"page.{suffix}"),
        )
    page = (folder / "page.html").read_text(encoding="utf-8")
    for piece in ("variables match", "host_normalised_separation", "host_mag", "a known variable"):
        assert piece in page
    assert "arcsec away" in page
    assert "alternatives" in page
    explained = (
        Classifier.load(folder / "model").classify(None, rows[rows["object_id"] == name]).explain(name)
    )
    assert explained.best_class == "star"
    reasons = explained.table.set_index("piece")["nats"]
    # A variable within an arcsec, one in 2,000 by chance, and no galaxy that could be the host.
    assert reasons["variables match"] > 2.0
    assert reasons["host_normalised_separation"] > 1.0


def test_evaluate_counts_objects(folder, posterior):
    said = run(
        *("evaluate", folder / "posteriors.csv", "--objects", folder / "test.csv"),
        *("--recipe", folder / "recipe.toml", "--out", folder / "report"),
    )
    # Of 400 posteriors, 160 are of objects in the table, whatever the number of its rows.
    assert "240 posteriors have no row in the objects' table" in said
    assert "log_loss" in said


def test_rows_without_their_probability_are_refused(folder):
    rows = pd.read_csv(folder / "test.csv").drop(columns="alternative_probability")
    rows.to_csv(folder / "bare.csv", index=False)
    words = ["classify", folder / "model", "--light-curves", folder / "points.csv"]
    words += ["--objects", folder / "bare.csv", "--out", folder / "x.csv"]
    result = CliRunner().invoke(app, [str(word) for word in words])
    assert result.exit_code == 2
    assert "column alternative_probability" in result.stderr
