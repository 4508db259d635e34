import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multinomial

from structurefn.density import Density
from structurefn.grids import Grid
from structurefn.likelihood import log_likelihood
from structurefn.modes import ModeDensities, tempering_factor
from structurefn.modes_em import Events, Tables, em, joint_log_likelihood, starting_share
from structurefn.modes_fit import GROUPS_A_MODE, fit_modes
from structurefn.modes_scatter import dirichlet_multinomial, effective_counts
from structurefn.response import response_matrix
from structurefn.stream_density import class_density
from structurefn.streams import Stream

GRID = Grid((2,), (-2.0, 2.0), 10, column_scale=0.2, error_range=(0.02, 0.3), n_errors=2, lag_range=(1, 100))
RESPONSE = response_matrix(GRID.column_edges, GRID.error_centres)
STREAM = Stream("pairs", "adjacent", ("S/r",), grid=GRID)
TRIPLET_GRID = Grid((2, 2, 3), (-2.0, 2.0), 10, error_range=(0.02, 0.3), n_errors=2, lag_range=(1, 100))
TRIPLETS = Stream("triplets", "triplets", ("S/r",), grid=TRIPLET_GRID)


def bump(centre, width=0.15):
    """Probabilities of the true cells: a Gaussian, the same in both rows."""
    middle = 0.5 * (GRID.column_edges[1:] + GRID.column_edges[:-1])
    p = np.exp(-0.5 * ((middle - centre) / width) ** 2) * np.diff(GRID.column_edges)
    return np.broadcast_to(p / p.sum(), (2, 10))


def density_of(*centres):
    return Density.from_true(np.stack([bump(c) for c in centres]), RESPONSE)


def sample(rng, density, components, n_events=12):
    """Counts of objects, each of one component, rows and error bins drawn evenly."""
    counts = np.zeros((len(components), *GRID.shape), dtype=np.float32)
    probability = np.exp(density.observed)
    for i, c in enumerate(components):
        for _ in range(n_events if np.isscalar(n_events) else n_events[i]):
            r, s = rng.integers(0, 2, 2)
            counts[i, r, s, rng.choice(10, p=probability[c, r, s])] += 1
    return counts


def random_density(rng, n_classes=3):
    return Density.from_true(rng.dirichlet(np.full(10, 1.5), (n_classes, 2)), RESPONSE)


def random_modes(rng, concentration=np.inf, tempering=0.0):
    owner = np.array([0, 0, 1, 2, 2, 2])
    weight = np.concatenate([rng.dirichlet(np.ones(k)) for k in (2, 1, 3)])
    densities = {name: random_density(rng, 6) for name in ("a", "b")}
    scatter = {name: np.full(6, concentration) for name in densities}
    return ModeDensities(densities, owner, np.log(weight), tempering, scatter)


# --- scatter of objects ------------------------------------------------------------------------------


def urn(counts, density, concentration):
    """Polya's urn: each event's probability given those before, one at a time."""
    result = np.zeros((len(counts), density.n_classes))
    for i, c, r, s in np.ndindex(*result.shape, *counts.shape[1:3]):
        seen = np.zeros(10)
        for j in np.repeat(np.arange(10), counts[i, r, s].astype(int)):
            p = np.exp(density.observed[c, r, s, j])
            result[i, c] += np.log((seen[j] + concentration * p) / (seen.sum() + concentration))
            seen[j] += 1
    return result


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**16), concentration=st.sampled_from([0.3, 4.0, 300.0]))
def test_scatter_equals_polyas_urn(seed, concentration):
    rng = np.random.default_rng(seed)
    density = random_density(rng)
    counts = rng.poisson(0.8, (5, *GRID.shape)) * (rng.random((5, *GRID.shape)) < 0.5)
    counts[0] = 0
    got = dirichlet_multinomial(counts.astype(np.float32), density, concentration)
    np.testing.assert_allclose(got, urn(counts, density, concentration), atol=1e-9)
    assert (got[0] == 0).all()


def test_scatter_is_a_probability_over_all_sequences(rng):
    density = random_density(rng, 2)
    total = 0.0
    for sequence in itertools.product(range(10), repeat=3):
        counts = np.zeros((1, *GRID.shape))
        np.add.at(counts[0, 1, 0], list(sequence), 1)
        total = total + np.exp(dirichlet_multinomial(counts, density, np.array([2.0, 50.0])))
    np.testing.assert_allclose(total, 1.0, atol=1e-10)


def test_scatter_goes_over_into_independent_events(rng):
    density = random_density(rng)
    counts = rng.poisson(0.7, (20, *GRID.shape)).astype(np.float32)
    independent = log_likelihood(counts, density)
    np.testing.assert_allclose(dirichlet_multinomial(counts, density, np.inf), independent)
    np.testing.assert_allclose(dirichlet_multinomial(counts, density, 1e7), independent, atol=1e-3)
    mixed = dirichlet_multinomial(counts, density, np.array([5.0, np.inf, 5.0]))
    np.testing.assert_allclose(mixed[:, 1], independent[:, 1])
    np.testing.assert_allclose(mixed[:, 0], dirichlet_multinomial(counts, density, 5.0)[:, 0])


def test_fifty_events_that_say_the_same_do_not_count_fifty_times():
    density = density_of(-0.5, 0.5)
    counts = np.zeros((2, *GRID.shape), dtype=np.float32)
    counts[0, 0, 0, 2], counts[1, 0, 0, 2] = 1, 50
    ratio = -np.diff(dirichlet_multinomial(counts, density, 4.0), axis=1)[:, 0]
    alone = -np.diff(log_likelihood(counts, density), axis=1)[:, 0]
    assert ratio[0] == pytest.approx(alone[0], abs=1e-5)
    assert alone[1] == pytest.approx(50 * alone[0], rel=1e-5)
    assert 1.0 < ratio[1] / ratio[0] < 5.0


@given(st.integers(1, 200), st.floats(1e-4, 1e3))
def test_effective_counts_are_a_sum_of_chances(number, prior):
    # The expected number of tables in the Chinese restaurant with that many guests.
    expected = sum(prior / (prior + m) for m in range(number))
    got = effective_counts(np.array([float(number)]), np.array([[prior]]))
    assert got[0, 0] == pytest.approx(expected, rel=1e-8)


def test_scatter_refuses(rng):
    density = random_density(rng)
    with pytest.raises(ValueError, match="concentration must be positive"):
        dirichlet_multinomial(np.zeros((1, *GRID.shape)), density, 0.0)
    with pytest.raises(ValueError, match="on the grid of the density"):
        dirichlet_multinomial(np.zeros((1, 2, 2, 9)), density, 1.0)


# --- mixtures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("concentration", "tempering"), [(np.inf, 0.0), (np.inf, 0.5), (8.0, 0.3)])
def test_log_likelihood_equals_the_sum_over_modes(rng, concentration, tempering):
    modes = random_modes(rng, concentration, tempering)
    counts = {name: rng.poisson(0.5, (7, *GRID.shape)).astype(np.float32) for name in ("a", "b", "unused")}
    counts["a"][2] = counts["b"][2] = 0
    expected = np.zeros((7, 3))
    for i, c in np.ndindex(7, 3):
        terms = []
        for m in np.flatnonzero(modes.owner == c):
            term = modes.log_weight[m]
            for name in ("a", "b"):
                n = counts[name][i].sum()
                own = modes.densities[name].observed[m]
                if np.isinf(concentration):
                    value = (counts[name][i] * own).sum()
                else:
                    value = urn(counts[name][[i]], modes.densities[name], concentration)[0, m]
                term += value * max(n, 1) ** -tempering
            terms.append(term)
        expected[i, c] = logsumexp(terms)
    np.testing.assert_allclose(modes.log_likelihood(counts), expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(modes.log_likelihood(counts)[2], 0.0, atol=1e-9)
    share = modes.responsibilities(counts)
    for c in range(3):
        np.testing.assert_allclose(share[:, modes.owner == c].sum(axis=1), 1.0)
    np.testing.assert_allclose(share[2], np.exp(modes.log_weight))


def test_one_mode_without_tempering_is_the_class_density(rng):
    density = density_of(-0.4, 0.4)
    classes = np.arange(60) % 2
    counts = sample(rng, density, classes)
    membership = np.eye(2)[classes]
    modes = fit_modes({"pairs": counts}, membership, [STREAM], n_modes=1, tempering=0.0)
    own = class_density(STREAM, counts, membership, None)
    np.testing.assert_allclose(
        modes.log_likelihood({"pairs": counts}), log_likelihood(counts, own), rtol=1e-6, atol=1e-5
    )


@pytest.mark.parametrize("dirichlet", [False, True])
def test_planted_modes_are_found_and_none_where_there_is_none(dirichlet):
    rng = np.random.default_rng(5)
    density = density_of(-0.6, 0.6, 0.0)
    component = np.concatenate([np.arange(120) % 2, np.full(120, 2)])
    counts = {"pairs": sample(rng, density, component)}
    membership = np.eye(2)[(component == 2).astype(int)]
    modes = fit_modes(counts, membership, [STREAM], dirichlet=dirichlet)
    assert modes.n_modes[0] >= 2
    assert modes.n_modes[1] <= 2
    two = fit_modes(counts, membership, [STREAM], n_modes=[2, 1], dirichlet=dirichlet)
    found = two.responsibilities(counts)[:120, :2].argmax(axis=1)
    agreement = (found == component[:120]).mean()
    assert max(agreement, 1 - agreement) > 0.97
    np.testing.assert_allclose(np.exp(two.log_weight[:2]), 0.5, atol=0.05)
    # Fresh objects: the mixture knows both modes, one table only their mean.
    fresh = {"pairs": sample(rng, density, component)}
    one = fit_modes(counts, membership, [STREAM], n_modes=1, dirichlet=dirichlet)
    gain = (two.log_likelihood(fresh) - one.log_likelihood(fresh))[:120, 0]
    assert gain.mean() > 0.5


def test_streams_share_one_mode(rng):
    # Each stream alone tells little; together they tell the mode.
    density = density_of(-0.15, 0.15)
    component = np.arange(160) % 2
    counts = {name: sample(rng, density, component, n_events=3) for name in ("a", "b")}
    streams = [Stream(name, "adjacent", ("S/r",), grid=GRID) for name in counts]
    modes = fit_modes(counts, np.ones((160, 1)), streams, n_modes=2, tempering=0.0)
    joint = modes.responsibilities(counts)
    single = ModeDensities(
        {"a": modes.densities["a"]}, modes.owner, modes.log_weight, 0.0, {"a": modes.concentration["a"]}
    ).responsibilities(counts)
    right = [max(x, 1 - x) for x in ((r.argmax(axis=1) == component).mean() for r in (joint, single))]
    assert right[0] > right[1]
    assert right[0] > 0.8


def test_order_of_classes_and_seeds(rng):
    density = density_of(-0.5, 0.5, 0.0)
    component = np.arange(90) % 3
    counts = {"pairs": sample(rng, density, component)}
    membership = np.eye(2)[(component == 2).astype(int)]
    settings = {"n_modes": 2, "seed": 3}
    first = fit_modes(counts, membership, [STREAM], **settings).log_likelihood(counts)
    again = fit_modes(counts, membership, [STREAM], **settings).log_likelihood(counts)
    turned = fit_modes(counts, membership[:, ::-1], [STREAM], **settings).log_likelihood(counts)
    np.testing.assert_array_equal(first, again)
    np.testing.assert_allclose(turned[:, ::-1], first, atol=1e-3)


def test_a_mode_needs_several_groups(rng):
    density = density_of(-0.6, 0.6)
    groups = np.repeat(np.arange(3 * GROUPS_A_MODE - 1), 3)
    counts = {"pairs": sample(rng, density, groups % 2)}
    modes = fit_modes(counts, np.full((len(groups), 1), 1 / 3), [STREAM], n_modes=8, groups=groups)
    assert modes.n_modes.tolist() == [2]
    # A class of no object has its parent's table.
    membership = np.stack([np.full(len(groups), 1 / 3), np.zeros(len(groups))], axis=1)
    modes = fit_modes(counts, membership, [STREAM], groups=groups)
    assert modes.n_modes[1] == 1
    assert np.isfinite(modes.log_likelihood(counts)).all()


def test_more_iterations_do_not_lose_likelihood(rng):
    density = density_of(-0.5, 0.5)
    counts = {"pairs": sample(rng, density, np.arange(80) % 2)}
    events, _ = Events.of_classes(counts, np.ones((80, 1)), 0.5)
    own = class_density(STREAM, counts["pairs"], np.ones((80, 1)), None)
    two = np.zeros(2, dtype=int)
    parent = {"pairs": own.true[two]}
    start = Tables(
        parent, {"pairs": own.observed[two]}, two, np.log([0.5, 0.5]), {"pairs": np.full(2, np.inf)}
    )
    share = [rng.dirichlet(np.full(2, 3.0), 80)]
    scores = []
    for n_iter in (1, 3, 10, 30):
        tables, found, score = em(
            events, share, start, parent, {"pairs": RESPONSE}, strength=4.0, tail=0.01, n_iter=n_iter
        )
        scores.append(score[0])
        total = logsumexp(joint_log_likelihood(events[0], tables, 0), axis=1).sum()
        assert total == pytest.approx(score[0])
        np.testing.assert_allclose(found[0].sum(axis=1), 1.0)
    # The tables' pull towards the class costs a little likelihood.
    assert (np.diff(scores) > -0.1).all()
    assert scores[-1] > scores[0] + 5.0


def test_starts_are_shares_also_for_objects_without_events(rng):
    place = np.concatenate([np.zeros((3, 4)), rng.normal(size=(30, 4))]).astype(np.float32)
    share = starting_share(place, np.ones(33), 4, rng)
    np.testing.assert_allclose(share.sum(axis=1), 1.0)
    assert ((share[3:].argmax(axis=1)[:, None] == np.arange(4)).sum(axis=0) > 0).all()
    np.testing.assert_allclose(starting_share(np.zeros((3, 4)), np.ones(3), 2, rng), 0.5)


def test_triplets_have_tables_of_their_own_shape(rng):
    counts = {"triplets": rng.poisson(0.2, (40, *TRIPLET_GRID.shape)).astype(np.float32)}
    modes = fit_modes(counts, np.eye(2)[np.arange(40) % 2], [TRIPLETS], n_modes=2)
    assert modes.densities["triplets"].observed.shape == (4, *TRIPLET_GRID.shape)
    np.testing.assert_allclose(np.exp(modes.densities["triplets"].observed).sum(axis=-1), 1.0)


def test_arrays_and_back_without_pickle(rng, tmp_path):
    modes = random_modes(rng, 8.0, 0.5)
    np.savez(tmp_path / "modes.npz", **modes.to_arrays())
    with np.load(tmp_path / "modes.npz", allow_pickle=False) as arrays:
        back = ModeDensities.from_arrays(dict(arrays))
    counts = {name: rng.poisson(0.5, (4, *GRID.shape)).astype(np.float32) for name in ("a", "b")}
    np.testing.assert_array_equal(back.log_likelihood(counts), modes.log_likelihood(counts))
    assert back.n_classes == 3
    assert back.densities["a"].tail == modes.densities["a"].tail


def test_modes_are_drawn_by_their_weights(rng):
    modes = random_modes(rng)
    drawn = modes.draw(rng, np.repeat([2, 0, 1], 5000))
    assert (modes.owner[drawn] == np.repeat([2, 0, 1], 5000)).all()
    observed = np.bincount(drawn, minlength=6)
    expected = 5000 * np.exp(modes.log_weight)
    # Five standard deviations.
    np.testing.assert_allclose(observed, expected, atol=5 * np.sqrt(5000 * 0.25))
    assert multinomial.logpmf(observed[3:], 5000, np.exp(modes.log_weight[3:])) > -30


def test_tempering_counts_events_of_a_stream():
    counts = np.zeros((2, *GRID.shape))
    counts[1, 0, 0, :4] = 4
    np.testing.assert_allclose(tempering_factor(counts, 0.5), [1.0, 0.25])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"membership": np.ones(6)}, "membership must be"),
        ({"streams": []}, "streams not be empty"),
        ({"groups": np.zeros(5)}, "groups must have one entry an object"),
        ({"counts": {}}, "counts of stream 'pairs' must be"),
        ({"n_modes": 0}, "n_modes must be one positive number or one a class"),
        ({"n_modes": [1, 2, 3]}, "n_modes must be one positive number or one a class"),
        ({"n_starts": 0}, "n_starts positive"),
        ({"strength": 0.0}, "strength and concentration must be positive"),
        ({"dirichlet": True, "concentration": -1.0}, "strength and concentration must be positive"),
        ({"tempering": -0.5}, "tempering must be"),
    ],
)
def test_refuses_what_does_not_fit(changes, message):
    arguments = {
        "counts": {"pairs": np.ones((6, *GRID.shape))},
        "membership": np.ones((6, 2)),
        "streams": [STREAM],
    }
    with pytest.raises(ValueError, match=message):
        fit_modes(**(arguments | changes))


def test_refuses_a_missing_stream(rng):
    with pytest.raises(ValueError, match="'b' is not among"):
        random_modes(rng).log_likelihood({"a": np.zeros((1, *GRID.shape))})
