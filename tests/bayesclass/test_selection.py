"""Weights of a biased sample against samples whose selection and class fractions are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesclass.selection import LARGEST_WEIGHT, density_ratio, effective_number, observables
from bayesclass.transient_features import transient_feature_names, transient_features
from structurefn.light_curves import LightCurves


def population(rng, n):
    """Two classes, the second fainter: their magnitude and redshift, and whether a spectrum was taken."""
    label = rng.random(n) < 0.7
    redshift = rng.uniform(0.1, 1.0, n)
    magnitude = 21.0 + 3.0 * redshift + 0.8 * label + 0.6 * rng.normal(size=n)
    spectrum = rng.random(n) < 1.0 / (1.0 + np.exp(magnitude - 22.3))
    return label, np.column_stack([magnitude, redshift]), spectrum


def test_weights_recover_the_class_fractions_behind_a_selection_by_brightness():
    rng = np.random.default_rng(0)
    label, seen, spectrum = population(rng, 20000)
    train, others = seen[spectrum], seen[~spectrum]
    assert label[spectrum].mean() < label[~spectrum].mean() - 0.07
    weight = density_ratio(train, others)
    found = np.average(label[spectrum], weights=weight)
    assert found == pytest.approx(label[~spectrum].mean(), abs=0.04)
    assert np.average(train, axis=0, weights=weight) == pytest.approx(others.mean(axis=0), abs=0.1)


def test_weights_are_the_ratio_of_two_known_gaussians():
    rng = np.random.default_rng(1)
    sample, target = rng.normal(size=(8000, 1)), rng.normal(0.5, 1.0, size=(8000, 1))
    exact = np.exp(0.5 * sample[:, 0] - 0.125)
    middle = np.abs(sample[:, 0]) < 2.0
    assert np.log(density_ratio(sample, target)[middle]) == pytest.approx(np.log(exact[middle]), abs=0.15)


def test_one_distribution_gives_equal_weights_and_unknown_values_weigh_like_typical_ones():
    rng = np.random.default_rng(2)
    sample, target = rng.normal(size=(3000, 2)), rng.normal(size=(3000, 2))
    weight = density_ratio(sample, target)
    assert weight == pytest.approx(np.ones(3000), abs=0.5)
    assert effective_number(weight) > 2900
    sample[0] = np.nan
    sample[1] = np.median(target, axis=0)
    weight = density_ratio(sample, target)
    assert weight[0] == pytest.approx(weight[1])


@given(st.floats(0.0, 20.0), st.integers(0, 100))
def test_weights_are_bounded(shift, seed):
    rng = np.random.default_rng(seed)
    weight = density_ratio(rng.normal(size=(50, 1)), shift + rng.normal(size=(50, 1)))
    assert (weight >= 1.0 / LARGEST_WEIGHT).all()
    assert (weight <= LARGEST_WEIGHT).all()


def test_samples_without_objects_or_values_are_refused():
    some = np.ones((3, 1))
    with pytest.raises(ValueError, match="found 0 and 3 objects"):
        density_ratio(some[:0], some)
    with pytest.raises(ValueError, match="each observable known of some"):
        density_ratio(some, np.full((3, 1), np.nan))


def test_observables_are_peak_magnitudes_and_the_redshift():
    rng = np.random.default_rng(3)
    time = np.tile(np.linspace(0.0, 60.0, 25), 4)
    channel = np.repeat([0, 1], 50)
    pulse = np.exp(-0.5 * ((time - 30.0) / 12.0) ** 2)
    flux = np.where(channel == 0, 100.0, 40.0) * pulse + rng.normal(size=100)
    order = np.lexsort((channel, time, np.tile(np.repeat([0, 1], 25), 2)))
    curves = LightCurves(
        object_id=np.array(["a", "b"]),
        offset=np.array([0, 50, 100]),
        time=59000.0 + time[order],
        value=flux[order],
        error=np.ones(100),
        channel=channel[order].astype(np.int16),
        upper_limit=np.zeros(100, bool),
        channels=("S/g", "S/r"),
        quantity="flux",
        set_aside=LightCurves.empty(("S/g",), "flux").set_aside,
    )
    found = observables(curves, np.array([0.3, np.nan]), ("S/r",))
    assert found.shape == (2, 2)
    assert found[:, 0] == pytest.approx(27.5 - 2.5 * np.log10(40.0), abs=0.1)
    assert found[0, 1] == 0.3
    assert np.isnan(found[1, 1])
    column = transient_feature_names(curves.channels).index("peak magnitude S/r")
    assert np.array_equal(found[:, 0].astype(np.float32), transient_features(curves)[:, column])
