"""Distributions over periods: the periodogram against astropy's, and what is claimed of the evidence."""

import numpy as np
import pandas as pd
import pytest
from astropy.timeseries import LombScargle

from structurefn import LightCurves, Stream, count_period
from structurefn.events import Points
from structurefn.maps import FULL_ROW as FULL
from structurefn.periods import frequencies, period_distribution, periodogram

STREAM = Stream("period", "period", ("S/g", "S/r"))
GRID = STREAM.grid
CENTRES = 0.5 * (GRID.column_edges[1:] + GRID.column_edges[:-1])


def frame(time, value, error, band="g", name="a"):
    n = len(time)
    columns = {"object_id": name, "survey": "S", "band": band, "mjd": time, "mag": value, "mag_err": error}
    return pd.DataFrame(columns, index=range(n))


def season(rng, n, span=400.0):
    return np.sort(rng.uniform(0, span, n))


def points(time, value, error, length=64):
    pad = length - len(time)
    leaves = [
        np.pad(np.asarray(x, np.float32), (0, pad), constant_values=c)
        for x, c in ((time, 0), (value, 0), (error, 1))
    ]
    channel = np.pad(np.zeros(len(time), np.int16), (0, pad), constant_values=-1)
    return Points(*(leaf[None] for leaf in (*leaves, channel)))


@pytest.mark.parametrize("n", [6, 30, 60])
def test_power_is_that_of_astropy(n):
    rng = np.random.default_rng(n)
    time, error = season(rng, n), rng.uniform(0.02, 0.3, n)
    time -= time[0]
    value = 18 + 0.3 * np.sin(2 * np.pi * time / 3.7) + error * rng.normal(size=n)
    got, count = periodogram(points(time, value, error), 0, grid=GRID, span=512.0)
    expected = LombScargle(time, value, error).power(frequencies(GRID, 512.0), method="chi2")
    assert count.tolist() == [n]
    got = np.asarray(got)[0]
    # Where sine and cosine are all but one at six points, our power is held back.
    assert (np.abs(got - expected) < 4e-3).mean() > 0.995
    assert (got < expected + 4e-3).all()


def test_frequencies_hold_what_the_grid_asks_for():
    for span in (8.0, 1024.0):
        every = frequencies(GRID, span)
        assert every[0] == max(1 / span, 10.0 ** -GRID.column_range[1])
        assert every[-1] >= 10.0 ** -GRID.column_range[0]
        np.testing.assert_allclose(np.diff(every), 1 / (4 * span), rtol=1e-6)


def test_the_period_of_a_sinusoid_is_found():
    rng = np.random.default_rng(1)
    for period in (0.6, 4.2, 90.0):
        time, error = season(rng, 80), np.full(80, 0.05)
        value = 17 + 0.3 * np.sin(2 * np.pi * time / period) + error * rng.normal(size=80)
        counts = count_period(LightCurves.from_frame(frame(time, value, error)), STREAM)
        assert counts.shape == (1, *GRID.shape)
        assert counts.sum() == pytest.approx(FULL, rel=1e-4)
        assert counts[0, 0, 0].argmax() == np.abs(CENTRES - np.log10(period)).argmin()


def test_channels_are_searched_together():
    rng = np.random.default_rng(2)
    curves = {}
    for band in "gr":
        time, error = season(rng, 14), np.full(14, 0.1)
        curves[band] = frame(
            time, 17 + 0.12 * np.sin(2 * np.pi * time / 5.3) + error * rng.normal(size=14), error, band
        )
    right = np.abs(CENTRES - np.log10(5.3)).argmin()
    both, alone = (
        count_period(LightCurves.from_frame(table), STREAM)[0, 0, 0] / FULL
        for table in (pd.concat(curves.values()), curves["g"])
    )
    assert both[right] > 2 * alone[right]


def test_evidence_of_constant_sources_has_mean_one_at_most():
    rng = np.random.default_rng(3)
    n_objects, values = 400, {}
    for n in (6, 12, 50):
        time = np.sort(rng.uniform(0, 250, (n_objects, n)), axis=1)
        time -= time[:, :1]
        shape = (n_objects, n)
        made = Points(
            time.astype(np.float32),
            rng.normal(size=shape).astype(np.float32),
            np.ones(shape, np.float32),
            np.zeros(shape, np.int16),
        )
        share, log_evidence = period_distribution(made, np.array([0], np.int32), grid=GRID, span=256.0)
        np.testing.assert_allclose(np.asarray(share).sum(axis=1), 1.0, rtol=1e-4)
        values[n] = np.exp(np.asarray(log_evidence, np.float64))
    for n, evidence in values.items():
        error = evidence.std() / np.sqrt(n_objects)
        assert abs(evidence.mean() - 1.0) < 4 * error, n
        assert (evidence > 20).mean() <= 0.05


def test_evidence_of_a_sparse_curve_is_weak_and_of_a_long_one_strong():
    rng = np.random.default_rng(4)
    time, error = season(rng, 120), np.full(120, 0.1)
    value = 17 + 0.3 * np.sin(2 * np.pi * time / 0.61) + error * rng.normal(size=120)
    every = frame(time, value, error)
    q = [
        count_period(LightCurves.from_frame(every.iloc[:: 120 // n]), STREAM).sum() / FULL
        for n in (6, 20, 120)
    ]
    assert q[0] < 0.8
    assert q[0] < q[2]
    assert q[2] > 0.999


def test_what_has_no_period_to_tell_counts_nothing():
    rng = np.random.default_rng(5)
    few = frame(season(rng, 4), rng.normal(18, 0.1, 4), np.full(4, 0.1), name="few")
    other = frame(season(rng, 30), rng.normal(18, 0.1, 30), np.full(30, 0.1), band="i", name="other band")
    same = frame(np.full(6, 10.0), rng.normal(18, 0.1, 6), np.full(6, 0.1), name="one time")
    flat = frame(season(rng, 30), np.full(30, 18.0), np.full(30, 0.1), name="flat")
    batch = LightCurves.from_frame(pd.concat([few, other, same, flat]))
    counts = count_period(batch, STREAM)
    total = dict(zip(batch.object_id, counts.sum(axis=(1, 2, 3)), strict=True))
    assert np.isfinite(counts).all()
    assert total["few"] == total["other band"] == 0.0
    assert total["flat"] < 0.7 * FULL
    assert count_period(batch.keep_points(np.zeros(batch.n_points, bool)), STREAM).sum() == 0.0


def test_counts_do_not_depend_on_company_epoch_or_brightness():
    rng = np.random.default_rng(6)
    tables = []
    for i, n in enumerate((8, 40, 90, 300)):
        time, error = season(rng, n, 100.0 * (i + 1)), np.full(n, 0.1)
        tables.append(frame(time, 18 + 0.2 * np.sin(time) + error * rng.normal(size=n), error, name=str(i)))
    together = count_period(LightCurves.from_frame(pd.concat(tables)), STREAM)
    for i, table in enumerate(tables):
        alone = count_period(LightCurves.from_frame(table), STREAM)
        np.testing.assert_allclose(together[i], alone[0], atol=2e-3 * FULL)
        moved = table.assign(mjd=table.mjd + 50000.0, mag=table.mag - 3.0)
        np.testing.assert_allclose(
            count_period(LightCurves.from_frame(moved), STREAM)[0], alone[0], atol=2e-2 * FULL
        )


def test_limits_are_no_points():
    rng = np.random.default_rng(7)
    time, error = season(rng, 30), np.full(30, 0.1)
    table = frame(time, 18 + 0.3 * np.sin(time) + error * rng.normal(size=30), error).assign(
        upper_limit=False
    )
    limits = table.assign(upper_limit=True, mag=15.0, mjd=table.mjd + 0.3)
    expected = count_period(LightCurves.from_frame(table), STREAM)
    np.testing.assert_allclose(
        count_period(LightCurves.from_frame(pd.concat([table, limits])), STREAM), expected, atol=1e-3 * FULL
    )


def test_streams_of_other_kinds_are_refused():
    batch = LightCurves.from_frame(frame([0.0, 1.0], [18.0, 18.1], [0.1, 0.1]))
    with pytest.raises(ValueError, match="must be of kind 'period'"):
        count_period(batch, Stream("m", "magnitude", ("S/g",)))
    with pytest.raises(ValueError, match="takes single exposures"):
        Stream("p", "period", ("S/g",), nightly=True)
    with pytest.raises(ValueError, match="takes at least one channel"):
        Stream("p", "period", ())
    with pytest.raises(ValueError, match="count_period"):
        _ = STREAM.kernel
