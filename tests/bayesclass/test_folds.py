"""Folds: copies stay together, classes are spread, sizes are equal."""

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from bayesclass.folds import identical_light_curves, stratified_folds
from structurefn.light_curves import LightCurves


@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=80),
    st.integers(2, 6),
    st.integers(0, 100),
)
def test_singles_are_balanced_in_every_class(stratum, n_folds, seed):
    stratum = np.array(stratum)
    fold = stratified_folds(stratum, np.arange(len(stratum)), n_folds, np.random.default_rng(seed))
    assert np.ptp(np.bincount(fold, minlength=n_folds)) <= 1
    for value in np.unique(stratum):
        assert np.ptp(np.bincount(fold[stratum == value], minlength=n_folds)) <= 1


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(0, 100))
def test_groups_stay_together_and_are_balanced(groups, seed):
    groups = np.array(groups)
    fold = stratified_folds(np.zeros(len(groups), int), groups, 3, np.random.default_rng(seed))
    of_group = [set(fold[groups == g]) for g in np.unique(groups)]
    assert all(len(folds) == 1 for folds in of_group)
    assert np.ptp(np.bincount([f for folds in of_group for f in folds], minlength=3)) <= 1


def test_identical_light_curves_share_a_number():
    rng = np.random.default_rng(0)
    one = pd.DataFrame({"mjd": 59000 + np.arange(6.0), "mag": rng.normal(18, 1, 6)}).assign(
        survey="S", band="g"
    )
    brighter = one.assign(mag=one["mag"] - 0.01)
    parts = [("a", one), ("b", one[::-1]), ("c", brighter), ("d", one[:5]), ("e", one)]
    frame = pd.concat([part.assign(object_id=name, mag_err=0.1) for name, part in parts])
    batch = LightCurves.from_frame(frame, object_ids=["a", "b", "c", "d", "e", "empty", "nothing"])
    number = identical_light_curves(batch)
    assert number[0] == number[1] == number[4]
    assert len(set(number.tolist())) == 5
