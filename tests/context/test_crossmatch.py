import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord, match_coordinates_sky, search_around_sky
from astropy.time import Time
from hypothesis import given, settings
from hypothesis import strategies as st

from context import crossmatch
from context.catalog import CatalogError, CatalogSpec, SkyCatalog
from context.coordinates import CoordinateError
from context.crossmatch import build_indices
from context.sky_geometry import apply_motion, cap_area_arcmin2, separation_arcsec, unit_vectors

SPEC = CatalogSpec("stars", "ra", "dec", unit="deg")
MOVING = CatalogSpec("stars", "ra", "dec", unit="deg", pm_ra="pm_ra", pm_dec="pm_dec", epoch="epoch")

# The sky with its awkward places: poles, 0/360, and neighbours of them from a micro-arcsecond up.
ANCHORS = [
    (0.0, 0.0),
    (360.0, 0.0),
    (0.0, 90.0),
    (123.0, -90.0),
    (359.9999999, 10.0),
    (180.0, 0.0),
    (10.0, 89.9999),
]
near_anchor = st.tuples(
    st.sampled_from(ANCHORS), st.floats(-9, 0), st.floats(0, 2 * np.pi), st.sampled_from([0.0, 1.0])
).map(lambda t: offset(*t[0], t[3] * 10.0 ** t[1], t[2]))
anywhere = st.tuples(st.floats(0, 360), st.floats(-90, 90))
positions = st.lists(st.one_of(near_anchor, anywhere), min_size=1, max_size=25)


def offset(ra, dec, degrees, angle):
    """A position some degrees away, for practical purposes in the direction of `angle`."""
    there = np.clip(dec + degrees * np.cos(angle), -90, 90)
    return (ra + degrees * np.sin(angle)) % 360.0, there


def catalog(places, spec=SPEC, **columns):
    ra, dec = np.array(places, dtype=float).reshape(-1, 2).T
    return SkyCatalog.from_frame(pd.DataFrame({"ra": ra, "dec": dec, **columns}), spec)


def uniform(n, rng):
    return np.column_stack([rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))])


def coordinates(places):
    return SkyCoord(np.array(places, dtype=float).reshape(-1, 2), unit="deg")


def brute(here, there):
    """All separations [arcsec], by astropy."""
    return coordinates(here)[:, None].separation(coordinates(there)[None, :]).arcsec


@settings(deadline=None)
@given(positions, positions, st.integers(1, 3))
def test_nearest_agrees_with_match_coordinates_sky(here, there, k):
    found = catalog(there).nearest(*np.array(here).T, k=k)
    k_there = min(k, len(there))
    assert found.count.tolist() == [k_there] * len(here)
    assert found.query.tolist() == np.repeat(np.arange(len(here)), k_there).tolist()
    separation = found.separation.reshape(len(here), k_there)
    every = brute(here, there)
    # What is found are the smallest separations, in order, and they are those of the rows named.
    np.testing.assert_allclose(separation, np.sort(every, axis=1)[:, :k_there], rtol=1e-12, atol=1e-9)
    np.testing.assert_allclose(found.separation, every[found.query, found.source], rtol=1e-12, atol=1e-9)
    for nth in range(1, k_there + 1):
        index, astropys, _ = match_coordinates_sky(coordinates(here), coordinates(there), nthneighbor=nth)
        # astropy ranks by chords, which can't tell separations that differ in the last digits;
        # at the antipode a chord is blind to 0.01 arcsec.
        same = index == found.source.reshape(len(here), k_there)[:, nth - 1]
        gap = np.abs(astropys.arcsec - separation[:, nth - 1])
        assert (same | (gap < 1e-9) | (separation[:, nth - 1] > 3600 * 179)).all()


@settings(deadline=None)
@given(positions, positions, st.floats(-4, 5.8))
def test_cone_agrees_with_search_around_sky(here, there, log_radius):
    radius = 10.0**log_radius
    found = catalog(there).cone(*np.array(here).T, radius)
    query, source, separation, _ = search_around_sky(coordinates(here), coordinates(there), radius * u.arcsec)
    # On the boundary itself rounding decides.
    clear = np.abs(separation.arcsec / radius - 1) > 1e-9
    clear &= np.abs(separation.arcsec - radius) > 1e-8
    theirs = set(zip(query[clear].tolist(), source[clear].tolist(), strict=True))
    ours = set(zip(found.query.tolist(), found.source.tolist(), strict=True))
    assert theirs <= ours
    every = brute(here, there)
    assert all(every[pair] <= radius * (1 + 1e-9) + 1e-8 for pair in ours)
    order = np.lexsort((found.separation, found.query))
    assert (np.diff(found.query) >= 0).all()
    np.testing.assert_array_equal(found.separation[order], found.separation)


def test_a_large_random_match_is_that_of_astropy(rng):
    here, there = uniform(3000, rng), uniform(20000, rng)
    stars = catalog(there)
    index, separation, _ = match_coordinates_sky(coordinates(here), coordinates(there))
    found = stars.nearest(*here.T)
    np.testing.assert_array_equal(found.source, index)
    np.testing.assert_allclose(found.separation, separation.arcsec, rtol=0, atol=1e-9)
    query, source, _, _ = search_around_sky(coordinates(here), coordinates(there), 3000 * u.arcsec)
    pairs = stars.cone(*here.T, 3000.0)
    order = np.lexsort((pairs.source, pairs.query))
    np.testing.assert_array_equal(
        np.column_stack([pairs.query, pairs.source])[order],
        np.column_stack([query, source])[np.lexsort((source, query))],
    )


def test_tiny_separations_are_exact():
    # A chord of unit vectors resolves 2e-11 arcsec at best; the separation keeps its digits.
    dec = np.array([1e-13, 2e-13, 3e-13])
    found = catalog([(50.0, 0.0)]).nearest([50.0] * 3, dec)
    np.testing.assert_allclose(found.separation, dec * 3600, rtol=1e-9)
    assert catalog([(50.0, 20.0)]).nearest([50.0], [20.0]).separation.tolist() == [0.0]
    assert catalog([(0.0, 20.0)]).nearest([360.0], [20.0]).separation.tolist() == [0.0]
    assert catalog([(360.0, 20.0)]).nearest([0.0], [20.0]).separation.tolist() == [0.0]


def test_equally_far_sources_come_in_the_order_of_the_catalogue():
    places = [(10.0, 1.0), (10.0, -1.0), (10.0, 1.0), (10.0, -1.0)]
    assert catalog(places).nearest([10.0], [0.0], k=3).source.tolist() == [0, 1, 2]


def test_separations_at_the_antipode_decide_exactly():
    # Both are so near the antipode that their chords are equal.
    there = [(180.0, -1e-7), (180.0, -1e-6), (180.0, -2e-6)]
    assert catalog(there).nearest([0.0], [0.0], k=3).source.tolist() == [2, 1, 0]
    assert catalog(there).nearest([0.0], [0.0]).source.tolist() == [2]


def test_every_radius_is_its_own():
    found = catalog([(0.0, 0.0), (0.0, 1.0)]).cone([0.0, 0.0, 0.0], [0.0, 0.0, 0.5], [0.0, 3600.0, 1799.0])
    assert found.offset.tolist() == [0, 1, 3, 3]
    assert found.source.tolist() == [0, 0, 1]
    assert found.query.dtype == found.source.dtype == np.int64
    whole = catalog([(0.0, 0.0), (180.0, 0.0)]).cone([0.0], [0.0], 648000.0)
    assert whole.source.tolist() == [0, 1]


def test_nearest_within_a_radius(rng):
    here, there = uniform(200, rng), uniform(500, rng)
    found = catalog(there).nearest(*here.T, k=4, radius=20000.0)
    every = np.sort(brute(here, there), axis=1)
    assert found.count.tolist() == np.minimum((every <= 20000).sum(axis=1), 4).tolist()
    np.testing.assert_allclose(found.separation, every[:, :4][every[:, :4] <= 20000], rtol=1e-11)


def test_blocks_change_nothing(rng, monkeypatch):
    here, there = uniform(400, rng), uniform(1000, rng)
    stars = catalog(there)
    whole = stars.cone(*here.T, 40000.0), stars.nearest(*here.T, k=5)
    monkeypatch.setattr(crossmatch, "PAIRS_PER_BLOCK", 50)
    monkeypatch.setattr(crossmatch, "QUERIES_PER_BLOCK", 7)
    for a, b in zip(whole, (stars.cone(*here.T, 40000.0), stars.nearest(*here.T, k=5)), strict=True):
        for name in ("query", "source", "separation"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


@settings(deadline=None)
@given(st.permutations(range(12)), st.integers(0, 2**32 - 1))
def test_permuting_positions_permutes_the_answer(order, seed):
    rng = np.random.default_rng(seed)
    here, stars = uniform(12, rng), catalog(uniform(40, rng))
    plain, mixed = stars.nearest(*here.T, k=2), stars.nearest(*here[list(order)].T, k=2)
    np.testing.assert_array_equal(plain.source.reshape(12, 2)[list(order)], mixed.source.reshape(12, 2))


def test_no_catalogue_and_no_position():
    empty = catalog([])
    found = empty.cone([1.0, 2.0], [3.0, 4.0], 10.0)
    assert found.offset.tolist() == [0, 0, 0]
    assert empty.nearest([1.0], [2.0], k=3).count.tolist() == [0]
    assert empty.density([1.0], [2.0], radius=60.0).tolist() == [0.0]
    stars = catalog([(1.0, 2.0)])
    assert stars.nearest([], []).offset.tolist() == [0]
    assert stars.density([], [], radius=60.0).shape == (0,)
    found = stars.nearest([1.0, np.nan, 1.0], [2.0, 0.0, np.nan])
    assert found.query.tolist() == [0]
    assert found.n_queries == 3
    density = stars.density([np.nan, 1.0], [1.0, np.nan], radius=60.0)
    assert np.isnan(density).all()


@pytest.mark.parametrize("place", [(-1.0, 0.0), (360.1, 0.0), (0.0, 90.1), (np.inf, 0.0), (0.0, -np.inf)])
def test_positions_off_the_sky_are_refused(place):
    stars = catalog([(1.0, 2.0)])
    for search in (
        lambda: stars.cone([1.0, place[0]], [2.0, place[1]], 1.0),
        lambda: stars.nearest([1.0, place[0]], [2.0, place[1]]),
        lambda: stars.density([1.0, place[0]], [2.0, place[1]], radius=1.0),
    ):
        with pytest.raises(CoordinateError, match=r"ra in \[0, 360\]"):
            search()


@pytest.mark.parametrize("radius", [-1.0, np.nan, np.inf])
def test_radii_that_are_none_are_refused(radius):
    with pytest.raises(CatalogError, match="search radius"):
        catalog([(1.0, 2.0)]).cone([1.0], [2.0], radius)


@pytest.mark.parametrize("k", [0, -1, 1.5, True])
def test_numbers_of_sources_that_are_none_are_refused(k):
    with pytest.raises(CatalogError, match="whole number"):
        catalog([(1.0, 2.0)]).nearest([1.0], [2.0], k=k)


@pytest.mark.parametrize("epoch", [59000.0, np.nan, 2451545.0])
def test_epochs_that_are_no_julian_years_are_refused(epoch):
    with pytest.raises(CatalogError, match="Julian years"):
        catalog([(1.0, 2.0)]).cone([1.0], [2.0], 1.0, epoch=epoch)


# Proper motion


def moving_catalog(rng, n, fast=20):
    """Stars of all speeds, some as fast as Barnard's, at different epochs, also near the poles and 0/360."""
    places = uniform(n, rng)
    places[:10, 1] = 89.999
    places[10:20, 0] = 0.0
    pm = rng.normal(0, 20, (n, 2))
    pm[:fast] *= 250
    pm[fast : 2 * fast] = 0
    return places, pm, rng.choice([1991.25, 2000.0, 2016.0], n)


def test_motion_is_that_of_apply_space_motion(rng):
    places, pm, _ = moving_catalog(rng, 200)
    years = rng.uniform(-60, 60, 200)
    ra, dec = apply_motion(*places.T, *pm.T, years)
    start = SkyCoord(
        *(places.T * u.deg),
        pm_ra_cosdec=pm[:, 0] * u.mas / u.yr,
        pm_dec=pm[:, 1] * u.mas / u.yr,
        # Near enough for speeds well below that of light.
        distance=np.full(200, 5.0) * u.pc,
        radial_velocity=np.zeros(200) * u.km / u.s,
        obstime=Time(2000.0, format="jyear", scale="tdb"),
    )
    there = start.apply_space_motion(dt=years * u.yr)
    gone = start.separation(there).arcsec
    assert gone.max() > 200
    assert SkyCoord(ra, dec, unit="deg").separation(there).arcsec.max() < 1e-8


def test_no_motion_without_numbers():
    ra, dec = apply_motion([10.0, 20.0, 30.0], [0.0, 1.0, 2.0], [np.nan, 5.0, 0.0], [1.0, np.nan, 0.0], 10.0)
    assert np.abs(ra - [10.0, 20.0, 30.0])[2] < 1e-12
    assert dec[1] == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("radius", [0.5, 30.0, 300.0])
def test_cone_and_nearest_at_an_epoch_are_those_of_moved_stars(rng, radius):
    places, pm, epoch = moving_catalog(rng, 400)
    stars = catalog(places, MOVING, pm_ra=pm[:, 0], pm_dec=pm[:, 1], epoch=epoch)
    # Look where stars are at the epoch of the query, which differs.
    when = rng.uniform(1950, 2050, 400)
    ra, dec = apply_motion(*places.T, *pm.T, when - epoch)
    here = np.column_stack([ra, np.clip(dec + rng.normal(0, radius / 7200, 400), -90, 90)])
    every = np.empty((400, 400))
    for i in range(400):
        moved = apply_motion(*places.T, *pm.T, when[i] - epoch)
        every[i] = separation_arcsec(*here[i], *moved)
    found = stars.cone(*here.T, radius, epoch=when)
    assert len(found.query) > 200
    query, source = np.nonzero(every <= radius)
    assert set(zip(found.query, found.source, strict=True)) == set(zip(query, source, strict=True))
    np.testing.assert_allclose(found.separation, every[found.query, found.source], rtol=1e-9, atol=1e-9)
    nearest = stars.nearest(*here.T, k=3, epoch=when)
    np.testing.assert_allclose(
        nearest.separation.reshape(400, 3), np.sort(every, axis=1)[:, :3], rtol=1e-9, atol=1e-9
    )
    # At the catalogue's own places nothing moves.
    still = stars.cone(*places.T, radius)
    np.testing.assert_array_equal(still.source, catalog(places).cone(*places.T, radius).source)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize("radius", [None, 20.0])
def test_nearest_in_a_crowd_that_moves(rng, k, radius):
    """Every star ends elsewhere, so that the nearest at the catalogue's epoch say little."""
    n = 300
    ra, dec = 359.99 + rng.uniform(0, 0.1, n), -60 + rng.uniform(0, 0.05, n)
    pm = rng.normal(0, 1, (n, 2)) * rng.choice([20.0, 200.0, 1000.0, 4000.0], n)[:, None]
    columns = {"pm_ra": pm[:, 0], "pm_dec": pm[:, 1], "epoch": 2000.0}
    stars = catalog(np.column_stack([ra % 360, dec]), MOVING, **columns)
    here = (359.99 + rng.uniform(0, 0.1, 500)) % 360, -60 + rng.uniform(0, 0.05, 500)
    when = rng.uniform(1950, 2050, 500)
    every = np.stack(
        [
            separation_arcsec(*place, *apply_motion(ra, dec, *pm.T, year - 2000.0))
            for *place, year in zip(*here, when, strict=True)
        ]
    )
    found = stars.nearest(*here, k=k, radius=radius, epoch=when)
    expected = np.sort(every, axis=1)[:, :k]
    np.testing.assert_allclose(found.separation, expected[expected <= (radius or np.inf)], rtol=1e-9)


def test_a_fast_star_is_found_where_it_went():
    # Barnard's star in Gaia DR3, a century on.
    barnard = {"pm_ra": [-801.55], "pm_dec": [10362.39], "epoch": [2016.0]}
    star = catalog([(269.44850252543836, 4.739420051112412)], MOVING, **barnard)
    later = SkyCoord(
        269.44850252543836 * u.deg,
        4.739420051112412 * u.deg,
        distance=1.8282 * u.pc,
        pm_ra_cosdec=-801.55 * u.mas / u.yr,
        pm_dec=10362.39 * u.mas / u.yr,
        radial_velocity=0 * u.km / u.s,
        obstime=Time(2016.0, format="jyear", scale="tdb"),
    ).apply_space_motion(dt=100 * u.yr)
    found = star.cone([later.ra.deg], [later.dec.deg], 0.1, epoch=2116.0)
    assert found.source.tolist() == [0]
    assert star.cone([later.ra.deg], [later.dec.deg], 1000.0).source.tolist() == []


def test_fast_stars_do_not_widen_the_search_of_slow_ones(rng):
    places, pm, epoch = moving_catalog(rng, 400)
    stars = catalog(places, MOVING, pm_ra=pm[:, 0], pm_dec=pm[:, 1], epoch=epoch)
    indices = build_indices(stars.ra, stars.dec, stars.motion)
    assert sum(index.tree.n for index in indices) == 400
    assert sorted(np.concatenate([index.rows for index in indices])) == list(range(400))
    reach = [float(np.max(index.reach(np.array([2050.0])))) * 206265 for index in indices]
    slow = next(index for index in indices if 0 < index.speed <= 30)
    assert slow.tree.n > 100
    assert reach[indices.index(slow)] < 2.0
    assert max(reach) > 100


# Density


def test_density_is_that_of_counting_one_by_one(rng):
    here, there = uniform(100, rng), uniform(5000, rng)
    every = brute(here, there)
    ring = ((every > 5000) & (every <= 30000)).sum(axis=1)
    area = 2 * np.pi * (np.cos(np.radians(5000 / 3600)) - np.cos(np.radians(30000 / 3600)))
    area *= (180 / np.pi * 60) ** 2
    density = catalog(there).density(*here.T, radius=30000.0, hole=5000.0)
    np.testing.assert_allclose(density, ring / area, rtol=1e-9)


def test_areas_of_caps():
    assert cap_area_arcmin2(648000.0) == pytest.approx(4 * np.pi * (180 * 60 / np.pi) ** 2)
    assert cap_area_arcmin2(60.0) == pytest.approx(np.pi, rel=1e-7)
    # 1 - cos of a tenth of an arcsec has lost most of its digits.
    assert cap_area_arcmin2(1e-4) == pytest.approx(np.pi * (1e-4 / 60) ** 2, rel=1e-12)


def test_density_of_a_poisson_field_is_unbiased(rng):
    # 40 sources per square degree on the whole sky, rings of 1 degree: mean within 4 standard errors.
    n = 40 * 41253
    stars = catalog(uniform(n, rng))
    here = uniform(2000, rng)
    density = stars.density(*here.T, radius=3600.0)
    area = cap_area_arcmin2(3600.0) - cap_area_arcmin2(900.0)
    truth = n / (4 * np.pi * (180 * 60 / np.pi) ** 2)
    assert abs(density.mean() - truth) < 4 * np.sqrt(truth / area / len(here))
    # Poisson: the variance of a count is its mean.
    assert np.var(density * area) / (truth * area) == pytest.approx(1.0, abs=0.15)


def test_a_counterpart_does_not_count(rng):
    there = uniform(200, rng)
    stars = catalog(there)
    alone = stars.density(*there.T, radius=60.0)
    assert alone.max() == 0
    counted = stars.density(*there.T, radius=60.0, hole=0.0)
    # Without a hole a source at the very place, at distance zero, lies in the closed inner circle as well.
    assert counted.max() == 0
    beside = stars.density(there[:, 0], np.clip(there[:, 1] + 20 / 3600, -90, 90), radius=60.0)
    assert (beside > 0).mean() > 0.95


@pytest.mark.parametrize("hole", [-1.0, 60.0, np.nan])
def test_holes_without_meaning_are_refused(hole):
    with pytest.raises(CatalogError, match="hole"):
        catalog([(1.0, 2.0)]).density([1.0], [2.0], radius=60.0, hole=hole)


def test_unit_vectors_have_unit_length(rng):
    vectors = unit_vectors(*uniform(100, rng).T)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-15)
