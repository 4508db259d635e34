import warnings

import numpy as np
import pandas as pd
import pytest

with warnings.catch_warnings():
    # lsdb sets an option of pandas that pandas 3 no longer has.
    warnings.filterwarnings("ignore", message=".*mode.chained_assignment.*")
    lsdb = pytest.importorskip("lsdb", reason="lsdb, which reads HATS catalogues, is not installed")

from context.catalog import CatalogError, CatalogSpec, SkyCatalog
from context.catalog_hats import read_hats
from context.coordinates import CoordinateError

SPEC = CatalogSpec("stars", "RA", "DE", unit="deg", magnitude="mag", columns={"star": "name"})
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*mode.chained_assignment.*"),
    pytest.mark.filterwarnings("ignore:The (inplace|copy) keyword in NestedFrame"),
]


@pytest.fixture(scope="module")
def stars():
    rng = np.random.default_rng(4)
    n = 20000
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    ra[:50], dec[50:100] = rng.uniform(-0.5, 0.5, 50) % 360, rng.choice([-1, 1], 50) * rng.uniform(89, 90, 50)
    names = [f"s{i}" for i in range(n)]
    return pd.DataFrame({"RA": ra, "DE": dec, "mag": rng.uniform(10, 20, n), "unused": 1.0, "name": names})


@pytest.fixture(scope="module")
def folder(stars, tmp_path_factory):
    path = tmp_path_factory.mktemp("hats") / "stars"
    made = lsdb.from_dataframe(stars, ra_column="RA", dec_column="DE", partition_rows=3000)
    made.write_catalog(path, catalog_name="stars", progress_bar=False)
    return path


@pytest.mark.parametrize("radius", [30.0, 3000.0])
def test_what_is_near_is_what_the_whole_catalogue_has(folder, stars, radius):
    rng = np.random.default_rng(5)
    places = stars.iloc[rng.integers(0, 150, 60)]
    ra, dec = places["RA"].to_numpy() % 360, np.clip(places["DE"] + rng.normal(0, radius / 7200, 60), -90, 90)
    near, whole = read_hats(folder, SPEC, ra, dec, radius), SkyCatalog.from_frame(stars, SPEC)
    a, b = near.cone(ra, dec, radius), whole.cone(ra, dec, radius)
    assert len(a.query) > 20
    np.testing.assert_array_equal(a.query, b.query)
    np.testing.assert_array_equal(a.separation, b.separation)
    found = near.columns["star"].to_numpy()[a.source].tolist()
    assert found == whole.columns["star"].to_numpy()[b.source].tolist()
    np.testing.assert_array_equal(near.magnitude[a.source], whole.magnitude[b.source])
    # Nothing else is kept.
    assert sorted(set(a.source)) == list(range(near.n_rows))
    assert list(near.columns) == ["star"]
    assert near.columns["star"].dtype == pd.Series(["text"]).dtype


def test_a_search_beyond_what_was_read_is_refused(folder, stars):
    near = read_hats(folder, SPEC, stars["RA"][:3] % 360, stars["DE"][:3], 100.0)
    with pytest.raises(CatalogError, match="only within 100 arcsec"):
        near.cone(stars["RA"][:3] % 360, stars["DE"][:3], 101.0)
    with pytest.raises(CatalogError, match="only within 100 arcsec"):
        near.density(stars["RA"][:3] % 360, stars["DE"][:3], radius=300.0)
    assert near.nearest(stars["RA"][:3] % 360, stars["DE"][:3]).count.tolist() == [1, 1, 1]


@pytest.mark.parametrize("places", [([], []), ([np.nan], [1.0]), ([10.0], [89.999999])])
def test_nothing_near_is_an_empty_catalogue(folder, places):
    near = read_hats(folder, SPEC, *places, 1e-3)
    assert near.n_rows == 0
    assert near.nearest([10.0], [10.0]).count.tolist() == [0]


def test_bad_input(folder, tmp_path):
    with pytest.raises(CatalogError, match="folder of a HATS catalogue"):
        read_hats(tmp_path / "none", SPEC, [1.0], [1.0], 1.0)
    with pytest.raises(CatalogError, match="'nope' is declared but missing; found RA, DE, mag"):
        read_hats(folder, CatalogSpec("a", "RA", "nope", unit="deg"), [1.0], [1.0], 1.0)
    with pytest.raises(CatalogError, match=r"in degrees, but unit is 'rad'"):
        read_hats(folder, CatalogSpec("a", "RA", "DE", unit="rad"), [1.0], [1.0], 1.0)
    with pytest.raises(CatalogError, match="radius of a HATS search"):
        read_hats(folder, SPEC, [1.0], [1.0], -1.0)
    with pytest.raises(CoordinateError, match="ra in"):
        read_hats(folder, SPEC, [400.0], [1.0], 1.0)
