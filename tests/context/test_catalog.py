import numpy as np
import pandas as pd
import pytest
from astropy.coordinates import SkyCoord

from context.catalog import CatalogError, CatalogSpec, SkyCatalog

SPEC = CatalogSpec("stars", "RA", "DE", unit="deg")


def reasons(catalog):
    return dict(catalog.set_aside.itertuples(index=False, name=None))


# Declarations


def write(folder, text):
    path = folder / "declaration.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_declaration_file(tmp_path):
    declared = """
        name = "galaxies"
        path = "data/galaxies.csv"
        role = "galaxies"
        ra = "RA"
        dec = "DE"
        unit = "hourangle, deg"
        footprint = "moc.fits"
        magnitude = "B"
        magnitude_limit = 15
        position_error = 0.5
        [columns]
        major_axis = "D"
        [units]
        major_axis = "0.5 arcmin"
        [where]
        Type = ["G"]
    """
    spec, path = CatalogSpec.from_toml(write(tmp_path, declared))
    assert path == tmp_path / "data" / "galaxies.csv"
    assert spec == CatalogSpec(
        name="galaxies",
        ra="RA",
        dec="DE",
        unit="hourangle, deg",
        footprint=str(tmp_path / "moc.fits"),
        magnitude="B",
        magnitude_limit=15,
        position_error=0.5,
        columns={"major_axis": "D"},
        units={"major_axis": "0.5 arcmin"},
        where={"Type": ["G"]},
        role="galaxies",
    )
    assert spec.table_columns == ("RA", "DE", "B", "D", "Type")
    assert spec.position_units() == ("hourangle", "deg")


def test_whole_sky_is_no_path(tmp_path):
    text = 'name = "a"\npath = "/data/a.csv"\nra = "r"\ndec = "d"\nfootprint = "all-sky"'
    spec, path = CatalogSpec.from_toml(write(tmp_path, text))
    assert spec.footprint == "all-sky"
    assert str(path) == "/data/a.csv"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "a"\nrad = 3', r"unknown key rad; the known keys are path, name, ra, dec, unit"),
        ('name = "a"\nra = "r"\ndec = "d"', "path is missing"),
        ('path = "a"', "name, ra, dec is missing"),
        ('path = 3\nname = "a"\nra = "r"\ndec = "d"', "path must be text"),
        ("name = ", "must be TOML"),
        ('path = "p"\nname = "a"\nra = 3\ndec = "d"', r"declaration\.toml: Catalogue 'a': ra must be text"),
    ],
)
def test_declarations_that_are_refused(tmp_path, text, message):
    with pytest.raises(CatalogError, match=message):
        CatalogSpec.from_toml(write(tmp_path, text))


def test_a_declaration_that_is_not_there(tmp_path):
    with pytest.raises(CatalogError, match="readable declaration"):
        CatalogSpec.from_toml(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": "a b"}, "letters, digits"),
        ({"name": ""}, "letters, digits"),
        ({"role": "planets"}, "role must be one of stars, galaxies, sources, found 'planets'"),
        ({"offset_scale": 0.5}, "offset_scale and catalogued belong to galaxies, and the role is 'sources'"),
        ({"role": "galaxies", "catalogued": 1.5}, "catalogued must be a finite number from 0.001 to 0.999"),
        ({"role": "galaxies", "offset_scale": "big"}, "offset_scale must be a number"),
        ({"unit": "hourangle"}, 'two as "hourangle, deg"'),
        ({"unit": "deg, deg, deg"}, "one unit, or two"),
        ({"unit": "degrees of arc"}, "convertible to deg, found 'degrees of arc'"),
        ({"unit": "mag"}, "convertible to deg, found 'mag'"),
        ({"unit": 5}, "unit must be text"),
        ({"units": {"size": "arcsec"}}, "units names 'size', which is no declared column"),
        ({"columns": {"x": "X"}, "units": {"x": "furlongish"}}, "known to astropy, found 'furlongish'"),
        ({"columns": {"major_axis": "X"}, "units": {"major_axis": "mag"}}, "convertible to arcsec"),
        ({"columns": {"x": 3}}, "columns must map names to text"),
        ({"pm_ra": "pmra", "epoch": 2000.0}, "belong together"),
        ({"pm_ra": "pmra", "pm_dec": "pmdec"}, "needs the epoch"),
        ({"position_error": -1.0}, "position_error must be a finite number from 0"),
        ({"position_error": True}, "position_error must be a column's name or a number"),
        ({"magnitude_limit": float("nan")}, "magnitude_limit must be a finite number"),
        ({"epoch": 51544.5}, "epoch must be a finite number from 1000 to 3000"),
        ({"where": {"Type": "G"}}, "list of wanted values"),
        ({"where": {"Type": []}}, "list of wanted values"),
    ],
)
def test_specs_that_are_refused(change, message):
    with pytest.raises(CatalogError, match=message):
        CatalogSpec(**{"name": "a", "ra": "RA", "dec": "DE"} | change)


# Tables


def test_positions_off_the_sky_are_set_aside_and_counted():
    frame = pd.DataFrame(
        {
            "RA": [10.0, np.nan, 400.0, -5.0, 360.0, 20.0, np.inf, 30.0],
            "DE": [1.0, 2.0, 3.0, 4.0, 5.0, np.nan, 6.0, 91.0],
        }
    )
    catalog = SkyCatalog.from_frame(frame, SPEC)
    assert catalog.ra.tolist() == [10.0, 0.0]
    assert catalog.dec.tolist() == [1.0, 5.0]
    assert catalog.ra.dtype == catalog.dec.dtype == np.float64
    assert reasons(catalog) == {
        "the position is missing": 2,
        "the position is not a number": 1,
        "ra is not in [0, 360] or dec not in [-90, 90] deg": 3,
    }
    assert catalog.n_rows + catalog.set_aside["rows"].sum() == len(frame)


def test_a_table_without_one_position_is_refused():
    with pytest.raises(CatalogError, match=r"not one of 2 rows can be used \(2: ra is not in"):
        SkyCatalog.from_frame(pd.DataFrame({"RA": [400.0, 500.0], "DE": [0.0, 0.0]}), SPEC)


def test_a_table_without_a_wanted_row_is_refused_unless_it_is_a_part():
    frame = pd.DataFrame({"RA": [1.0], "DE": [0.0], "Type": ["*"]})
    spec = CatalogSpec("a", "RA", "DE", unit="deg", where={"Type": ["G"]})
    with pytest.raises(CatalogError, match=r"not one of 1 rows can be used \(1: not among the wanted"):
        SkyCatalog.from_frame(frame, spec)
    assert SkyCatalog.from_frame(frame, spec, reach=10.0).n_rows == 0


def test_an_empty_table_is_a_catalogue():
    frame = pd.DataFrame({"RA": [], "DE": [], "B": [], "Type": []})
    spec = CatalogSpec(
        "a", "RA", "DE", unit="deg", magnitude="B", columns={"t": "Type"}, where={"Type": ["G"]}
    )
    catalog = SkyCatalog.from_frame(frame, spec)
    assert catalog.n_rows == 0
    assert list(catalog.columns) == ["t"]
    assert catalog.set_aside.empty
    assert catalog.set_aside.dtypes["rows"] == np.int64


def test_rows_that_are_not_wanted_are_set_aside():
    frame = pd.DataFrame({"RA": [1.0, 2.0, np.nan, 4.0], "DE": 0.0, "Type": ["G", " G ", "*", None], "n": 1})
    spec = CatalogSpec("a", "RA", "DE", unit="deg", where={"Type": ["G"], "n": [1, 2]})
    catalog = SkyCatalog.from_frame(frame, spec)
    assert catalog.ra.tolist() == [1.0, 2.0]
    assert reasons(catalog) == {"not among the wanted rows (where)": 2}


def test_columns_are_converted_and_cells_that_are_no_numbers_counted():
    frame = pd.DataFrame(
        {
            "RA": [1.0, np.nan, 3.0, 4.0],
            "DE": 0.0,
            "D": ["2", "x", "oops", "4"],
            "B": ["15.5", "", ">18", "16"],
            "z": [0.1, 0.2, -np.inf, np.nan],
            "err": [0.5, 1.0, 2.0, np.nan],
            "Name": ["a ", "b", None, "d"],
        }
    )
    spec = CatalogSpec(
        "a",
        "RA",
        "DE",
        unit="deg",
        magnitude="B",
        position_error="err",
        role="galaxies",
        columns={"major_axis": "D", "redshift": "z", "name": "Name"},
        units={"major_axis": "0.5 arcmin", "position_error": "mas"},
    )
    catalog = SkyCatalog.from_frame(frame, spec)
    np.testing.assert_allclose(catalog.columns["major_axis"], [60.0, np.nan, 120.0])
    np.testing.assert_allclose(catalog.columns["redshift"], [0.1, np.nan, np.nan])
    assert catalog.columns["name"].tolist()[::2] == ["a", "d"]
    np.testing.assert_allclose(catalog.magnitude, [15.5, np.nan, 16.0])
    np.testing.assert_allclose(catalog.position_error, [0.0005, 0.002, np.nan])
    assert reasons(catalog) == {
        "the position is missing": 1,
        "magnitude is not a finite number (row kept, value missing)": 1,
        "major_axis is not a finite number (row kept, value missing)": 1,
        "redshift is not a finite number (row kept, value missing)": 1,
    }


def test_sizes_without_a_unit_are_refused():
    frame = pd.DataFrame({"RA": [1.0], "DE": [0.0], "D": [2.0]})
    with pytest.raises(CatalogError, match=r"unit of major_axis \(column 'D'\) is neither declared"):
        SkyCatalog.from_frame(frame, CatalogSpec("a", "RA", "DE", unit="deg", columns={"major_axis": "D"}))


def test_missing_columns_are_listed():
    with pytest.raises(CatalogError, match=r"'stars': column 'DE' is declared but missing; found RA, dec\."):
        SkyCatalog.from_frame(pd.DataFrame({"RA": [1.0], "dec": [2.0]}), SPEC)


def test_the_table_is_left_alone_and_any_index_is_fine(rng):
    frame = pd.DataFrame(
        {"RA": rng.uniform(0, 360, 5), "DE": [0.0, 1, 2, 3, 99], "n": range(5)}, index=list("aabbc")
    )
    before = frame.copy()
    spec = CatalogSpec("a", "RA", "DE", unit="deg", columns={"n": "n"}, position_error=0.3)
    catalog = SkyCatalog.from_frame(frame, spec)
    pd.testing.assert_frame_equal(frame, before)
    assert catalog.columns["n"].tolist() == [0, 1, 2, 3]
    assert catalog.columns.index.tolist() == [0, 1, 2, 3]
    assert catalog.position_error.tolist() == [0.3] * 4


def test_epochs_of_rows_that_are_no_julian_years_are_refused():
    frame = pd.DataFrame({"RA": [1.0], "DE": [0.0], "a": [1.0], "d": [1.0], "t": [57388.0]})
    spec = CatalogSpec("a", "RA", "DE", unit="deg", pm_ra="a", pm_dec="d", epoch="t")
    with pytest.raises(CatalogError, match=r"Julian years such as 2016\.0, found 57388 in column 't'"):
        SkyCatalog.from_frame(frame, spec)


def test_rows_without_motion_or_epoch_stand_still():
    frame = pd.DataFrame(
        {
            "RA": [10.0, 20.0, 30.0],
            "DE": 0.0,
            "a": [1.0, np.nan, 1.0],
            "d": 1.0,
            "t": [2000.0, 2000.0, np.nan],
        }
    )
    spec = CatalogSpec(
        "a", "RA", "DE", unit="deg", pm_ra="a", pm_dec="d", epoch="t", units={"pm_ra": "arcsec/yr"}
    )
    stars = SkyCatalog.from_frame(frame, spec)
    assert stars.motion.pm_ra[0] == pytest.approx(1000.0)
    found = stars.nearest([10.0, 20.0, 30.0], [0.0, 0.0, 0.0], epoch=2010.0)
    np.testing.assert_allclose(found.separation, [np.hypot(10, 0.01), 0, 0], rtol=1e-6, atol=1e-9)


# Real tables, as they come

GALAXIES = CatalogSpec(
    "openngc",
    "RA",
    "Dec",
    unit="hourangle, deg",
    magnitude="B-Mag",
    footprint="all-sky",
    role="galaxies",
    columns={
        "name": "Name",
        "major_axis": "MajAx",
        "minor_axis": "MinAx",
        "position_angle": "PosAng",
        "redshift": "Redshift",
    },
    units={"major_axis": "0.5 arcmin", "minor_axis": "0.5 arcmin", "position_angle": "deg"},
)
BRIGHT_STARS = CatalogSpec(
    "bright_star", "RA", "Dec", unit="hourangle, deg", magnitude="V", columns={"name": "N"}, role="stars"
)
VARIABLES = CatalogSpec("gcvs", "ra", "dec", unit="deg", columns={"type": "VarType"})
FERMI = CatalogSpec(
    "fermi_agn",
    "RA_Counterpart",
    "DEC_Counterpart",
    unit="deg",
    columns={"name": "Source_Name", "class": "CLASS", "redshift": "Redshift"},
)


def nearest(catalog, name, ra, dec):
    """Separation [arcsec] and the declared columns of the source nearest to a known position."""
    place = SkyCoord(ra, dec)
    found = catalog.nearest(place.ra.deg, place.dec.deg)
    return found.separation[0], catalog.columns[name].iloc[found.source[0]]


@pytest.mark.real_data
def test_openngc(data_dir):
    catalog = SkyCatalog.from_file(data_dir / "catalogues" / "openngc.csv", GALAXIES)
    assert catalog.n_rows == 13962
    assert reasons(catalog) == {"the position is missing": 7}
    separation, name = nearest(catalog, "name", "00h42m44.33s", "+41d16m07.5s")
    assert name == "NGC0224"
    assert separation < 2
    andromeda = catalog.columns.set_index("name").loc["NGC0224"]
    # 178 by 70 arcmin across, at 35 degrees, approaching at 300 km/s.
    assert andromeda["major_axis"] == pytest.approx(177.83 * 30)
    assert andromeda["minor_axis"] == pytest.approx(69.66 * 30)
    assert andromeda["position_angle"] == 35
    assert andromeda["redshift"] == pytest.approx(-0.001, abs=1e-6)
    assert catalog.covers([10.0], [41.0]).tolist() == [1]


@pytest.mark.real_data
def test_bright_star_catalogue(data_dir):
    catalog = SkyCatalog.from_file(data_dir / "catalogues" / "bright_star_catalogue_5.csv", BRIGHT_STARS)
    assert catalog.n_rows == 9096
    assert catalog.set_aside.empty
    for star, ra, dec in (
        ("Sirius", "06h45m08.9s", "-16d42m58s"),
        ("Vega", "18h36m56.3s", "+38d47m01s"),
        ("Polaris", "02h31m49.1s", "+89d15m51s"),
    ):
        separation, name = nearest(catalog, "name", ra, dec)
        assert name == star
        assert separation < 2
    assert catalog.magnitude.min() == pytest.approx(-1.46)


@pytest.mark.real_data
def test_variable_stars(data_dir):
    catalog = SkyCatalog.from_file(data_dir / "catalogues" / "gcvs.parquet", VARIABLES)
    assert catalog.n_rows == 59099
    separation, kind = nearest(catalog, "type", "02h19m20.8s", "-02d58m39s")
    assert kind == "M"  # Mira itself
    assert separation < 5


@pytest.mark.real_data
def test_gamma_ray_sources(data_dir):
    catalog = SkyCatalog.from_file(data_dir / "catalogues" / "fermi_4lac_dr3.csv", FERMI)
    assert catalog.n_rows == 3407
    assert reasons(catalog) == {"redshift is not a finite number (row kept, value missing)": 1601}
    separation, name = nearest(catalog, "name", "12h29m06.7s", "+02d03m08.6s")
    assert name == "4FGL J1229.0+0202"  # 3C 273
    assert separation < 1
    assert catalog.columns.set_index("name").loc[name, "redshift"] == pytest.approx(0.158, abs=1e-3)
    assert catalog.covers([10.0], [41.0]).tolist() == [-1]


@pytest.mark.real_data
@pytest.mark.parametrize("file", ["openngc.csv", "bright_star_catalogue_5.csv"])
def test_sexagesimal_tables_declared_in_degrees_are_refused(data_dir, file):
    with pytest.raises(CatalogError, match="holds sexagesimal text"):
        SkyCatalog.from_file(data_dir / "catalogues" / file, CatalogSpec("a", "RA", "Dec", unit="deg"))
