"""Learning host models: parameters of simulated fields come back."""

from dataclasses import replace

import numpy as np
import pytest
from host_field import BACKGROUND, TRUE, Field, assert_calibrated, catalogue

from context.host import HostModel
from context.host_candidates import find_candidates
from context.host_fit import UNKNOWN, fit_host_classes, fit_host_model
from context.host_geometry import HostError, OffsetDensity


@pytest.fixture(scope="module")
def field():
    return Field(np.random.default_rng(3), (TRUE,), np.zeros(3000, dtype=int))


@pytest.mark.parametrize("labelled", [False, True])
def test_parameters_are_learned(field, labelled):
    candidates = field.candidates(40.0)
    hosts = field.host if labelled else None
    start = HostModel(
        offset=OffsetDensity(1.0, 2.0, 0.05), catalogued=0.5, hostless=0.1, background=BACKGROUND
    )
    fit = fit_host_model(candidates, start, hosts=hosts)
    assert fit.model.catalogued == pytest.approx(0.7, abs=0.04)
    for share in (0.25, 0.5, 0.9):
        true = TRUE.offset.quantile(share)
        assert fit.model.offset.quantile(share) == pytest.approx(true, rel=0.12)
    assert np.abs(fit.model.host_fractions - TRUE.host_fractions).max() < 0.04
    gains = np.diff(fit.log_posterior)
    assert (gains > -1e-6 * len(field.ra)).all()
    assert len(gains) >= 1
    # The split of what is not catalogued is the prior's.
    assert fit.model.hostless / (1 - fit.model.catalogued) == pytest.approx(0.2)


def test_hosts_beyond_the_radius_are_learned_from(field):
    """A small radius cuts the offsets; the fit knows."""
    fit = fit_host_model(field.candidates(5.0), replace(TRUE, catalogued=0.5), hosts=field.host)
    assert fit.model.catalogued == pytest.approx(0.7, abs=0.04)
    assert fit.model.offset.quantile(0.5) == pytest.approx(TRUE.offset.quantile(0.5), rel=0.12)


NUCLEAR = replace(TRUE, offset=OffsetDensity(1.0, 0.1, 0.05), catalogued=0.9, hostless=0.05)
STELLAR = replace(TRUE, catalogued=0.05, hostless=0.9)


@pytest.fixture(scope="module")
def classes_field():
    rng = np.random.default_rng(5)
    return Field(rng, (TRUE, NUCLEAR, STELLAR), rng.choice(3, 2400, p=[0.5, 0.2, 0.3]))


def test_classes_are_learned(classes_field):
    candidates, label = classes_field.candidates(30.0), classes_field.classes
    train = np.arange(len(label)) < 1600
    weights = np.eye(3)[label] * train[:, None]
    models = fit_host_classes(candidates, weights, ["SN", "AGN", "star"], replace(TRUE, catalogued=0.5))
    prior = np.array([0.5, 0.2, 0.3])

    def posterior(log_likelihood):
        p = prior * np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
        return (p / p.sum(axis=1, keepdims=True))[~train]

    test = label[~train]
    learned = posterior(models.log_likelihood(candidates))
    truth = posterior(np.stack([m.log_likelihood(candidates) for m in (TRUE, NUCLEAR, STELLAR)], axis=-1))

    def loss(p):
        return -np.log(p[np.arange(len(test)), test]).mean()

    guess = -(prior * np.log(prior)).sum()
    assert loss(truth) < 0.75 * guess
    assert loss(learned) < loss(truth) + 0.02
    for c in range(3):
        assert_calibrated(truth[:, c], test == c, bins=(0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.01))


def test_few_objects_stay_near_the_common_model(classes_field):
    candidates, label = classes_field.candidates(30.0), classes_field.classes
    weights = np.eye(3)[label].astype(float)
    weights[:, 1] = 0.0
    weights[np.flatnonzero(label == 2)[2:], 2] = 0.0
    models = fit_host_classes(candidates, weights, ("SN", "AGN", "star"), TRUE)
    assert np.isfinite(models.log_likelihood(candidates)).all()
    common = fit_host_model(candidates, TRUE, weights=weights.sum(axis=1)).model
    # No object: the common model itself. Two stars: drawn away by no more than their share of the prior.
    assert models.models[1].catalogued == pytest.approx(common.catalogued)
    assert models.models[2].catalogued == pytest.approx(common.catalogued * 20 / 22, abs=0.03)


def test_partial_labels_and_unused_objects(field):
    candidates = field.candidates(40.0)
    hosts = np.where(np.arange(len(field.host)) % 2 == 0, field.host, UNKNOWN)
    weights = np.ones(len(hosts))
    weights[1000:] = 0.0
    fit = fit_host_model(candidates, TRUE, hosts=hosts, weights=weights)
    assert fit.n_objects == 1000
    assert fit.model.catalogued == pytest.approx(0.7, abs=0.05)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hosts": np.array([0.5] * 3)}, "hosts must be 3 integers"),
        ({"hosts": np.array([0, 1])}, "hosts must be 3 integers"),
        ({"hosts": np.array([0, 1, -3])}, "hosts must be 3 integers"),
        ({"weights": [1, 1]}, "weights must be 3 finite numbers"),
        ({"weights": [1, -1, 1]}, "weights must be 3 finite numbers"),
        ({"weights": [0, 0, 0]}, "at least one covered object"),
    ],
)
def test_learning_refuses(options, message):
    catalog = catalogue(ra=[10.0], dec=[0.0])
    candidates = find_candidates([10.0, 20.0, 30.0], [0.0, 0.0, 0.0], catalog, 10.0)
    with pytest.raises(HostError, match=message):
        fit_host_model(candidates, **options)
    with pytest.raises(HostError, match=r"class_weights must have shape \(3, 2\)"):
        fit_host_classes(candidates, np.ones((3, 3)), ("a", "b"))
