"""dm-dt images against a plain loop over pairs and against light-curve's maps."""

from dataclasses import replace

import light_curve
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from structurefn.images import PUBLISHED_DM_EDGES, PUBLISHED_DT_EDGES, dmdt_images, equal_area_edges
from structurefn.light_curves import LightCurves

CHANNELS = ("S/g", "S/r")
DT = (0.0, 0.3, 2.0, 10.0, 77.7)
DM = (-2.3, -0.7, -0.11, 0.013, 0.21, 1.3)


def sample(rng, sizes=(30, 0, 1, 2, 70, 9)):
    owner = np.repeat(np.arange(len(sizes)), sizes)
    n = len(owner)
    limit = rng.random(n) < 0.1
    # Multiples of 1/64 are exact in float32; times repeat, so lags of zero occur.
    frame = pd.DataFrame(
        {
            "object_id": [f"o{i}" for i in owner],
            "survey": "S",
            "band": rng.choice(["g", "r"], n),
            "mjd": 59000.0 + rng.integers(0, 90 * 64, n) // 20 * 20 / 64,
            "mag": np.round((18 + rng.normal(size=n)) * 64) / 64,
            "mag_err": np.where(limit, np.nan, rng.integers(2, 30, n) / 64),
            "upper_limit": limit,
        }
    )
    return LightCurves.from_frame(frame, channels=CHANNELS, object_ids=[f"o{i}" for i in range(len(sizes))])


def loop(light_curves, channels, dt, dm, smear):
    images = np.zeros((light_curves.n_objects, len(dt) - 1, len(dm) - 1))
    names = np.array(light_curves.channels)
    for i in range(light_curves.n_objects):
        one = light_curves.take_objects([i])
        one = one.keep_points(~one.upper_limit)
        for a in range(one.n_points):
            for b in range(a + 1, one.n_points):
                if (names[one.channel[a]], names[one.channel[b]]) != channels:
                    continue
                row = np.searchsorted(dt, one.time[b] - one.time[a], side="right") - 1
                change = one.value[b] - one.value[a]
                if not 0 <= row < len(dt) - 1:
                    continue
                if smear:
                    s = np.hypot(one.error[a], one.error[b])
                    images[i, row] += np.diff(ndtr((np.asarray(dm) - change) / s))
                    continue
                column = np.searchsorted(dm, change, side="right") - 1
                if 0 <= column < len(dm) - 1:
                    images[i, row, column] += 1
    return images


@pytest.mark.parametrize("errors", ["count", "smear"])
@pytest.mark.parametrize("channels", [("S/g", "S/g"), ("S/g", "S/r"), ("S/r", "S/g")])
def test_images_are_a_loop_over_pairs(rng, errors, channels):
    light_curves = sample(rng)
    found = dmdt_images(light_curves, channels, dt_edges=DT, dm_edges=DM, errors=errors)
    # The kernel's normal distribution is float32; sums of a thousand pairs.
    expected = loop(light_curves, channels, DT, DM, errors == "smear")
    np.testing.assert_allclose(found, expected, atol=0 if errors == "count" else 2e-4)
    assert expected.sum() > 100


def test_images_agree_with_light_curve(rng):
    light_curves = sample(rng)
    light_curves = light_curves.keep_points(~light_curves.upper_limit & (light_curves.channel == 0))
    rival = light_curve.DmDt(np.array(DT), np.array(DM), dt_type="asis", dm_type="asis", norm=[])
    counts = dmdt_images(light_curves, "S/g", dt_edges=DT, dm_edges=DM)
    smeared = dmdt_images(light_curves, "S/g", dt_edges=DT, dm_edges=DM, errors="smear")
    for i in (0, 4, 5):
        one = light_curves.take_objects([i])
        np.testing.assert_array_equal(counts[i], rival.points(one.time, one.value, sorted=True))
        expected = rival.gausses(one.time, one.value, one.error, sorted=True)
        np.testing.assert_allclose(smeared[i], expected, atol=2e-4)


def test_published_edges_and_normalisations(rng):
    light_curves = sample(rng)
    images = dmdt_images(light_curves, "S/g")
    assert images.shape[1:] == (24, 22)
    assert (len(PUBLISHED_DT_EDGES), len(PUBLISHED_DM_EDGES)) == (25, 23)
    seen = light_curves.keep_points(~light_curves.upper_limit & (light_curves.channel == 0))
    n = np.diff(seen.offset)
    n_pairs = n * (n - 1) / 2
    # All pairs of this sample are within the published edges.
    np.testing.assert_allclose(images.sum(axis=(1, 2)), n_pairs)
    published = dmdt_images(light_curves, "S/g", normalise="pairs")
    many = n_pairs > 0
    np.testing.assert_allclose(
        published[many], 255 * images[many] / n_pairs[many, None, None], rtol=1e-6, atol=1e-6
    )
    assert not published[~many].any()
    rows = dmdt_images(light_curves, "S/g", normalise="dt").sum(axis=2)
    np.testing.assert_allclose(rows, images.any(axis=2), atol=1e-6)
    np.testing.assert_allclose(dmdt_images(light_curves, "S/g", normalise="max").max(axis=(1, 2)), many)


def test_pairs_beyond_the_edges_stay_in_the_denominator():
    frame = pd.DataFrame(
        {
            "object_id": "o",
            "survey": "S",
            "band": "g",
            "mjd": [59000.0, 59001.0, 59100.0],
            "mag": [18.0, 18.5, 25.0],
            "mag_err": 0.1,
        }
    )
    light_curves = LightCurves.from_frame(frame)
    options = {"dt_edges": (0.0, 50.0), "dm_edges": (0.0, 1.0)}
    assert dmdt_images(light_curves, "S/g", normalise="pairs", **options).item() == pytest.approx(255 / 3)
    assert dmdt_images(light_curves, "S/g", normalise="dt", **options).item() == 1.0
    infinite = {"dt_edges": (0.0, np.inf), "dm_edges": (-np.inf, 0.0, np.inf)}
    smeared = dmdt_images(light_curves, "S/g", errors="smear", **infinite)
    assert smeared.sum() == pytest.approx(3.0)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["count", "smear"]))
def test_each_pair_has_a_mass_of_one_whatever_its_company(seed, errors):
    light_curves = sample(np.random.default_rng(seed), sizes=(12, 1, 7, 16))
    edges = {"dt_edges": (0.0, 1.0, np.inf), "dm_edges": (-np.inf, -0.2, 0.3, np.inf), "errors": errors}
    images = dmdt_images(light_curves, CHANNELS, **edges)
    other = dmdt_images(light_curves, CHANNELS[::-1], **edges)
    seen = light_curves.keep_points(~light_curves.upper_limit)
    g, r = (np.bincount(seen.object_index[seen.channel == k], minlength=4) for k in (0, 1))
    np.testing.assert_allclose((images + other).sum(axis=(1, 2)), g * r, rtol=1e-5)
    back = np.array([3, 1, 0, 2])
    np.testing.assert_allclose(
        dmdt_images(light_curves.take_objects(back), CHANNELS, **edges), images[back], rtol=1e-5, atol=1e-5
    )


def test_an_absent_channel_and_no_object(rng):
    assert not dmdt_images(sample(rng), ("S/g", "T/z")).any()
    assert dmdt_images(LightCurves.empty(CHANNELS, "mag"), "S/g").shape == (0, 24, 22)


def test_equal_area_edges_share_the_pairs_equally(rng):
    light_curves = sample(rng, sizes=(60, 80, 40))
    dt, dm = equal_area_edges(light_curves, "S/g", 4, 5)
    images = dmdt_images(light_curves, "S/g", dt_edges=dt, dm_edges=dm)
    total = images.sum()
    everything = dmdt_images(light_curves, "S/g", dt_edges=(0, np.inf), dm_edges=(-np.inf, np.inf)).sum()
    assert total == everything
    # Magnitudes and times repeat here, so cells are equal but for ties.
    np.testing.assert_allclose(images.sum(axis=(0, 2)) / total, 1 / 4, atol=0.03)
    np.testing.assert_allclose(images.sum(axis=(0, 1)) / total, 1 / 5, atol=0.03)
    some = equal_area_edges(light_curves, "S/g", 4, 5, max_pairs=800)
    np.testing.assert_allclose(some[1][1:-1], dm[1:-1], atol=0.2)


def test_what_can_not_be_drawn_is_refused(rng):
    light_curves = sample(rng)
    with pytest.raises(ValueError, match=r"dt_edges must be .* ascending.*sort them"):
        dmdt_images(light_curves, "S/g", dt_edges=(0.0, 2.0, 1.0))
    with pytest.raises(ValueError, match='errors must be "count" or "smear"'):
        dmdt_images(light_curves, "S/g", errors="blur")
    with pytest.raises(ValueError, match="normalise must be one of"):
        dmdt_images(light_curves, "S/g", normalise="sum")
    with pytest.raises(ValueError, match="one name or a pair"):
        dmdt_images(light_curves, ("S/g", "S/r", "S/g"))
    with pytest.raises(ValueError, match="no object has a pair"):
        equal_area_edges(light_curves, "T/z", 3, 3)
    constant = replace(light_curves, value=np.full(light_curves.n_points, 18.0))
    with pytest.raises(ValueError, match=r"2 cells of dm need 3 different quantiles.*ask for fewer cells"):
        equal_area_edges(constant, "S/g", 2, 2)
    with pytest.raises(ValueError, match="at least 1"):
        equal_area_edges(light_curves, "S/g", 0, 5)
