from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import chi2, kstest

from structurefn.counting import count_events
from structurefn.density import Density
from structurefn.grids import Grid
from structurefn.light_curves import LightCurves
from structurefn.modes import ModeDensities
from structurefn.response import response_matrix
from structurefn.simulate import MagnitudeTable
from structurefn.simulate_chains import simulate_chains
from structurefn.streams import Stream

OPTIONS = {"column_range": (-2.0, 2.0), "column_scale": 0.2, "error_range": (0.02, 0.3), "n_errors": 2}
PAIRS = Stream("pairs", "adjacent", ("S/r",), grid=Grid((3,), n_columns=8, lag_range=(1.0, 100.0), **OPTIONS))
TRIPLETS = Stream(
    "triplets", "triplets", ("S/r",), grid=Grid((2, 2, 3), n_columns=8, lag_range=(1.0, 100.0), **OPTIONS)
)


def random_density(rng, stream, n_classes=2):
    response = response_matrix(stream.grid.column_edges, stream.grid.error_centres)
    return Density.from_true(
        rng.dirichlet(np.full(8, 1.5), (n_classes, stream.grid.n_rows)), response, tail=0.05
    )


def curves(rng, n_objects, n_points, band="r", limits=0.0):
    n = n_objects * n_points
    limit = rng.random(n) < limits
    return pd.DataFrame(
        {
            "object_id": np.repeat([f"o{i}" for i in range(n_objects)], n_points),
            "survey": "S",
            "band": band,
            "mjd": 59000.0 + rng.uniform(0, 150, n),
            "mag": 18.0 + rng.normal(size=n),
            "mag_err": np.where(limit, np.nan, np.exp(rng.uniform(np.log(0.01), np.log(0.3), n))),
            "upper_limit": limit,
        }
    )


def batch(rng, n_objects, n_points):
    return LightCurves.from_frame(curves(rng, n_objects, n_points))


def check_cells(count, density, c):
    """Chi-square test of the counts of every row and error bin against the class's density."""
    observed = count.sum(axis=0).astype(float)
    expected = np.exp(density.observed[c]) * observed.sum(axis=-1, keepdims=True)
    seen = observed.sum(axis=-1) > 100
    assert seen.sum() >= 4
    statistic = ((observed - expected) ** 2 / expected)[seen].sum()
    freedom = seen.sum() * (observed.shape[-1] - 1)
    assert chi2.sf(statistic, freedom) > 1e-4


def test_pairs_follow_the_density_of_their_class_lag_and_error(rng):
    density = random_density(rng, PAIRS)
    for c in (0, 1):
        drawn = simulate_chains(rng, batch(rng, 800, 8), [PAIRS], {"pairs": density}, np.full(800, c))
        check_cells(dict(count_events(drawn, [PAIRS]))["pairs"], density, c)


def test_triplets_follow_the_density_given_both_lags_and_the_last_change(rng):
    density = {"pairs": random_density(rng, PAIRS), "triplets": random_density(rng, TRIPLETS)}
    drawn = simulate_chains(rng, batch(rng, 1500, 8), [TRIPLETS, PAIRS], density, np.ones(1500, dtype=int))
    check_cells(dict(count_events(drawn, [TRIPLETS]))["triplets"], density["triplets"], 1)
    # The first change is that of the pairs.
    first = drawn.keep_points(np.arange(drawn.n_points) < drawn.offset[drawn.object_index] + 2)
    check_cells(dict(count_events(first, [PAIRS]))["pairs"], density["pairs"], 1)


def test_times_errors_channels_limits_and_other_channels_stay(rng):
    frame = pd.concat([curves(rng, 30, 6, limits=0.3), curves(rng, 30, 4, band="g")])
    given = LightCurves.from_frame(frame)
    drawn = simulate_chains(
        rng, given, [PAIRS], {"pairs": random_density(rng, PAIRS)}, np.zeros(30, dtype=int)
    )
    for name in ("object_id", "offset", "time", "error", "channel", "upper_limit"):
        np.testing.assert_array_equal(getattr(drawn, name), getattr(given, name))
    kept = given.upper_limit | (given.channel == given.channels.index("S/g"))
    np.testing.assert_array_equal(drawn.value[kept], given.value[kept])
    # The first detection of a channel is kept, the others are drawn.
    changed = drawn.value != given.value
    detections = given.keep_points(~kept)
    assert changed.sum() == detections.n_points - (detections.n_detections > 0).sum()
    assert not changed[kept].any()


def test_triplets_alone_keep_the_first_two_points(rng):
    given = batch(rng, 40, 5)
    drawn = simulate_chains(
        rng, given, [TRIPLETS], {"triplets": random_density(rng, TRIPLETS)}, np.zeros(40, dtype=int)
    )
    rank = np.arange(given.n_points) - given.offset[given.object_index]
    np.testing.assert_allclose(drawn.value[rank < 2], given.value[rank < 2])
    assert (drawn.value[rank >= 2] != given.value[rank >= 2]).all()


def test_first_magnitude_from_a_table_with_its_error(rng):
    grid = Grid((1,), (18.0 - 1e-9, 18.0 + 1e-9), 1)
    given = batch(rng, 2000, 1)
    drawn = simulate_chains(
        rng,
        given,
        [PAIRS],
        {"pairs": random_density(rng, PAIRS)},
        np.zeros(2000, dtype=int),
        magnitudes={"S/r": MagnitudeTable(np.ones((2, 1, 1)), grid, 0.5)},
    )
    assert kstest((drawn.value - 18.5) / given.error, "norm").pvalue > 1e-4


@pytest.mark.parametrize("own", [False, True])
def test_noise_has_the_bins_error_or_its_own(rng, own):
    # All true changes near zero, hardly a tail: the change is noise.
    grid = Grid((1,), (-1.0, 1.0), 2001, error_range=(0.02, 0.3), n_errors=1)
    stream = Stream("pairs", "adjacent", ("S/r",), grid=grid)
    true = np.zeros((1, 1, 2001))
    true[0, 0, 1000] = 1.0
    density = Density(true, np.zeros((1, 1, 1, 2001)), 1.0, 1e-9, np.zeros((1, 1)))
    given = batch(rng, 4000, 2)
    drawn = simulate_chains(
        rng, given, [stream], {"pairs": density}, np.zeros(4000, dtype=int), own_errors=own
    )
    change = drawn.value.reshape(-1, 2) @ [-1.0, 1.0]
    spread = np.hypot(*given.error.reshape(-1, 2).T) if own else grid.error_centres[0]
    assert kstest(change / spread, "norm").pvalue > 1e-4


def test_modes_are_drawn_as_components(rng):
    density = random_density(rng, PAIRS, 3)
    owner, weight = np.array([0, 0, 1]), np.log([0.3, 0.7, 1.0])
    modes = ModeDensities({"pairs": density}, owner, weight, 0.0, {"pairs": np.full(3, np.inf)})
    component = modes.draw(rng, np.zeros(1000, dtype=int))
    drawn = simulate_chains(rng, batch(rng, 1000, 8), [PAIRS], modes.densities, component)
    count = dict(count_events(drawn, [PAIRS]))["pairs"]
    for m in (0, 1):
        check_cells(count[component == m], density, m)


def test_same_seed_same_curves_and_little_is_fine(rng):
    density = {"pairs": random_density(rng, PAIRS)}
    given = batch(rng, 5, 3)

    def draw(seed):
        return simulate_chains(np.random.default_rng(seed), given, [PAIRS], density, np.arange(5) % 2).value

    np.testing.assert_array_equal(draw(1), draw(1))
    assert (draw(1) != draw(2)).any()
    empty = LightCurves.empty(["S/r"], "mag").with_objects(["a"])
    assert simulate_chains(rng, empty, [PAIRS], density, np.zeros(1, dtype=int)).n_points == 0
    alone = batch(rng, 3, 1)
    same = simulate_chains(rng, alone, [PAIRS], density, np.zeros(3, dtype=int))
    np.testing.assert_array_equal(same.value, alone.value)
    elsewhere = LightCurves.from_frame(curves(rng, 3, 4, band="g"))
    same = simulate_chains(rng, elsewhere, [PAIRS], density, np.zeros(3, dtype=int))
    np.testing.assert_array_equal(same.value, elsewhere.value)


def test_refuses_what_does_not_fit(rng):
    given, density = batch(rng, 4, 3), {"pairs": random_density(rng, PAIRS)}
    zeros = np.zeros(4, dtype=int)
    level = Stream("level", "level", ("S/r",))
    flux = replace(given, quantity="flux")
    for light_curves, streams, tables, classes, message in [
        (given, [level], density, zeros, "of kind 'adjacent' or 'triplets', but 'level'"),
        (given, [PAIRS, PAIRS], density, zeros, "one stream of each kind"),
        (given, [TRIPLETS], density, zeros, "'triplets' is not among"),
        (given, [PAIRS], density, zeros + 2, "classes must be an index from 0 to 1"),
        (given, [PAIRS], density, zeros[:2], "classes must be an index"),
        (given, [PAIRS], density, zeros.astype(float), "classes must be an index"),
        (flux, [PAIRS], density, zeros, "Chains are of magnitudes"),
    ]:
        with pytest.raises(ValueError, match=message):
            simulate_chains(rng, light_curves, streams, tables, classes)
