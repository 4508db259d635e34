import json
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord

from context.annotation import annotate, default_radius
from context.annotation_columns import local_density
from context.annotation_output import write_annotated
from context.annotation_positions import AnnotateError
from context.catalog import CatalogSpec, SkyCatalog
from context.dust import Extinction
from context.evidence import Condition, EvidenceSpec, EvidenceTable, State
from context.host import HostModel
from context.host_geometry import OffsetDensity
from context.nearest import NearestError
from context.nearest_fit import NearestModel
from context.nearest_table import read_nearest

M, N, X = State.MEASURED, State.NONE, State.NOT_COVERED


@pytest.fixture(autouse=True)
def no_dust_map(monkeypatch):
    """Whatever this machine has, extinction is not at hand."""
    monkeypatch.setitem(sys.modules, "dustmaps.sfd", None)


def catalogue(title="known", /, footprint="all-sky", **columns):
    """Make a catalogue of columns ra, dec and more; keywords that `CatalogSpec` knows declare it."""
    keys = ("role", "position_error", "magnitude", "pm_ra", "pm_dec", "epoch", "units")
    keys += ("offset_scale", "catalogued")
    declared = {key: columns.pop(key) for key in keys if key in columns}
    frame = pd.DataFrame(columns)
    own = [
        key
        for key in columns
        if key not in ("ra", "dec", *(v for v in declared.values() if isinstance(v, str)))
    ]
    spec = CatalogSpec(
        title, "ra", "dec", "deg", footprint=footprint, columns={key: key for key in own}, **declared
    )
    return SkyCatalog.from_frame(frame, spec)


def positions(ra, dec, **columns):
    return pd.DataFrame({"object_id": [f"o{i}" for i in range(len(ra))], "ra": ra, "dec": dec, **columns})


@pytest.fixture
def moc_of_the_north(tmp_path):
    mocpy = pytest.importorskip("mocpy")
    moc = mocpy.MOC.from_zone(SkyCoord([[0, 0.01], [359.99, 89.9]], unit="deg"), max_depth=8)
    path = tmp_path / "north.fits"
    moc.save(path, format="fits")
    return str(path)


FAR = {"ra": [10.0, 10.0, 10.01, 200.0], "dec": [20.0, 21.0, 20.0, 60.0]}


def test_standard_columns_of_the_nearest_source():
    known = catalogue(**FAR, period=[1.5, 2.5, 3.5, 4.5], kind=["a", "b", "c", "d"], position_error=0.5)
    given = positions([10.0, 100.0, 10.0], [20.0 + 1 / 3600, -30.0, 21.0], label=["x", "y", "z"])
    result = annotate(given, [known])
    frame = result.frame
    assert list(frame["object_id"]) == ["o0", "o1", "o2"]
    assert list(frame["label"]) == ["x", "y", "z"]
    assert frame["known_separation_arcsec"][0] == pytest.approx(1.0, abs=1e-6)
    assert frame["known_separation_arcsec"][2] == 0.0
    assert frame["known_found"].tolist() == [True, False, True]
    assert frame["known_covered"].tolist() == [True, True, True]
    assert frame["known_period"].tolist()[::2] == [1.5, 2.5]
    assert frame["known_kind"].tolist()[::2] == ["a", "b"]
    assert frame[["known_period", "known_kind", "known_separation_arcsec"]].iloc[1].isna().all()
    assert frame["known_match_probability"][1] == 0
    assert (frame["known_match_probability"][[0, 2]] > 0.999).all()
    np.testing.assert_allclose(
        frame["galactic_b"], SkyCoord(given.ra, given.dec, unit="deg").galactic.b.deg, atol=1e-9
    )
    assert result.units["known_separation_arcsec"] == "arcsec"
    origin = result.provenance["known_kind"]
    assert (origin["catalogue"], origin["rows"], origin["radius_arcsec"]) == ("known", 4, 30.0)
    assert origin["footprint"] == "all-sky"
    assert result.counts().to_dict("records") == [
        {"catalogue": "known", "found": 2, "none": 1, "not_covered": 0}
    ]


def test_three_states_survive_the_way_to_the_evidence_table(moc_of_the_north, tmp_path):
    known = catalogue(footprint=moc_of_the_north, ra=[10.0, 50.0], dec=[20.0, -20.0], period=[1.5, 2.5])
    given = positions([10.0, 10.0, 10.0, 50.0, np.nan], [20.0, 40.0, -40.0, -20.0, 5.0])
    result = annotate(given, [known])
    specs = [
        EvidenceSpec(name, "continuous", column=f"known_{name}", covered=Condition("known_covered", True))
        for name in ("separation_arcsec", "period")
    ]
    expected = [M, N, X, X, X]
    frames = [result.frame]
    for name in ("e.parquet", "e.csv"):
        write_annotated(result, tmp_path / name)
    frames += [pd.read_parquet(tmp_path / "e.parquet"), pd.read_csv(tmp_path / "e.csv")]
    for frame in frames:
        table = EvidenceTable.from_frame(frame, specs)
        for column in table.columns.values():
            assert column.state.tolist() == expected
        assert table.set_aside.empty
    assert result.frame["known_found"].isna().tolist() == [False, False, True, True, True]
    # The source just outside the footprint is told of, and not used.
    assert any("1 positions outside the footprint" in remark for remark in result.remarks)
    assert result.counts().iloc[0].tolist() == ["known", 1, 1, 3]


def test_a_model_learns_from_the_table(rng, tmp_path):
    # Of two classes, one is in the catalogue nine times of ten; also read back from a file.
    n = 400
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    label = np.arange(n) % 2
    listed = (label == 0) & (rng.random(n) < 0.9)
    for footprint in ("all-sky", None):
        known = catalogue(footprint=footprint, ra=ra[listed], dec=dec[listed] * 0.99999, position_error=0.5)
        result = annotate(positions(ra, dec), [known])
        write_annotated(result, tmp_path / "e.csv")
        frames = result.frame, pd.read_csv(tmp_path / "e.csv")
        models = [
            NearestModel.fit(**read_nearest(frame, "known"), allowed=np.eye(2)[label], radius=30.0)
            for frame in frames
        ]
        np.testing.assert_allclose(models[0].probability, models[1].probability)
        if footprint:
            assert models[0].probability[0] == pytest.approx(0.9, abs=0.06)
            assert models[0].probability[1] < 0.02
            log = models[0].log_likelihood(**read_nearest(result.frame, "known"))
            assert (log.argmax(axis=1) == np.where(result.frame["known_found"], 0, 1)).all()
    with pytest.raises(NearestError, match="needs the column gaia_separation_arcsec"):
        read_nearest(result.frame, "gaia")


def test_without_a_footprint_nothing_found_is_not_covered():
    result = annotate(positions([10.0, 100.0], [20.0, -30.0]), [catalogue(footprint=None, **FAR)])
    spec = EvidenceSpec(
        "s", "continuous", column="known_separation_arcsec", covered=Condition("known_covered", True)
    )
    assert EvidenceTable.from_frame(result.frame, [spec]).columns["s"].state.tolist() == [M, X]
    assert result.frame["known_covered"].isna().all()
    assert result.frame["known_found"][0]
    assert any("no footprint" in remark for remark in result.remarks)


def test_position_errors_of_both_sides_decide_on_a_match():
    # An offset of two arcmin, seen by catalogues that know positions to an arcsec and to three arcmin.
    ra, dec = np.meshgrid(np.arange(0, 360, 20.0), np.arange(-60, 61, 20.0))
    fields = {"ra": ra.ravel(), "dec": dec.ravel()}
    sharp, vague = (
        catalogue("sharp", **fields, position_error=1.0),
        catalogue("vague", **fields, error=np.full(ra.size, 180.0), position_error="error"),
    )
    given = positions([20.0], [120 / 3600])
    frame = annotate(given, [sharp, vague], radius=600).frame
    assert frame["sharp_match_probability"][0] < 1e-6
    assert frame["vague_match_probability"][0] > 0.99
    assert frame["vague_position_error_arcsec"][0] == 180.0
    own = annotate(given.assign(position_error_arcsec=150.0), [sharp], radius=600).frame
    assert own["sharp_match_probability"][0] > 0.99
    assert own["sharp_position_error_arcsec"][0] == pytest.approx(np.hypot(150, 1))


def test_match_probabilities_are_frequencies(rng):
    # Half of the objects have a counterpart with a scatter of one arcsec, in a sparse and a crowded field.
    n, side = 1500, 0.5
    objects, stars, has = [], [], rng.random(2 * n) < 0.5
    for dec, rho in ((-2.0, 2.0), (2.0, 60.0)):
        corner = np.array([100.0, dec])
        objects.append(corner + rng.uniform(0.04, side - 0.04, (n, 2)))
        stars.append(corner + rng.uniform(0, side, (rng.poisson(rho * (60 * side) ** 2), 2)))
    objects = np.concatenate(objects)
    own = objects[has] + rng.normal(0, 1.0, (has.sum(), 2)) / 3600
    ra, dec = np.concatenate([own, *stars]).T
    known = catalogue("stars", ra=ra, dec=dec, row=np.arange(len(ra)), role="stars")
    frame = annotate(positions(*objects.T), [known]).frame
    share = frame["stars_match_probability"].to_numpy()
    row = frame["stars_row"].to_numpy(dtype=float)
    truth = np.zeros(2 * n, bool)
    truth[has] = row[has] == np.arange(has.sum())
    density = frame["stars_density_arcmin2"]
    assert density[:n].median() == pytest.approx(2 + has[:n].sum() / (60 * side - 4.8) ** 2, rel=0.15)
    assert density[n:].median() == pytest.approx(60, rel=0.1)
    for field in (slice(0, n), slice(n, 2 * n)):
        for low in np.arange(0, 1, 0.2):
            cell = (share[field] >= low) & (share[field] <= low + 0.2)
            if cell.sum() > 40:
                expected = share[field][cell].mean()
                tolerance = 4 * np.sqrt(max(expected * (1 - expected), 0.01) / cell.sum())
                assert truth[field][cell].mean() == pytest.approx(expected, abs=tolerance)


def test_local_density_is_unbiased_with_and_without_a_counterpart(rng):
    catalog = catalogue(**FAR)
    rho, n = 3.0, 20_000
    # Areas between neighbours of a Poisson field are exponential, in arcmin^2.
    areas = np.cumsum(rng.exponential(1 / rho, (n, 30)), axis=1)
    r = 60 * np.sqrt(areas / np.pi)
    with_counterpart = np.column_stack([np.full(n, 0.3), r[:, :-1]])
    for separation in (r, with_counterpart):
        estimate = local_density(separation, catalog)
        assert estimate.mean() == pytest.approx(rho, rel=0.01)
        assert estimate.std() == pytest.approx(rho / np.sqrt(27), rel=0.05)
    assert local_density(np.array([[1.0, np.nan]]), catalog)[0] == pytest.approx(
        4 / 41252.96 / 3600, rel=1e-5
    )
    assert local_density(np.zeros((1, 30)), catalog)[0] > 0


def test_proper_motion_is_followed_to_each_epoch():
    # A star that moves ten arcsec a year to the north, listed at 2000.
    fast = catalogue(
        "fast", ra=[10.0], dec=[20.0], pa=[0.0], pd=[10_000.0], pm_ra="pa", pm_dec="pd", epoch=2000.0
    )
    dec = 20 + 100 / 3600
    given = positions([10.0] * 3, [dec] * 3, mjd=[51544.5 + 3652.5, np.nan, 51544.5])
    frame = annotate(given, [fast]).frame
    assert frame["fast_found"].tolist() == [True, False, False]
    assert frame["fast_separation_arcsec"][0] < 0.01
    assert annotate(given, [fast], epoch=2010.0).frame["fast_found"].tolist() == [True, True, False]
    years = positions([10.0], [dec], epoch=[2010.0], mjd=[51544.5])
    assert annotate(years, [fast]).frame["fast_found"][0]
    late = annotate(positions([10.0], [dec], mjd=[2455197.5]), [fast])
    assert not late.frame["fast_found"][0]
    assert late.set_aside["reason"].tolist() == ["mjd is no modified Julian date"]


GALAXIES = {
    "ra": [10.0, 10.01, 150.0], "dec": [20.0, 20.0, 2.0], "name": ["near", "next", "far"],
    "major_axis": [10.0, 8.0, 5.0], "minor_axis": [6.0, 8.0, 5.0], "position_angle": [90.0, 0.0, 0.0],
    "redshift": [0.01, 0.05, np.nan], "mag": [14.0, 15.0, 16.0],
}  # fmt: skip
AXES = {"major_axis": "arcsec", "minor_axis": "arcsec", "position_angle": "deg"}


def galaxies(name="hosts", **changes):
    return catalogue(name, role="galaxies", magnitude="mag", units=AXES, **GALAXIES | changes)


def test_a_declaration_says_what_sizes_mean_and_how_complete_the_catalogue_is():
    given = positions([10.0, 200.0], [20.0, -20.0])
    declared = annotate(given, [galaxies(offset_scale=0.45, catalogued=0.4)]).frame
    model = HostModel(offset=OffsetDensity(scale=0.45), catalogued=0.4)
    pd.testing.assert_frame_equal(declared, annotate(given, [galaxies()], host_model=model).frame)
    assert declared["host_probability"][0] != annotate(given, [galaxies()]).frame["host_probability"][0]


def test_hosts_come_from_the_catalogue_of_galaxies():
    given = positions([10.0 + 5 / 3600 / np.cos(np.radians(20)), 220.0, np.nan], [20.0, -50.0, 0.0])
    result = annotate(given, [galaxies()])
    frame = result.frame
    assert frame["host_name"].tolist()[:1] == ["near"]
    assert frame["host_separation_arcsec"][0] == pytest.approx(5.0, abs=1e-3)
    assert frame["host_normalised_separation"][0] == pytest.approx(0.5, abs=1e-3)
    assert frame["host_state"][0] == "detected"
    assert frame["host_covered"].tolist()[:2] == [True, True]
    assert not frame["host_covered"].fillna(False)[2]
    assert result.units["host_separation_arcsec"] == "arcsec"
    assert result.provenance["host_mag"]["catalogue"] == "hosts"
    assert result.counts().iloc[0].tolist() == ["hosts", 1, 1, 1]
    rows = result.with_alternatives(2).frame
    total = rows.groupby("object_id", sort=False)["alternative_probability"].sum()
    np.testing.assert_allclose(total, 1.0)
    assert total.index.tolist() == ["o0", "o1", "o2"]
    assert set(rows.loc[rows["object_id"] == "o0", "host_name"].dropna()) == {"near", "next"}
    assert rows["galactic_b"].notna().sum() == rows["ra"].notna().sum()
    with pytest.raises(AnnotateError, match="role galaxies; give one"):
        annotate(given, []).with_alternatives(1)


def test_only_the_surroundings_of_a_large_catalogue_of_galaxies():
    whole = galaxies()
    near = SkyCatalog.from_frame(
        pd.DataFrame(GALAXIES).iloc[:2], whole.spec, reach=240.0, units={"ra": "deg", "dec": "deg"}
    )
    given = positions([10.0], [20.0 + 3 / 3600])
    result = annotate(given, [near])
    assert result.frame["host_name"][0] == "near"
    assert result.frame["host_state"][0] == "detected"
    with pytest.raises(AnnotateError, match="read only 240 arcsec around"):
        annotate(given, [near], radius=300)


def test_the_table_s_own_sky_columns_stay_and_gaps_are_filled():
    given = positions([10.0, 20.0], [0.0, 0.0], galactic_b=[-77.0, np.nan], A_V=[0.3, "?"])
    result = annotate(given)
    assert result.frame["galactic_b"][0] == -77.0
    assert result.frame["galactic_b"][1] == pytest.approx(
        SkyCoord(20.0, 0.0, unit="deg").galactic.b.deg, abs=1e-9
    )
    assert result.frame["A_V"][0] == 0.3
    assert np.isnan(result.frame["A_V"][1])
    assert result.provenance["galactic_b"]["source"].startswith("the positions' table, gaps:")
    assert result.set_aside.to_dict("records") == [
        {"source": "positions", "reason": "A_V is not a number", "rows": 1}
    ]
    assert any(remark.startswith("A_V for 1 objects") for remark in result.remarks)
    assert "A_V" not in annotate(positions([10.0], [0.0])).frame


def test_extinction_fills_gaps_where_there_is_a_map(monkeypatch):
    def dust(ra, dec):
        return Extinction(np.full(len(ra), 0.1), np.full(len(ra), 0.2742), "a map", None)

    monkeypatch.setattr("context.annotation_columns.extinction", dust)
    result = annotate(positions([10.0, 20.0], [0.0, 0.0], A_V=[0.3, np.nan]))
    assert result.frame["A_V"].tolist() == [0.3, 0.2742]
    assert result.provenance["A_V"] == {"source": "the positions' table, gaps: a map", "unit": "mag"}
    assert result.remarks == ()
    assert annotate(positions([10.0], [0.0])).frame["A_V"].tolist() == [0.2742]


def test_columns_of_alerts_are_read():
    given = positions([10.0, 20.0, 30.0], [0.0, 0.0, 0.0], ssdistnr=[3.0, -999.0, 60.0])
    result = annotate(given)
    assert result.frame["solar_system_found"].tolist() == [True, False, False]
    assert result.frame["solar_system_covered"].tolist() == [True, True, False]
    assert result.set_aside["rows"].tolist() == [1]
    assert result.units["solar_system_separation_arcsec"] == "arcsec"


def test_positions_that_cannot_be_used_stay_and_are_counted():
    given = positions([10.0, 400.0, None, "east", 10.0], [20.0, 0.0, 1.0, 2.0, -91.0])
    result = annotate(given, [catalogue(**FAR), galaxies()])
    assert len(result.frame) == 5
    assert result.frame["known_found"].notna().tolist() == [True, False, False, False, False]
    assert result.frame["known_covered"].fillna(False).tolist() == [True, False, False, False, False]
    assert result.frame["galactic_b"].notna().tolist() == [True, False, False, False, False]
    counts = {row.reason.partition(":")[0]: row.rows for row in result.set_aside.itertuples()}
    assert counts == {"position is not a number": 1, "position is missing": 1, "position out of range": 2}


@pytest.mark.parametrize("cell", ["00:42:44.3", "10h05m", "12 30 15.5", "+41:16:09"])
def test_sexagesimal_positions_are_refused(cell):
    with pytest.raises(AnnotateError, match=r"decimal degrees, found .* in column ra; convert with astropy"):
        annotate(positions([cell, "10.5"], [1.0, 2.0]))


def test_hours_are_suspected_and_not_corrected():
    result = annotate(positions(np.linspace(0, 23.9, 30), np.zeros(30)))
    assert any("hours or radians" in remark for remark in result.remarks)
    assert not any("hours" in remark for remark in annotate(positions([3.0], [0.0])).remarks)


def test_object_ids_and_columns_must_be_different():
    given = positions([10.0, 11.0], [0.0, 0.0])
    with pytest.raises(AnnotateError, match="'o0' again"):
        annotate(given.assign(object_id="o0"))
    with pytest.raises(AnnotateError, match="one column object_id"):
        annotate(given.rename(columns={"object_id": "id"}))
    with pytest.raises(AnnotateError, match="dec is missing"):
        annotate(given.drop(columns="dec"))
    with pytest.raises(AnnotateError, match="'known_kind' would be there twice"):
        annotate(given.assign(known_kind=1), [catalogue(**FAR, kind=["a"] * 4)])
    with pytest.raises(AnnotateError, match="'known_found' would be there twice"):
        annotate(given, [catalogue(**FAR, found=[1] * 4)])


def test_catalogues_must_have_different_names_and_one_set_of_galaxies():
    given = positions([10.0], [0.0])
    with pytest.raises(AnnotateError, match="'known' twice"):
        annotate(given, [catalogue(**FAR), catalogue(**FAR)])
    with pytest.raises(AnnotateError, match="one catalogue, but a and b have the role galaxies"):
        annotate(given, [galaxies("a"), galaxies("b")])
    with pytest.raises(AnnotateError, match="given for 'gaia', but the catalogues are known"):
        annotate(given, [catalogue(**FAR)], radius={"gaia": 3.0})
    for radius in (0.0, -1.0, np.nan):
        with pytest.raises(AnnotateError, match="must be positive"):
            annotate(given, [catalogue(**FAR)], radius=radius)
    with pytest.raises(AnnotateError, match="Julian year"):
        annotate(given, epoch=58000.0)


def test_default_radii_follow_errors_and_sizes():
    assert default_radius(catalogue(**FAR)) == 30
    assert default_radius(catalogue(**FAR, position_error=60.0)) == 300
    assert default_radius(galaxies()) == 60
    assert default_radius(galaxies(major_axis=[60.0, 60.0, 60.0])) == 300
    frame = annotate(positions([10.0], [20.0 + 200 / 3600]), [catalogue(**FAR)], radius={"known": 250}).frame
    assert frame["known_found"][0]


def test_order_of_objects_does_not_matter(rng):
    known = catalogue(ra=rng.uniform(0, 360, 500), dec=rng.uniform(-90, 90, 500), kind=np.arange(500))
    given = positions(rng.uniform(0, 360, 200), rng.uniform(-90, 90, 200))
    turn = rng.permutation(200)
    a = annotate(given, [known], radius=7200).frame
    b = annotate(given.iloc[turn], [known], radius=7200).frame
    pd.testing.assert_frame_equal(a.iloc[turn].reset_index(drop=True), b)
    assert 0 < a["known_found"].sum() < 200


def test_no_objects_and_no_sources():
    empty = annotate(positions([10.0], [0.0]).iloc[:0], [catalogue(**FAR)])
    assert len(empty.frame) == 0
    assert "known_separation_arcsec" in empty.frame
    nothing = SkyCatalog.from_frame(
        pd.DataFrame({"ra": [], "dec": []}), CatalogSpec("known", "ra", "dec", "deg", footprint="all-sky")
    )
    assert annotate(positions([10.0], [0.0]), [nothing]).frame["known_found"].tolist() == [False]


def test_files_carry_units_and_origins(tmp_path):
    result = annotate(positions([10.0], [20.0]), [catalogue(**FAR, kind=["a"] * 4)])
    assert write_annotated(result, tmp_path / "e.parquet") == [tmp_path / "e.parquet"]
    schema = pq.read_schema(tmp_path / "e.parquet")
    field = schema.field("known_separation_arcsec")
    assert field.metadata[b"unit"] == b"arcsec"
    assert json.loads(field.metadata[b"provenance"])["rows"] == 4
    assert json.loads(schema.metadata[b"context"])["units"]["galactic_b"] == "deg"
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "e.parquet"), result.frame)
    assert write_annotated(result, tmp_path / "e.csv.gz")[1] == tmp_path / "e.meta.json"
    about = json.loads((tmp_path / "e.meta.json").read_text())
    assert about["provenance"]["known_kind"]["catalogue"] == "known"
    assert about["remarks"] == list(result.remarks)
    assert {path.name for path in tmp_path.iterdir()} == {"e.parquet", "e.csv.gz", "e.meta.json"}
    with pytest.raises(AnnotateError, match=r"must end in one of .parquet, .csv, .csv.gz"):
        write_annotated(result, tmp_path / "e.fits")
    with pytest.raises(AnnotateError, match="writing failed"):
        write_annotated(result, tmp_path / "absent" / "e.csv")


@pytest.mark.real_data
def test_transients_find_the_variables_and_blazars_of_catalogues(data_dir):
    folder = data_dir / "catalogues"
    spec = CatalogSpec("gcvs", "ra", "dec", "deg", footprint="all-sky", columns={"type": "VarType"})
    gcvs = SkyCatalog.from_file(folder / "gcvs.parquet", spec)
    spec = CatalogSpec("fermi", "RAJ2000", "DEJ2000", "deg", position_error=90.0, footprint="all-sky")
    fermi = SkyCatalog.from_file(folder / "fermi_4lac_dr3.csv", spec)
    objects = pd.read_csv(data_dir / "crts" / "objects.csv", dtype={"object_id": str})
    frame = annotate(objects, [gcvs, fermi]).frame
    assert frame["object_id"].tolist() == objects["object_id"].tolist()
    matched = {
        name: (frame[f"{name}_match_probability"] > 0.5).groupby(frame["clean_label"]).sum()
        for name in ("gcvs", "fermi")
    }
    assert matched["gcvs"]["CV"] >= 25
    assert matched["gcvs"].drop("CV").sum() <= 3
    assert matched["fermi"]["Blazar"] >= 90
    assert matched["fermi"].drop(["Blazar", "AGN"]).sum() <= 6
