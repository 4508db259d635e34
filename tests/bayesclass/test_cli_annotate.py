"""`bayesclass annotate`: what it writes, what it says, and what a mistake gets."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from bayesclass import cli_annotate
from bayesclass.cli import app
from context.evidence import Condition, EvidenceSpec, EvidenceTable

STARS = """
path = "tables/stars.csv"
name = "any"
role = "stars"
ra = "RA"
dec = "Dec"
unit = "deg"
magnitude = "V"
footprint = "all-sky"
[columns]
spectrum = "Sp"
"""
GALAXIES = """
path = "galaxies.csv"
name = "galaxies"
role = "galaxies"
ra = "ra"
dec = "dec"
unit = "hourangle, deg"
footprint = "all-sky"
magnitude = "B"
[columns]
name = "name"
major_axis = "major"
minor_axis = "minor"
position_angle = "angle"
[units]
major_axis = "0.5 arcmin"
minor_axis = "0.5 arcmin"
position_angle = "deg"
"""


@pytest.fixture(autouse=True)
def no_dust_map(monkeypatch):
    """Whatever this machine has, extinction is not at hand."""
    monkeypatch.setitem(sys.modules, "dustmaps.sfd", None)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Positions of three objects, and stars and galaxies with declarations in other folders."""
    monkeypatch.chdir(tmp_path)
    pd.DataFrame(
        {
            "object_id": ["12345678901234567890", "b", "c"],
            "ra": [10.0, 150.0, 500.0],
            "dec": [20.0, 2.0, 0.0],
            "label": ["x", "y", "z"],
        }
    ).to_csv("P.csv", index=False)
    Path("declared", "tables").mkdir(parents=True)
    Path("declared", "stars.toml").write_text(STARS)
    Path("declared", "galaxies.toml").write_text(GALAXIES)
    pd.DataFrame(
        {
            "RA": [10.0, 300.0, np.nan],
            "Dec": [20.0005, 1.0, 2.0],
            "V": [9.5, 10.0, 11.0],
            "Sp": ["A0", "G2", "M"],
        }
    ).to_csv("declared/tables/stars.csv", index=False)
    pd.DataFrame(
        {
            "ra": ["10:00:00.2", "10:00:02"], "dec": ["+02:00:00", "+02:00:10"], "B": [14.0, 15.0],
            "name": ["near", "far"], "major": [1.0, 0.5], "minor": [0.6, 0.5], "angle": [90.0, 0.0],
        }
    ).to_csv("declared/galaxies.csv", index=False)  # fmt: skip
    return tmp_path


def run(*arguments):
    words = ["annotate", *(str(argument) for argument in arguments)]
    return CliRunner().invoke(app, words, catch_exceptions=False)


def refused(result, *words):
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.startswith("bayesclass: ")
    assert result.stderr.count("\n") == 1
    for word in words:
        assert word in result.stderr


BOTH = ("--catalogue", "stars=declared/stars.toml", "--catalogue", "hosts=declared/galaxies.toml")


def test_help_has_an_example():
    result = run("--help")
    assert result.exit_code == 0
    assert "Examples" in result.output
    assert "bayesclass annotate positions.csv" in result.output


def test_positions_become_evidence(folder):
    result = run("P.csv", *BOTH, "--out", "e.parquet")
    assert result.exit_code == 0, result.output
    frame = pd.read_parquet("e.parquet")
    assert frame["object_id"].tolist() == ["12345678901234567890", "b", "c"]
    assert frame["label"].tolist() == ["x", "y", "z"]
    assert frame["stars_separation_arcsec"][0] == pytest.approx(1.8)
    assert frame["stars_spectrum"][0] == "A0"
    assert frame["stars_mag"][0] == 9.5
    assert frame["host_name"][1] == "near"
    assert frame["host_separation_arcsec"][1] == pytest.approx(3.0 * np.cos(np.radians(2)), rel=1e-5)
    spec = EvidenceSpec(
        "star", "continuous", column="stars_separation_arcsec", covered=Condition("stars_covered", True)
    )
    assert EvidenceTable.from_frame(frame, [spec]).columns["star"].state.tolist() == [0, 1, 2]
    field = pq.read_schema("e.parquet").field("stars_separation_arcsec")
    assert field.metadata[b"unit"] == b"arcsec"
    lines = result.stdout.splitlines()
    assert lines[0] == "objects: 3"
    assert [line.split() for line in lines[1:4]] == [
        ["catalogue", "found", "none", "not", "covered", "radius"],
        ["stars", "1", "1", "1", "30", "arcsec"],
        ["hosts", "1", "1", "1", f"{5 * np.quantile([30, 15], 0.95):g}", "arcsec"],
    ]
    assert any(line.startswith("most probable host: ") for line in lines)
    assert "set aside in positions: 1 (position out of range" in result.stdout
    assert "set aside in stars: 1 (the position is missing)" in result.stdout
    assert "note: A_V: no extinction" in result.stdout
    assert lines[-1].startswith("evidence written to e.parquet, ")
    assert result.stderr == ""


def test_csv_has_its_description_beside_it(folder):
    result = run("P.csv", *BOTH, "--radius", "stars=1", "--radius", "hosts=90", "--out", "e.csv")
    assert result.exit_code == 0, result.output
    about = json.loads(Path("e.meta.json").read_text())
    assert about["provenance"]["stars_found"]["radius_arcsec"] == 1
    assert about["provenance"]["host_ra"]["radius_arcsec"] == 90
    assert pd.read_csv("e.csv")["stars_found"].tolist()[:2] == [False, False]
    assert "description of the columns written to e.meta.json" in result.stdout
    assert not any(name.name.endswith(".part") for name in folder.iterdir())


def test_positions_alone_get_the_sky(folder):
    result = run("P.csv", "--out", "e.csv")
    assert result.exit_code == 0, result.output
    assert {"galactic_b", "ecliptic_b"} <= set(pd.read_csv("e.csv"))
    assert "catalogue" not in result.stdout


def test_alternatives_are_rows(folder):
    result = run("P.csv", *BOTH, "--alternatives", 2, "--out", "e.csv")
    assert result.exit_code == 0, result.output
    frame = pd.read_csv("e.csv", dtype={"object_id": str})
    np.testing.assert_allclose(frame.groupby("object_id")["alternative_probability"].sum(), 1.0)
    of_b = frame[frame["object_id"] == "b"]
    assert of_b["alternative"].tolist() == [-1, 0, 1]
    assert set(of_b["host_name"].dropna()) == {"near", "far"}
    assert f"rows: {len(frame)}, up to 2 hosts" in result.stdout
    refused(run("P.csv", *BOTH[:2], "--alternatives", 2, "--out", "f.csv"), 'role = "galaxies"')


@pytest.mark.parametrize("suffix", [".vot", ".fits", ".ecsv"])
def test_files_that_state_their_units_need_no_declaration(folder, suffix):
    from astropy import units
    from astropy.table import Table

    table = Table({"RAJ2000": [10.0] * units.deg, "DEJ2000": [20.0] * units.deg})
    form = {".vot": "votable", ".fits": "fits", ".ecsv": "ascii.ecsv"}[suffix]
    table.write(f"known{suffix}", format=form)
    result = run("P.csv", "--catalogue", f"known=known{suffix}", "--out", "e.csv")
    assert result.exit_code == 0, result.output
    assert pd.read_csv("e.csv")["known_found"].tolist()[0]
    assert "no footprint is declared" in result.stdout
    Table({"RAJ2000": [10.0], "DEJ2000": [20.0]}).write(f"bare{suffix}", format=form)
    refused(
        run("P.csv", "--catalogue", f"bare=bare{suffix}", "--out", "f.csv"),
        "states no unit of its columns RAJ2000 and DEJ2000",
        'unit = "deg"',
    )
    Table({"alpha": [10.0] * units.deg, "delta": [20.0] * units.deg}).write(f"odd{suffix}", format=form)
    refused(
        run("P.csv", "--catalogue", f"odd=odd{suffix}", "--out", "f.csv"),
        "none of the usual names",
        "odd.toml",
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--catalogue", "declared/stars.toml"), ("NAME=PATH", "'declared/stars.toml'")),
        (("--catalogue", "=x.toml"), ("NAME=PATH",)),
        (("--catalogue", "stars=none.toml"), ("none.toml", "No such file")),
        (("--catalogue", "stars=none.fits"), ("none.fits", "there is none")),
        (
            ("--catalogue", "stars=declared/tables/stars.csv"),
            ("CSV states no units", "stars.toml", '`ra = "RA"`, `dec = "Dec"`, `unit = "deg"`'),
        ),
        (
            ("--catalogue", "host=declared/stars.toml", *BOTH[2:]),
            ("'host_separation_arcsec'",),
        ),
        (BOTH + BOTH[:2], ("'stars' twice",)),
        ((*BOTH, "--radius", "wide"), ("number of arcsec", "'wide'")),
        ((*BOTH, "--radius", "stars="), ("number of arcsec",)),
        ((*BOTH, "--radius", "30", "--radius", "stars=3"), ("not both",)),
        ((*BOTH, "--radius", "gaia=3"), ("'gaia'", "stars, hosts")),
        ((*BOTH, "--radius", "-3"), ("must be positive",)),
        ((*BOTH, "--radius", "1e9"), ("at most 648000 arcsec",)),
    ],
)
def test_mistakes_get_one_sentence_and_no_file(folder, arguments, words):
    before = {path.name for path in folder.iterdir()}
    refused(run("P.csv", *arguments, "--out", "e.parquet"), *words)
    assert {path.name for path in folder.iterdir()} == before


def test_unusable_positions_get_one_sentence(folder):
    for name, text, words in (
        ("twice.csv", "object_id,ra,dec\na,1,2\na,3,4\n", ("object_id a appears 2 times",)),
        ("hours.csv", "object_id,ra,dec\na,10:00:00,+2:00:00\n", ("decimal degrees", "'10:00:00'")),
        ("named.csv", "object_id,RA,Dec\na,1,2\n", ("ra and dec is missing",)),
        ("empty.csv", "", ("0 bytes",)),
    ):
        Path(name).write_text(text)
        refused(run(name, *BOTH, "--out", "e.csv"), *words)
    refused(run("absent.csv", *BOTH, "--out", "e.csv"), "there is none")
    refused(run("P.csv", *BOTH, "--out", "e.txt"), "must end in")
    refused(run("P.csv", *BOTH, "--out", "no/e.csv"), "existing folder")
    assert not Path("e.csv").exists()


def test_of_a_large_catalogue_only_the_surroundings_are_read(folder, monkeypatch):
    from context import catalog_hats
    from context.catalog import SkyCatalog

    Path("declared", "big").mkdir()
    Path("big.toml").write_text(STARS.replace("tables/stars.csv", "declared/big"))
    seen = {}

    def read_hats(path, spec, ra, dec, radius):
        seen.update(path=path, name=spec.name, ra=ra, radius=radius)
        rows = pd.DataFrame({"RA": [10.0], "Dec": [20.0005], "V": [9.0], "Sp": ["B"]})
        return SkyCatalog.from_frame(rows, spec, reach=radius)

    monkeypatch.setattr(catalog_hats, "read_hats", read_hats)
    result = run("P.csv", "--catalogue", "gaia=big.toml", "--radius", "50", "--out", "e.csv")
    assert result.exit_code == 0, result.output
    assert (seen["path"], seen["name"], seen["radius"]) == (Path("declared/big"), "gaia", 200.0)
    np.testing.assert_array_equal(seen["ra"], [10.0, 150.0, np.nan])
    frame = pd.read_csv("e.csv")
    assert frame["gaia_found"].tolist()[:2] == [True, False]
    # Nothing else within 200 arcsec is half a source on that circle.
    assert frame["gaia_density_arcmin2"][0] == pytest.approx(0.5 / (np.pi * (200 / 60) ** 2), rel=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*mode.chained_assignment.*")
@pytest.mark.filterwarnings("ignore:The (inplace|copy) keyword in NestedFrame")
@pytest.mark.parametrize("given", ["declared", "folder"])
def test_a_hats_catalogue_is_read_for_real(folder, given):
    lsdb = pytest.importorskip("lsdb", reason="lsdb, which reads HATS catalogues, is not installed")
    rows = pd.DataFrame({"RA": [10.0, 10.01, 300.0], "Dec": [20.0005, 20.0, 1.0], "V": [9.0, 8.0, 7.0]})
    made = lsdb.from_dataframe(rows.assign(Sp=["B", "A", "G"]), ra_column="RA", dec_column="Dec")
    made.write_catalog("declared/big", catalog_name="big", progress_bar=False)
    Path("big.toml").write_text(STARS.replace("tables/stars.csv", "declared/big"))
    place = {"declared": "big.toml", "folder": "declared/big"}[given]
    result = run("P.csv", "--catalogue", f"gaia={place}", "--out", "e.csv")
    assert result.exit_code == 0, result.output
    frame = pd.read_csv("e.csv")
    assert frame["gaia_separation_arcsec"][0] == pytest.approx(1.8)
    # The folder knows its positions; footprint and further columns take a declaration.
    declared = given == "declared"
    assert ("gaia_spectrum" in frame) == declared
    assert ("no footprint is declared" in result.stdout) != declared
    Path("empty").mkdir()
    refused(run("P.csv", "--catalogue", "gaia=empty", "--out", "f.csv"), "folder of a HATS catalogue")
    for part in Path("declared/big").rglob("Npix*.parquet"):
        part.write_bytes(part.read_bytes()[:100])
    refused(run("P.csv", "--catalogue", f"gaia={place}", "--out", "f.csv"), "missing or damaged")


def test_radius_of_the_command_line():
    assert cli_annotate.read_radius([]) is None
    assert cli_annotate.read_radius(["3.5"]) == 3.5
    assert cli_annotate.read_radius(["a=3", "b=4"]) == {"a": 3.0, "b": 4.0}
