"""Random thinnings: how many, of whom, and which points."""

import numpy as np
import pytest

from structurefn.light_curves import LightCurves
from structurefn.thinning import thin_to, thinned_versions

SIZES = np.array([0, 1, 2, 3, 4, 30, 200, 200])


def batch(sizes=SIZES):
    offset = np.concatenate([[0], np.cumsum(sizes)])
    n = offset[-1]
    position = np.arange(n) - np.repeat(offset[:-1], sizes)
    empty = LightCurves.empty(("S/g",), "mag")
    # The value is the position in the light curve, so that points can be recognised.
    return LightCurves(
        object_id=np.array([f"o{i}" for i in range(len(sizes))]),
        offset=offset,
        time=59000.0 + position,
        value=position.astype(float),
        error=np.full(n, 0.1),
        channel=np.zeros(n, np.int16),
        upper_limit=position % 5 == 4,
        channels=("S/g",),
        quantity="mag",
        set_aside=empty.set_aside,
    )


def points(light_curves, i):
    return light_curves.value[light_curves.offset[i] : light_curves.offset[i + 1]].astype(int)


def test_full_curves_come_first_and_versions_are_true_parts(rng):
    original = batch()
    made, owner = thinned_versions(original, rng, versions=40, min_points=2, max_points=50)
    n = len(SIZES)
    np.testing.assert_array_equal(owner[:n], np.arange(n))
    for i in range(n):
        np.testing.assert_array_equal(points(made, i), np.arange(SIZES[i]))
    np.testing.assert_array_equal(made.object_id, original.object_id[owner])
    length = np.diff(made.offset)[n:]
    assert (length >= 2).all()
    assert (length <= 50).all()
    assert (length < SIZES[owner[n:]]).all()
    assert set(owner[n:]) == {3, 4, 5, 6, 7}  # the others do not exceed two points
    assert (owner[n:] == 6).sum() == 40  # k never exceeds 50 of 200
    for j in range(n, made.n_objects):
        kept = points(made, j)
        assert (np.diff(kept) > 0).all()
        assert kept[-1] < SIZES[owner[j]]
        np.testing.assert_array_equal(made.upper_limit[made.offset[j] : made.offset[j + 1]], kept % 5 == 4)


def test_modes_and_sizes_have_their_shares():
    rng = np.random.default_rng(3)
    made, _ = thinned_versions(batch([400] * 600), rng, versions=4, min_points=10, max_points=80)
    kept = [points(made, j) for j in range(600, made.n_objects)]
    in_row = np.array([k[-1] - k[0] == len(k) - 1 for k in kept])
    first = np.array([k[0] == 0 for k in kept]) & in_row
    # 2,400 versions: standard deviations of these shares are about .01; a quarter starts at the first
    # point, and a random start hits it in about 1 of 370.
    assert in_row.mean() == pytest.approx(0.5, abs=0.04)
    assert first.mean() == pytest.approx(0.25, abs=0.04)
    # Uniform in the logarithm between 10 and 81, hence quantiles of equal ratio.
    quartiles = np.quantile([len(k) for k in kept], [0.25, 0.5, 0.75])
    np.testing.assert_allclose(quartiles, 10 * 8.1 ** np.array([0.25, 0.5, 0.75]), rtol=0.1)
    later = [k for k, use in zip(kept, in_row & ~first, strict=True) if use]
    starts = np.array([k[0] / (400 - len(k)) for k in later])
    assert starts.mean() == pytest.approx(0.5, abs=0.05)
    # Random points are spread over the whole curve.
    spread = np.concatenate([k for k, row in zip(kept, in_row, strict=True) if not row])
    assert spread.mean() == pytest.approx(199.5, abs=5)


def test_bounds_without_play_no_versions_and_no_objects(rng):
    made, owner = thinned_versions(batch(), rng, versions=3, min_points=7, max_points=7)
    assert set(np.diff(made.offset)[len(SIZES) :]) == {7}
    made, owner = thinned_versions(batch(), rng, versions=0)
    np.testing.assert_array_equal(owner, np.arange(len(SIZES)))
    made, owner = thinned_versions(LightCurves.empty(("S/g",), "mag"), rng)
    assert (made.n_objects, len(owner)) == (0, 0)


def test_the_seed_decides():
    one, two, three = (
        thinned_versions(batch(), np.random.default_rng(seed), versions=4)[0].value for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, three)


def test_thin_to_keeps_at_most_k_random_points(rng):
    thin = thin_to(batch(), 3, rng)
    np.testing.assert_array_equal(np.diff(thin.offset), np.minimum(SIZES, 3))
    assert all((np.diff(points(thin, i)) > 0).all() for i in range(len(SIZES)))
    counts = sum(np.bincount(points(thin_to(batch([6]), 3, rng), 0), minlength=6) for _ in range(600))
    # Each point is kept half the time: 300 with a standard deviation of 12.
    np.testing.assert_allclose(counts, 300, atol=60)
