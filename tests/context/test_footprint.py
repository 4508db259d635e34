import builtins

import numpy as np
import pandas as pd
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from mocpy import MOC

from context.catalog import CatalogError, CatalogSpec, SkyCatalog
from context.footprint import Footprint

CENTRES = [(0.0, 0.0), (120.0, 89.5), (300.0, -60.0)]


@pytest.fixture
def moc():
    """Three circles of five degrees: over 0/360, over the pole, and one in the south."""
    ra, dec = np.array(CENTRES).T * u.deg
    return MOC.from_cones(lon=ra, lat=dec, radius=5 * u.deg, max_depth=9, union_strategy="small_cones")


@pytest.fixture(params=[("moc.fits", "fits"), ("moc.json", "json"), ("moc.txt", "ascii")], ids=lambda p: p[1])
def moc_file(request, moc, tmp_path):
    path = tmp_path / request.param[0]
    moc.save(path, format=request.param[1])
    return path


def test_a_moc_says_inside_and_outside(moc_file, rng):
    ra, dec = rng.uniform(0, 360, 4000), np.degrees(np.arcsin(rng.uniform(-1, 1, 4000)))
    ra[:4], dec[:4] = [0.0, 360.0, 359.99, 17.0], [0.0, 0.0, 1.0, 90.0]
    footprint = Footprint.from_moc(moc_file)
    state = footprint.contains(ra, dec)
    assert state.dtype == np.int8
    assert state[:4].tolist() == [1, 1, 1, 1]
    # An independent answer by separations, away from the edge by a cell (0.11 deg).
    centres = SkyCoord(CENTRES, unit="deg")
    distance = SkyCoord(ra, dec, unit="deg")[:, None].separation(centres).deg.min(axis=1)
    assert (state[distance < 5] == 1).all()
    assert (state[distance > 5.3] == 0).all()
    # Cells that touch a circle belong to it, so the area is a little larger than that of the circles.
    circles = 3 * (1 - np.cos(np.radians(5))) / 2
    assert circles < footprint.sky_fraction < circles * 1.1


def test_nan_is_not_known():
    places = [np.nan, 1.0, np.nan], [0.0, np.nan, np.nan]
    assert Footprint.all_sky().contains(*places).tolist() == [-1, -1, -1]
    assert Footprint.unknown().contains([1.0], [1.0]).tolist() == [-1]
    assert Footprint.all_sky().contains([0.0, 360.0], [-90.0, 90.0]).tolist() == [1, 1]
    assert Footprint.all_sky().contains([], []).shape == (0,)


def test_shares_of_the_sky():
    assert Footprint.all_sky().sky_fraction == 1.0
    assert np.isnan(Footprint.unknown().sky_fraction)


def test_a_catalogue_covers_what_its_footprint_does(moc, tmp_path):
    moc.save(tmp_path / "f.fits", format="fits")
    for footprint, state in ((str(tmp_path / "f.fits"), [1, 0]), ("all-sky", [1, 1]), (None, [-1, -1])):
        spec = CatalogSpec("a", "ra", "dec", unit="deg", footprint=footprint)
        catalog = SkyCatalog.from_frame(pd.DataFrame({"ra": [1.0], "dec": [1.0]}), spec)
        assert catalog.covers([1.0, 90.0], [1.0, 0.0]).tolist() == state


def test_files_that_are_no_moc(tmp_path):
    with pytest.raises(CatalogError, match=r"there is none: check the path"):
        Footprint.from_moc(tmp_path / "no.fits")
    (tmp_path / "a.png").write_bytes(b"x")
    with pytest.raises(CatalogError, match=r"ends in one of \.fits.*'\.png'"):
        Footprint.from_moc(tmp_path / "a.png")
    for name in ("a.fits", "a.json", "a.txt"):
        (tmp_path / name).write_text("this is no MOC", encoding="utf-8")
        with pytest.raises(CatalogError, match=r"must be a whole \w+ MOC"):
            Footprint.from_moc(tmp_path / name)


def test_a_moc_that_is_cut_off(moc, tmp_path):
    moc.save(tmp_path / "a.fits", format="fits")
    whole = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "b.fits").write_bytes(whole[: len(whole) // 3])
    with pytest.raises(CatalogError, match="must be a whole FITS MOC"):
        Footprint.from_moc(tmp_path / "b.fits")


def test_without_mocpy_the_message_says_what_to_install(moc, tmp_path, monkeypatch):
    moc.save(tmp_path / "a.fits", format="fits")
    imported = builtins.__import__

    def without(name, *rest, **options):
        if name == "mocpy":
            raise ModuleNotFoundError("No module named 'mocpy'")
        return imported(name, *rest, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(CatalogError, match="pip install mocpy"):
        Footprint.from_moc(tmp_path / "a.fits")


def test_a_footprint_without_its_moc():
    with pytest.raises(CatalogError, match="all-sky, unknown, or a moc"):
        Footprint("moc")
    with pytest.raises(CatalogError, match="all-sky, unknown, or a moc"):
        Footprint("northern")
