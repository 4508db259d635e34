import gzip

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import Angle
from astropy.table import MaskedColumn, Table

from context.catalog import CatalogError, CatalogSpec, SkyCatalog
from context.catalog_cells import plain_text, read_positions, to_numbers
from context.catalog_files import SourceTable, read_source_table

COLUMNS = ("ra", "dec", "name", "count", "mag")
FORMATS = ["parquet", "csv", "csv.gz", "fits", "fits.gz", "vot", "xml", "ecsv"]


@pytest.fixture
def sources(rng):
    n = 300
    return Table(
        {
            "ra": rng.uniform(0, 360, n) * u.deg,
            "dec": rng.uniform(-90, 90, n) * u.deg,
            "name": [f"n {i}" for i in range(n)],
            "count": np.arange(n) + 2**53,
            "mag": MaskedColumn(rng.uniform(10, 20, n), mask=np.arange(n) % 7 == 0),
            "many": rng.uniform(size=(n, 2)),
        }
    )


def write(sources, path):
    """Write a table in the format that the file's name says, by the library that is at home there."""
    name = path.name
    flat = sources[list(COLUMNS)]
    if name.endswith(".parquet"):
        units = {"ra": {b"unit": b"deg"}, "dec": {b"unit": b"deg"}}
        table = pa.Table.from_pandas(flat.to_pandas(), preserve_index=False)
        fields = [field.with_metadata(units.get(field.name)) for field in table.schema]
        pq.write_table(table.cast(pa.schema(fields)), path)
    elif ".csv" in name:
        flat.to_pandas().to_csv(path, index=False)
    elif ".fits" in name:
        sources.write(path, format="fits")
    elif name.endswith(".ecsv"):
        flat.write(path, format="ascii.ecsv")
    else:
        flat.write(path, format="votable")
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_columns(sources, tmp_path, form):
    table = read_source_table(write(sources, tmp_path / f"a.{form}"), ["dec", "name", "count", "mag"])
    assert list(table.frame.columns) == ["dec", "name", "count", "mag"]
    np.testing.assert_allclose(table.frame["dec"], sources["dec"].value, rtol=0, atol=1e-13)
    assert table.frame["name"].tolist() == list(sources["name"])
    # Long whole numbers keep all their digits.
    assert table.frame["count"].tolist() == sources["count"].tolist()
    number, bad = to_numbers(table.frame["mag"])
    assert not bad.any()
    np.testing.assert_array_equal(np.isnan(number), np.arange(300) % 7 == 0)
    known = ~np.isnan(number)
    np.testing.assert_allclose(number[known], sources["mag"].filled(0)[known], rtol=1e-14)
    assert table.units == ({} if "csv" in form and form != "ecsv" else {"dec": "deg"})


@pytest.mark.parametrize("form", FORMATS)
def test_units_stated_by_the_file_are_used(sources, tmp_path, form):
    path, spec = write(sources, tmp_path / f"a.{form}"), CatalogSpec("a", "ra", "dec")
    if form in ("csv", "csv.gz"):
        with pytest.raises(CatalogError, match="'ra' is neither declared nor stated"):
            SkyCatalog.from_file(path, spec)
    else:
        np.testing.assert_allclose(SkyCatalog.from_file(path, spec).ra, sources["ra"].value, atol=1e-13)
        with pytest.raises(CatalogError, match="declared in 'rad', but the file states 'deg'"):
            SkyCatalog.from_file(path, CatalogSpec("a", "ra", "dec", unit="rad"))


def test_units_of_the_file_are_converted(tmp_path):
    table = Table({"ra": [1.0, 2.0] * u.rad, "dec": [0.5, -0.5] * u.rad, "err": [100.0, 5.0] * u.mas})
    table["size"] = [1.0, 2.0] * u.arcmin
    table.write(tmp_path / "a.fits")
    spec = CatalogSpec("a", "ra", "dec", position_error="err", columns={"major_axis": "size"})
    catalog = SkyCatalog.from_file(tmp_path / "a.fits", spec)
    np.testing.assert_allclose(catalog.ra, np.degrees([1.0, 2.0]))
    np.testing.assert_allclose(catalog.dec, np.degrees([0.5, -0.5]))
    np.testing.assert_allclose(catalog.position_error, [0.1, 0.005])
    assert catalog.columns["major_axis"].tolist() == [60.0, 120.0]
    # A declared unit goes before: full axes.
    spec = CatalogSpec("a", "ra", "dec", columns={"major_axis": "size"}, units={"major_axis": "0.5 arcmin"})
    assert SkyCatalog.from_file(tmp_path / "a.fits", spec).columns["major_axis"].tolist() == [30.0, 60.0]


def test_content_goes_before_the_ending(sources, tmp_path):
    write(sources, tmp_path / "a.fits").rename(tmp_path / "a.dat")
    assert len(read_source_table(tmp_path / "a.dat", ["ra"]).frame) == 300


def test_a_missing_column_lists_those_present(sources, tmp_path):
    for form in FORMATS:
        path = write(sources, tmp_path / f"a.{form}")
        with pytest.raises(CatalogError, match=r"'nope' is declared but missing; found ra, dec, name"):
            read_source_table(path, ["ra", "nope"])


def test_a_repeated_column_is_refused(tmp_path):
    (tmp_path / "a.csv").write_text("ra,dec,ra\n1,2,3\n", encoding="utf-8")
    with pytest.raises(CatalogError, match="more than one has this name"):
        read_source_table(tmp_path / "a.csv", ["ra", "dec"])


def test_a_column_of_vectors_is_refused(sources, tmp_path):
    path = write(sources, tmp_path / "a.fits")
    with pytest.raises(CatalogError, match="'many' must hold one value a row"):
        read_source_table(path, ["ra", "many"])


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("share", [0.05, 0.4, 0.8, 0.999])
def test_a_file_that_is_cut_off_is_refused(sources, tmp_path, form, share):
    whole = write(sources, tmp_path / f"a.{form}").read_bytes()
    content = whole[: int(len(whole) * share)]
    if form in ("csv", "ecsv"):
        # Cut within a line: between lines text doesn't show that there was more.
        content = content[: content.rindex(b"\n")] + b"\n12.5,3"
    (tmp_path / f"b.{form}").write_bytes(content)
    with pytest.raises(CatalogError, match=r"cut off|copied whole"):
        read_source_table(tmp_path / f"b.{form}", ["ra", "dec"])


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.png", b"\x89PNG", r"known type, but it ends in '\.png'.*\.parquet, \.csv"),
        ("a", b"ra,dec", "ends in 'nothing'"),
        ("a.csv", b"", "it is empty"),
        ("a.parquet", b"ra,dec\n1,2\n", "must be a whole PARQUET table"),
        ("a.fits", b"ra,dec\n1,2\n", "must be a whole FITS table"),
        ("a.xml", b"<html></html>", "must be a whole VOTABLE table"),
        ("a.csv", b"ra,dec\n\xff\xfe,2\n", "must be a whole CSV table"),
        ("a.csv", b"ra,dec\n1,2,3\n", "Expected 2 columns, got 3"),
        ("a.csv.gz", b"ra,dec\n1,2\n", "must be readable"),
        ("a.csv.gz", gzip.compress(b"ra,dec\n1,2\n", mtime=0)[:-4], "copied whole"),
    ],
)
def test_other_files_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CatalogError, match=message):
        read_source_table(tmp_path / name, ["ra", "dec"])


def test_places_without_a_file(tmp_path):
    with pytest.raises(CatalogError, match="there is none"):
        read_source_table(tmp_path / "a.csv", ["ra"])
    with pytest.raises(CatalogError, match="it is a directory: read a HATS catalogue"):
        read_source_table(tmp_path, ["ra"])


def test_csv_types_are_those_of_the_whole_column(tmp_path):
    n = 200_000
    late = pd.DataFrame({"ra": 1.0, "dec": 2.0, "whole": 5, "empty": "", "time": "00:08:27"}, index=range(n))
    late["whole"] = late["whole"].astype(object)
    late.loc[n - 1, ["whole", "empty"]] = [5.5, "text"]
    late.to_csv(tmp_path / "a.csv", index=False)
    frame = read_source_table(tmp_path / "a.csv", list(late.columns)).frame
    assert frame["whole"].iloc[-1] == 5.5
    assert frame["empty"].iloc[-1] == "text"
    assert frame["empty"].isna().sum() == n - 1
    assert frame["time"].iloc[0] == "00:08:27"


# Cells


@pytest.mark.parametrize(
    ("cells", "numbers", "bad"),
    [
        (["1.5", " 2 ", "-", "", None, ">18"], [1.5, 2, np.nan, np.nan, np.nan, np.nan], [5]),
        ([1.0, np.inf, -np.inf, np.nan], [1.0, np.nan, np.nan, np.nan], [1, 2]),
        (pd.array([1, None], dtype="Int64"), [1.0, np.nan], []),
        (["b'1.5'", 'b"2"', None], [1.5, 2.0, np.nan], []),
        ([1, 2], [1.0, 2.0], []),
        (["inf", "2"], [np.nan, 2.0], [0]),
        ([None, None], [np.nan, np.nan], []),
    ],
)
def test_cells_as_numbers(cells, numbers, bad):
    number, wrong = to_numbers(pd.Series(cells))
    np.testing.assert_array_equal(number, numbers)
    assert np.flatnonzero(wrong).tolist() == bad


def test_text_of_bytes_loses_its_quotes():
    assert plain_text(pd.Series(["b'a b '", 'b"it\'s"', None])).tolist()[:2] == ["a b", "it's"]
    assert plain_text(pd.Series([" a ", "b'c'"])).tolist() == ["a", "b'c'"]
    assert plain_text(pd.Series([1, 2])).tolist() == [1, 2]


def positions(ra, dec, unit, **units):
    spec = CatalogSpec("a", "RA", "DE", unit=unit)
    return read_positions(SourceTable(pd.DataFrame({"RA": ra, "DE": dec}), units), spec)


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        ("00:08:27.05", "+27:43:03.6"),
        ("00h 05m 09.9s", "+45° 13′ 45″"),
        ("23 59 59.99", "-89 59 59.9"),
        ("12h30m", "−05° 30’ 15”"),
        ("05:34:31.94", "-00:00:52.2"),
        ("0:0:1", "-0:30"),
    ],
)
def test_sexagesimal_text(ra, dec):
    """Against arithmetic on the digits, also where only the sign of minus zero tells the side."""
    found = positions([ra], [dec], "hourangle, deg")

    def value(text):
        negative = text[0] in "-−"
        parts = [float(part) for part in "".join(c if c.isdigit() or c == "." else " " for c in text).split()]
        return (-1) ** negative * sum(part / 60**i for i, part in enumerate(parts))

    assert found[0][0] == pytest.approx(15 * value(ra), abs=1e-11)
    assert found[1][0] == pytest.approx(value(dec), abs=1e-11)
    assert not found[2].any()


def test_sexagesimal_text_that_is_no_angle_is_set_aside_alone(rng):
    ra = ["10:20:30", "10:60:30", "10:20:61", "what", None, "-"]
    angle, _, bad = positions(ra, ["1:2:3"] * 6, "hourangle, deg")
    assert bad.tolist() == [False, True, True, True, False, False]
    assert np.isnan(angle).tolist() == [False, True, True, True, True, True]
    assert angle[0] == pytest.approx(Angle("10h20m30s").deg)


def test_numbers_with_units_of_angles():
    ra, dec, _ = positions([1.0], [0.5], "rad")
    assert (ra[0], dec[0]) == pytest.approx((np.degrees(1.0), np.degrees(0.5)))
    ra, dec, _ = positions([6.5], ["30"], "15 deg, deg")
    assert (ra[0], dec[0]) == pytest.approx((97.5, 30.0))
    ra, dec, _ = positions(["06:30:00"], [30.25], "hourangle, deg")
    assert (ra[0], dec[0]) == pytest.approx((97.5, 30.25))


def test_degrees_and_sexagesimal_are_not_taken_for_one_another():
    with pytest.raises(CatalogError, match=r"'RA' is in 'deg', but row 2 holds sexagesimal text, '00:08:27'"):
        positions(["12.5", "00:08:27"], ["1", "2"], "deg")
    with pytest.raises(CatalogError, match=r"'DE' is in 'deg', but row 1 holds sexagesimal"):
        positions(["12.5"], ["+45° 13′ 45″"], "deg")
    with pytest.raises(CatalogError, match=r"'RA' is declared hourangle.*row 1 holds the number 10.5"):
        positions([10.5], ["1:2:3"], "hourangle, deg")
    with pytest.raises(CatalogError, match=r"row 2 holds the number 187\.5"):
        positions(["10:20:30", "187.5"], ["1:2:3", "1:2:3"], "hourangle, deg")


def test_words_among_degrees_are_set_aside():
    ra, _, bad = positions(["12.5", "what", "-"], [1, 2, 3], "deg")
    assert bad.tolist() == [False, True, False]
    assert np.isnan(ra).tolist() == [False, True, True]


def test_a_stated_unit_that_is_no_angle_is_refused():
    with pytest.raises(CatalogError, match="convertible to deg, found 'mag'"):
        positions([1.0], [2.0], None, RA="mag", DE="deg")
