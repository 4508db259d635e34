"""The posterior over host galaxies: enumeration, simulation, and what is at its edges."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from host_field import BACKGROUND, DENSITY, EDGES, SPEC, TRUE, Field, assert_calibrated, catalogue
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from context.catalog import SkyCatalog
from context.footprint import Footprint
from context.host import HostModel, host_posterior
from context.host_candidates import find_candidates
from context.host_counts import BackgroundCounts
from context.host_geometry import HostError, OffsetDensity


@pytest.fixture(scope="module")
def field():
    return Field(np.random.default_rng(3), (TRUE,), np.zeros(3000, dtype=int))


def test_posterior_by_enumeration(rng):
    query = np.array([0, 0, 2, 2, 2])
    weight, other = rng.normal(0, 200, 5), rng.normal(0, 200, (4, 3))
    found, rest, total = host_posterior(query, weight, other)
    for i in range(4):
        # Extended precision holds exp(600) and more without a shift.
        terms = np.exp(np.append(weight[query == i], other[i]).astype(np.longdouble))
        np.testing.assert_allclose(
            np.append(found[query == i], rest[i]), terms / terms.sum(), rtol=1e-10, atol=1e-300
        )
        assert total[i] == pytest.approx(float(np.log(terms.sum())))


def test_posterior_against_the_formula_written_out():
    catalog = catalogue(
        ra=[10.0, 10.001, 9.999], dec=[0.0, 0.0005, -0.001], mag=[17.2, 19.9, np.nan], pa=[0, 45, 90]
    )
    model, density = replace(TRUE, offset=OffsetDensity(1.3, 1.1, 0.2)), 3.0
    candidates = find_candidates([10.0005], [0.0002], catalog, 10.0, 0.3, background=BACKGROUND, neighbours=0)
    candidates = replace(candidates, crowding=np.full(3, density))
    shape = stats.gamma(1.3, scale=1.1)
    kept = shape.sf(0.2)
    blur = 2 * 0.3**2 / model.offset.mean_square
    a, b = np.sqrt(9 + blur), np.sqrt(4 + blur)
    q, n = model.host_fractions, DENSITY * density
    weights = []
    for ra, dec, mag, pa in zip(
        [10.0, 10.001, 9.999], [0, 0.0005, -0.001], [17.2, 19.9, None], [0, 45, 90], strict=True
    ):
        east, north = (10.0005 - ra) * 3600, (0.0002 - dec) * 3600
        turn = np.deg2rad(pa)
        along = north * np.cos(turn) + east * np.sin(turn)
        across = east * np.cos(turn) - north * np.sin(turn)
        u = np.sqrt((along / a) ** 2 + (across / b) ** 2 + 0.2**2)
        cell = len(DENSITY) - 1 if mag is None else int((mag - 16) // 0.5)
        weights.append(0.7 * q[cell] / n[cell] * shape.pdf(u) / (2 * np.pi * a * b * u * kept))
    outside = 0.7 * model.outside(candidates)[0]
    total = sum(weights) + outside + 0.3
    result = model.posterior(candidates)
    order = np.argsort(candidates.row)
    np.testing.assert_allclose(result.probability[order], np.array(weights) / total, rtol=1e-5)
    assert result.p_outside[0] == pytest.approx(outside / total, rel=1e-5)
    assert result.p_none[0] == pytest.approx(0.1 / total, rel=1e-5)
    assert result.p_too_faint[0] == pytest.approx(0.2 / total, rel=1e-5)
    assert model.log_likelihood(candidates)[0] == pytest.approx(np.log(total), rel=1e-6)


@pytest.mark.parametrize("radius", [6.0, 40.0])
def test_posterior_is_calibrated(field, radius):
    candidates = field.candidates(radius)
    result = TRUE.posterior(candidates)
    right = candidates.row == field.host[candidates.query]
    assert (result.probability > 0.8).sum() > 500
    assert_calibrated(result.probability, right)
    found = np.bincount(candidates.query, right, len(field.ra)) > 0
    outside = (field.outcome == "host") & ~found
    for p, happened in (
        (result.p_too_faint, field.outcome == "faint"),
        (result.p_none, field.outcome == "none"),
        (result.p_outside, outside),
    ):
        assert p.mean() == pytest.approx(happened.mean(), abs=4 * np.sqrt((p * (1 - p)).sum()) / len(p))
    total = result.p_candidates + result.p_too_faint + result.p_outside + result.p_none
    np.testing.assert_allclose(total, 1, rtol=1e-12)


def test_posterior_is_calibrated_with_position_errors():
    field = Field(np.random.default_rng(4), (TRUE,), np.zeros(3000, dtype=int), error=1.0)
    candidates = field.candidates(40.0, error=1.0)
    right = candidates.row == field.host[candidates.query]
    result = TRUE.posterior(candidates)
    # Errors of half a light radius; widened ellipses are a second-moment approximation.
    assert result.probability[result.probability > 0.5].mean() == pytest.approx(
        right[result.probability > 0.5].mean(), abs=0.02
    )
    ignored = TRUE.posterior(replace(candidates, position_error=np.zeros(len(right))))

    def mean_log(p):
        return np.log(np.where(right, p, 1 - p)).sum()

    assert mean_log(result.probability) > mean_log(ignored.probability)


def test_geometry_on_the_sky(rng):
    from astropy import units as u
    from astropy.coordinates import SkyCoord

    centre = SkyCoord(rng.uniform(0, 360, 50), rng.uniform(-89, 89, 50), unit="deg")
    pa = rng.uniform(0, 180, 50)
    catalog = catalogue(ra=centre.ra.deg, dec=centre.dec.deg, pa=pa)
    for turn, radius in ((0, 3.0), (90, 2.0), (180, 3.0)):
        there = centre.directional_offset_by((pa + turn) * u.deg, 6 * u.arcsec)
        c = HostModel().associate(there.ra.deg, there.dec.deg, catalog, 10.0)
        np.testing.assert_allclose(c.found.dlr, radius, rtol=1e-4)
        np.testing.assert_allclose(c.best_frame()["host_normalised_separation"], 6 / radius, rtol=1e-4)


def test_right_ascension_wraps():
    catalog = catalogue(ra=[359.9999, 0.0001], dec=[0.0, 0.0], pa=[90.0, 90.0])
    frame = HostModel().associate([0.0, 360.0], [0.0, 0.0], catalog, 5.0).best_frame()
    np.testing.assert_allclose(frame["host_separation_arcsec"], 0.36, rtol=1e-6)
    np.testing.assert_allclose(frame["host_dlr_arcsec"], 3.0, rtol=1e-6)


near_place = (st.floats(-0.01, 0.01), st.floats(-0.01, 0.01))
missing = st.just(np.nan)
galaxy = st.tuples(
    *near_place,
    *(st.floats(10, 25) | missing, st.floats(-1, 100) | missing, st.floats(-1, 100) | missing),
    st.floats(-360, 360) | missing,
)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(galaxy, min_size=1, max_size=8),
    st.lists(st.tuples(*near_place), min_size=1, max_size=8),
    st.floats(0, 60),
    st.floats(0, 5),
)
def test_outcomes_sum_to_one_in_any_order(galaxies, transients, radius, error):
    x, y, mag, a, b, pa = np.transpose(galaxies)
    catalog = catalogue(ra=10 + x, dec=y, mag=mag, a=a, b=b, pa=pa)
    ra, dec = np.array([10 + x for x, _ in transients]), np.array([y for _, y in transients])
    model = HostModel()
    result = model.associate(ra, dec, catalog, radius, error, typical_axis=2.0)
    total = result.p_candidates + result.p_too_faint + result.p_outside + result.p_none
    np.testing.assert_allclose(total, 1, rtol=1e-12)
    assert ((result.probability >= 0) & (result.probability <= 1)).all()
    turned = model.associate(ra[::-1], dec[::-1], catalog, radius, error, typical_axis=2.0)
    columns = ["host_probability", "host_p_too_faint", "host_p_outside", "host_pcc"]
    pd.testing.assert_frame_equal(
        turned.best_frame()[columns][::-1].reset_index(drop=True), result.best_frame()[columns]
    )
    sums = result.alternatives(2).groupby("object")["alternative_probability"].sum()
    np.testing.assert_allclose(sums, 1, rtol=1e-12)


def test_covered_and_not():
    mocpy = pytest.importorskip("mocpy")
    from astropy import units as u

    moc = mocpy.MOC.from_cone(10 * u.deg, 0 * u.deg, radius=1 * u.deg, max_depth=9)
    catalog = replace(catalogue(ra=[10.0, 20.0], dec=[0.0, 0.0]), footprint=Footprint("moc", moc))
    # Beside a galaxy; covered and empty; beside a galaxy outside the footprint; nowhere.
    result = HostModel().associate([10.0, 10.5, 20.0, np.nan], [0.0003, 0.0, 0.0, 0.0], catalog, 20.0)
    frame = result.best_frame()
    assert list(frame["host_covered"].fillna(False)) == [True, True, False, False]
    assert pd.isna(frame["host_covered"][3])
    assert list(frame["host_state"][:2]) == ["detected", "too faint"]
    assert frame["host_state"][2:].isna().all()
    assert frame["host_p_too_faint"].isna().tolist() == [False, False, True, True]
    assert frame["host_probability"][1] == 0
    assert frame["host_probability"][2:].isna().all()
    # What was seen beyond the edge is no evidence, but stays among the candidates.
    assert frame["host_separation_arcsec"].isna().tolist() == [False, True, True, True]
    assert result.found.query.tolist() == [0, 2]
    others = frame[["host_p_too_faint", "host_p_outside", "host_p_none"]].sum(axis=1)
    assert others[1] == pytest.approx(1)
    assert (HostModel().log_likelihood(result.found)[2:] == 0).all()
    last = result.alternatives(3)
    assert list(last["object"]) == [0, 0, 1, 2, 3]
    assert last["host_state"][3:].isna().all()
    assert (last["alternative_probability"][2:] == 1).all()


def test_unknown_footprint_speaks_only_where_something_is_found():
    catalog = replace(catalogue(ra=[10.0, 10.01, 30.0], dec=[0.0, 0.01, 0.0]), footprint=Footprint.unknown())
    frame = HostModel().associate([10.0, 50.0], [0.0003, 0.0], catalog, 20.0).best_frame()
    assert frame["host_covered"].isna().all()
    assert frame["host_probability"][0] > 0.5
    assert np.isnan(frame["host_p_none"][1])


def test_a_galaxy_without_magnitude_keeps_the_average_weight():
    # Counts published for the band: what is unknown weighs as the mean of all.
    counts = BackgroundCounts(EDGES, np.append(DENSITY[:-1], DENSITY[:-1].sum() / 19))
    q_over_n = counts.host_fractions(0.8) / counts.density
    assert q_over_n[-1] == pytest.approx(1 / counts.total)
    catalog = catalogue(ra=[10.0], dec=[0.0], mag=[np.nan])
    frame = HostModel().associate([10.0], [0.0003], catalog, 20.0, background=counts).best_frame()
    assert 0 < frame["host_probability"][0] < 1
    assert np.isnan(frame["host_mag"][0])
    assert np.isnan(frame["host_pcc"][0])


def test_sizes_that_are_no_ellipse_are_set_aside():
    catalog = catalogue(
        ra=[10.0, 10.0001, 10.0002, 10.0003],
        dec=np.zeros(4),
        a=[3.0, -3.0, 2.0, np.nan],
        b=[2.0, 2.0, 4.0, np.nan],
    )
    result = HostModel().associate([10.0], [0.0005], catalog, 20.0)
    assert result.found.set_aside.to_dict("records") == [
        {"reason": "semi-axes are no ellipse: typical size used", "rows": 2}
    ]
    frame = result.candidates.set_index("catalogue_row").sort_index()
    assert frame["host_dlr_arcsec"].isna().tolist() == [False, True, True, True]
    assert (frame["host_probability"] > 0).all()
    # The only size there is stands for the others: circles of 3 arcsec.
    np.testing.assert_allclose(result.found.major[result.found.row > 0], 3.0)
    np.testing.assert_allclose(result.found.minor[result.found.row > 0], 3.0)


def test_zero_separation_zero_size_zero_radius():
    catalog = catalogue(ra=[10.0], dec=[0.0], a=[0.0], b=[0.0])
    for radius in (0.0, 5.0):
        result = HostModel().associate([10.0], [0.0], catalog, radius, typical_axis=1.0)
        assert result.found.separation.tolist() == [0.0]
        assert 0 < result.probability[0] <= 1
        assert np.isnan(result.candidates["host_dlr_arcsec"][0])
    # With no radius at all, every offset host lies outside.
    away = HostModel().associate([10.001], [0.0], catalog, 0.0, typical_axis=1.0)
    assert len(away.probability) == 0
    assert away.p_outside[0] == pytest.approx(0.75)
    with pytest.raises(HostError, match="no galaxy with a size"):
        HostModel().associate([10.0], [0.0], catalog, 5.0)


def test_catalogue_without_a_row():
    empty = SkyCatalog.from_frame(
        pd.DataFrame(columns=["name", "ra", "dec", "mag", "a", "b", "pa", "z", "dz"]), SPEC
    )
    frame = HostModel().associate([10.0], [0.0], empty, 20.0).best_frame()
    assert frame["host_probability"][0] == 0
    assert frame[["host_p_too_faint", "host_p_outside", "host_p_none"]].sum(axis=1)[0] == pytest.approx(1)
    nowhere = replace(empty, footprint=Footprint.unknown())
    assert HostModel().associate([10.0], [0.0], nowhere, 20.0).best_frame()["host_p_none"].isna().all()


def test_no_position_at_all():
    result = HostModel().associate([], [], catalogue(ra=[10.0], dec=[0.0]), 5.0)
    assert len(result.best_frame()) == len(result.alternatives()) == len(result.candidates) == 0
    assert len(result.soft_redshift()[0]) == 0


@pytest.mark.parametrize("argument", [{"radius": -1.0}, {"radius": np.nan}, {"position_error": -1.0}])
def test_radii_are_checked(argument):
    arguments = {"radius": 5.0} | argument
    with pytest.raises(HostError, match="must be finite and not negative"):
        HostModel().associate([10.0], [0.0], catalogue(ra=[10.0], dec=[0.0]), **arguments)


def test_models_are_checked():
    with pytest.raises(HostError, match="0 < catalogued < 1"):
        HostModel(catalogued=1.0)
    with pytest.raises(HostError, match="hostless"):
        HostModel(catalogued=0.9, hostless=0.2)
    with pytest.raises(HostError, match="need the background"):
        HostModel(host_fractions=np.ones(3) / 3)
    with pytest.raises(HostError, match="sum to one"):
        HostModel(background=BACKGROUND, host_fractions=np.ones(len(DENSITY)))


def test_too_faint_object_by_object():
    catalog = catalogue(ra=[10.0], dec=[0.0])
    args = ([10.0] * 3, [0.0003] * 3, catalog, 20.0)
    result = HostModel().associate(*args, too_faint=[1.0, 0.0, np.nan])
    assert result.probability[0] == 0
    assert result.p_too_faint[0] + result.p_none[0] == pytest.approx(1)
    assert result.p_too_faint[0] == pytest.approx(0.95)
    assert result.p_too_faint[1] == 0
    assert result.probability[2] == HostModel().associate(*args).probability[2]
    with pytest.raises(HostError, match="too_faint must be probabilities"):
        HostModel().associate(*args, too_faint=1.5)


def test_soft_redshift():
    catalog = catalogue(
        ra=[10.0, 10.0003, 9.9998, 50.0],
        dec=[0.0] * 4,
        z=[0.1, 0.2, np.nan, 0.3],
        dz=[0.01, np.nan, 0.1, 0.1],
    )
    result = HostModel().associate([10.0001, 90.0], [0.0, 0.0], catalog, 20.0)
    moments, mixture = result.soft_redshift()
    p = result.candidates.set_index("catalogue_row")["host_probability"]
    w = np.array([p[0], p[1]]) / (p[0] + p[1])
    mean = w @ [0.1, 0.2]
    assert moments["host_soft_redshift"][0] == pytest.approx(mean)
    variance = w @ [0.01**2 + 0.1**2, 0.2**2] - mean**2
    assert moments["host_soft_redshift_error"][0] == pytest.approx(np.sqrt(variance))
    assert moments["host_redshift_unknown"][0] == pytest.approx(1 - p[0] - p[1])
    assert moments["host_redshift_unknown"][1] == 1
    assert np.isnan(moments["host_soft_redshift"][1])
    weight = mixture.groupby("object")["weight"].sum()
    assert weight[0] + moments["host_redshift_unknown"][0] == pytest.approx(1)


def test_alternatives_are_the_most_probable_hosts():
    catalog = catalogue(ra=[10.0, 10.0004, 10.0008, 10.002], dec=[0.0] * 4)
    result = HostModel().associate([10.0003], [0.0], catalog, 20.0)
    listed = result.alternatives(2)
    p = np.sort(result.probability)[::-1]
    without = (result.p_too_faint + result.p_outside + result.p_none)[0]
    kept = p[0] + p[1] + without
    assert list(listed["alternative"]) == [-1, 0, 1]
    np.testing.assert_allclose(
        listed["alternative_probability"], np.array([without, p[0], p[1]]) / kept, rtol=1e-9
    )
    np.testing.assert_allclose(listed["alternative_left_out"], p[2] + p[3], rtol=1e-6)
    assert listed["host_name"][1] == result.best_frame()["host_name"][0] == "G1"
    assert listed["host_name"].isna().tolist() == [True, False, False]
    with pytest.raises(HostError, match="can't be negative"):
        result.alternatives(-1)


def test_crowded_fields_need_better_matches(rng):
    n = 4000
    ra, dec = rng.uniform(30, 70, n), np.rad2deg(np.arcsin(rng.uniform(-0.342, 0.342, n)))
    lonely = catalogue(ra=np.append(ra, [50.0, 150.0]), dec=np.append(dec, [0.0, 0.0]))
    # The same galaxy and offset, once in a crowd and once alone.
    result = HostModel().associate([50.004, 150.004], [0.0, 0.0], lonely, 20.0)
    same = result.candidates.set_index("catalogue_row")["host_probability"]
    assert same[n] < same[n + 1]
    crowding = result.found.crowding
    expected = 41252.96 / (40 * np.rad2deg(2 * 0.342))
    assert crowding[result.found.query == 0][0] == pytest.approx(expected, rel=0.15)
    assert crowding[result.found.query == 1][0] < 1
    chance = replace(HostModel(), chance_counts=None).posterior(result.found).candidates
    chance = chance.set_index("catalogue_row")["host_pcc"]
    assert chance[n] > 10 * chance[n + 1]


@pytest.mark.parametrize("model", [TRUE, HostModel(), replace(HostModel(), chance_counts=None)])
def test_models_survive_a_file(model, field):
    again = HostModel.from_dict(json.loads(json.dumps(model.to_dict())))
    candidates = field.candidates(10.0)
    old, new = model.posterior(candidates), again.posterior(candidates)
    np.testing.assert_array_equal(old.probability, new.probability)
    np.testing.assert_array_equal(old.chance_coincidence, new.chance_coincidence)


@pytest.mark.real_data
def test_named_hosts_of_nearby_supernovae(data_dir):
    galaxies = pd.read_csv(data_dir / "catalogues" / "openngc.csv")
    galaxies = galaxies[galaxies["Type"] == "G"].reset_index(drop=True)
    spec = replace(
        SPEC,
        ra="RA",
        dec="Dec",
        unit="hourangle,deg",
        magnitude="B-Mag",
        columns={
            "name": "Name",
            "major_axis": "MajAx",
            "minor_axis": "MinAx",
            "position_angle": "PosAng",
            "redshift": "Redshift",
        },
        units={"major_axis": "0.5 arcmin", "minor_axis": "0.5 arcmin", "position_angle": "deg"},
    )
    catalog = SkyCatalog.from_frame(galaxies, spec)
    objects = pd.read_csv(data_dir / "osc" / "objects.csv")
    number = objects["host_name"].str.extract(r"^(NGC|IC) (\d+)$")
    named = number[0] + number[1].str.zfill(4)
    objects, named = objects[named.isin(galaxies["Name"])], named[named.isin(galaxies["Name"])]
    model = HostModel(offset=OffsetDensity(1.2, 0.5))
    found = model.associate(objects["ra"], objects["dec"], catalog, 600.0).best_frame()
    right = found["host_name"].to_numpy() == named.to_numpy()
    assert len(right) > 100
    assert right.mean() > 0.97
    assert found["host_probability"][right].mean() > 0.97
    # Offsets in units of the D25 radius: most supernovae lie within it.
    assert 0.3 < found["host_normalised_separation"][right].median() < 0.7
