import numpy as np
import pandas as pd
import pytest
from astropy.cosmology import Planck18
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad

from context.host_counts import (
    BERGER_2010,
    BLOOM_2002,
    BackgroundCounts,
    chance_coincidence,
    chance_radius,
    faint_host_fraction,
)
from context.host_geometry import HostError


@pytest.mark.parametrize("counts", [BLOOM_2002, BERGER_2010])
def test_cumulative_counts_are_the_integral(counts):
    below = quad(counts.differential, -20, 21.3)[0]
    assert counts.cumulative(21.3) == pytest.approx(below, rel=1e-6)


def test_the_two_forms_of_the_counts_agree():
    # Two published roundings of one set of counts: within a tenth where galaxies are counted.
    magnitude = np.arange(18, 27)
    np.testing.assert_allclose(BERGER_2010.cumulative(magnitude), BLOOM_2002.cumulative(magnitude), rtol=0.12)
    assert BERGER_2010.cumulative(24.0) == pytest.approx(10**-2.44 / (0.33 * np.log(10)))


@pytest.mark.real_data
def test_chance_coincidence_of_a_published_sample(data_dir):
    fleet = pd.read_csv(data_dir / "context" / "fleet_hosts.csv")
    radius = chance_radius(fleet["host_separation"], fleet["host_radius"])
    found = chance_coincidence(radius, BERGER_2010.cumulative(fleet["host_magnitude"]))
    # Computed there as 1 - exp(-x), so small probabilities have an absolute error.
    np.testing.assert_allclose(found, fleet["host_Pcc"], rtol=1e-6, atol=1e-14)


def test_chance_coincidence_of_scattered_galaxies(rng):
    density, radius, box = 0.01, 5.0, 40.0
    near = 0
    for number in rng.poisson(density * box**2, 4000):
        x, y = rng.uniform(-box / 2, box / 2, (2, number))
        near += (np.hypot(x, y) <= radius).any()
    expected = chance_coincidence(radius, density)
    assert near / 4000 == pytest.approx(expected, abs=4 * np.sqrt(expected * (1 - expected) / 4000))


def test_small_chances_keep_their_digits():
    assert chance_coincidence(1e-6, 1e-8) == pytest.approx(np.pi * 1e-20, rel=1e-14)
    assert chance_coincidence(0.0, 1.0) == 0
    assert np.isnan(chance_coincidence(np.nan, 1.0))
    with pytest.raises(HostError, match="can't be negative"):
        chance_coincidence(-1.0, 1.0)


def test_chance_radius():
    assert chance_radius(3.0, 2.0) == 5.0
    assert chance_radius(3.0, np.nan) == 3.0
    assert chance_radius(3.0, 2.0, 4.0) == 12.0
    assert chance_radius(3.0, 2.0, size_factor=0.0) == 3.0


@given(
    st.lists(st.one_of(st.floats(10, 25), st.just(np.nan)), min_size=1, max_size=50),
    st.floats(0, 2),
)
def test_counted_catalogue(magnitude, luminosity_weight):
    counts = BackgroundCounts.from_magnitudes(np.array(magnitude), 100.0)
    assert counts.total == pytest.approx(len(magnitude) / 100.0)
    assert (counts.density > 0).all()
    q = counts.host_fractions(luminosity_weight)
    assert q.sum() == pytest.approx(1)
    assert (q > 0).all()
    assert q[-1] == pytest.approx(counts.density[-1] / counts.total)
    cells = counts.cell(magnitude)
    assert ((cells == len(counts.edges) - 1) == np.isnan(magnitude)).all()
    assert counts.cumulative(np.nan) == counts.total
    known = counts.density[:-1].sum()
    assert counts.cumulative(99.0) == pytest.approx(known)
    assert counts.cumulative(-99.0) == counts.density[0]


def test_counts_and_flux_weights():
    magnitude = np.repeat([15.25, 16.25, np.nan], [100, 1000, 100])
    counts = BackgroundCounts.from_magnitudes(magnitude, 1e4)
    assert counts.density[counts.cell(15.25)] == pytest.approx(0.01, rel=0.01)
    assert counts.cumulative(15.75) == pytest.approx(0.01, rel=0.02)
    q = counts.host_fractions(1.0)
    # Ten times as many galaxies, a magnitude fainter.
    assert q[counts.cell(16.25)] / q[counts.cell(15.25)] == pytest.approx(10 * 10**-0.4, rel=0.01)
    np.testing.assert_allclose(counts.host_fractions(0.0), counts.density / counts.total)


def test_published_counts_in_cells():
    counts = BackgroundCounts.from_power_law(BERGER_2010, [14, 18, 22], missing_fraction=0.1)
    assert counts.total == pytest.approx(BERGER_2010.cumulative(22.0))
    assert counts.density[-1] == pytest.approx(0.1 * counts.total)
    assert counts.density[0] == pytest.approx(0.9 * BERGER_2010.cumulative(18.0))
    assert np.isfinite(np.log(BackgroundCounts.from_power_law(BERGER_2010, [14, 18]).density)).all()


@pytest.mark.parametrize("area", [0.0, -1.0, np.nan, np.inf])
def test_counting_needs_an_area(area):
    with pytest.raises(HostError, match="needs a positive area"):
        BackgroundCounts.from_magnitudes([15.0], area)


def test_no_galaxies_count_as_half_of_one():
    counts = BackgroundCounts.from_magnitudes([], 10.0)
    assert counts.total == pytest.approx(0.05)
    assert counts.host_fractions(1.0).sum() == pytest.approx(1)


def test_faint_hosts_against_quadrature():
    limit, redshift, star, slope = 20.0, 0.08, -20.5, -1.2
    faintest = limit - Planck18.distmod(redshift).value

    def luminosity(magnitude):
        x = 10 ** (0.4 * (star - magnitude))
        return x ** (slope + 2) * np.exp(-x)  # luminosity times number, per magnitude

    faint = quad(luminosity, faintest, 10, limit=200)[0]
    bright = quad(luminosity, -27, faintest, limit=200)[0]
    found = faint_host_fraction(limit, redshift, characteristic_magnitude=star, slope=slope)
    assert found == pytest.approx(faint / (faint + bright), rel=1e-5)


def test_faint_hosts_with_distance():
    share = faint_host_fraction(18.0, [0.001, 0.03, 0.1, 0.5, np.nan])
    assert (np.diff(share[:4]) > 0).all()
    assert share[0] < 0.01
    assert share[3] > 0.99
    assert np.isnan(share[4])
    with pytest.raises(HostError, match="Redshifts must be positive"):
        faint_host_fraction(18.0, 0.0)
