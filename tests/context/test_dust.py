import sys
import types
import warnings

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from context.dust import AV_PER_SFD_EBV, extinction


def write_maps(folder):
    """Two small maps in the projection of the real ones, E(B-V) = 0.2 + 0.001 b."""
    for name, pole in (("ngp", 90), ("sgp", -90)):
        header = WCS(naxis=2)
        header.wcs.ctype = ["GLON-ZEA", "GLAT-ZEA"]
        header.wcs.crval, header.wcs.crpix = [90.0 if pole > 0 else 270.0, pole], [128.5, 128.5]
        header.wcs.cdelt = [-0.65, 0.65]
        x, y = np.meshgrid(np.arange(256), np.arange(256))
        b = header.wcs_pix2world(x.ravel(), y.ravel(), 0)[1].reshape(256, 256)
        data = 0.2 + 0.001 * np.where(np.isnan(b), 0, b)
        fits.writeto(folder / f"SFD_dust_4096_{name}.fits", data.astype("f4"), header.to_header())


def fake_dustmaps(monkeypatch, folder):
    """Put a library in the place of dustmaps that knows E(B-V) = |b| / 100."""
    sfd, paths = types.ModuleType("dustmaps.sfd"), types.ModuleType("dustmaps.std_paths")
    seen = []

    def query(map_dir):
        seen.append(map_dir)
        return lambda coordinates: np.abs(coordinates.galactic.b.deg) / 100

    sfd.SFDQuery = query
    paths.data_dir = lambda: str(folder)
    for name, made in (("", types.ModuleType("dustmaps")), (".sfd", sfd), (".std_paths", paths)):
        monkeypatch.setitem(sys.modules, f"dustmaps{name}", made)
    return seen


RA, DEC = np.array([0.0, 120.0, 266.4, np.nan, 10.0]), np.array([0.0, 45.0, -29.0, 5.0, 95.0])


def test_values_come_from_the_map(monkeypatch, tmp_path):
    (tmp_path / "sfd").mkdir()
    write_maps(tmp_path / "sfd")
    seen = fake_dustmaps(monkeypatch, tmp_path)
    result = extinction(RA, DEC)
    b = SkyCoord(RA[:3], DEC[:3], unit="deg").galactic.b.deg
    np.testing.assert_allclose(result.ebv[:3], np.abs(b) / 100)
    np.testing.assert_allclose(result.a_v[:3], 2.742 * np.abs(b) / 100)
    assert np.isnan(result.ebv[3:]).all()
    assert np.isnan(result.a_v[3:]).all()
    assert "SFD" in result.source
    assert result.remark is None
    assert seen == [str(tmp_path / "sfd")]
    assert extinction([], []).a_v.shape == (0,)


def test_the_real_library_reads_maps_of_the_real_projection(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its settings file
        pytest.importorskip("dustmaps.sfd", exc_type=ImportError)
    write_maps(tmp_path)
    ra, dec = np.array([192.9, 12.9, 120.0, 30.0]), np.array([27.1, -27.1, 45.0, -60.0])
    b = SkyCoord(ra, dec, unit="deg").galactic.b.deg
    result = extinction(ra, dec, map_dir=tmp_path)
    np.testing.assert_allclose(result.ebv, 0.2 + 0.001 * b, atol=1e-3)
    np.testing.assert_allclose(result.a_v, AV_PER_SFD_EBV * result.ebv)


def test_without_the_library_it_says_so_and_guesses_nothing(monkeypatch):
    monkeypatch.setitem(sys.modules, "dustmaps", None)
    monkeypatch.setitem(sys.modules, "dustmaps.sfd", None)
    result = extinction(RA, DEC)
    assert np.isnan(result.a_v).all()
    assert result.source is None
    assert "library dustmaps" in result.remark
    assert "column A_V" in result.remark


def test_without_the_map_it_says_which_file_and_downloads_nothing(monkeypatch, tmp_path):
    fake_dustmaps(monkeypatch, tmp_path)
    result = extinction(RA, DEC)
    assert np.isnan(result.a_v).all()
    assert "SFD_dust_4096_ngp.fits" in result.remark
    assert str(tmp_path) in result.remark
    assert "fetch" in result.remark
