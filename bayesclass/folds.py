"""Folds that keep versions and copies of an object together, stratified by class."""

import hashlib

import numpy as np

from structurefn.light_curves import LightCurves


def identical_light_curves(light_curves: LightCurves) -> np.ndarray:
    """Give equal light curves (times and values) one number, shape (n_objects,); empty ones their own."""
    numbers: dict[bytes, int] = {}
    groups = np.empty(light_curves.n_objects, dtype=np.int64)
    for i, (start, stop) in enumerate(zip(light_curves.offset[:-1], light_curves.offset[1:], strict=True)):
        key = light_curves.object_id[i].encode()
        if stop > start:
            points = light_curves.time[start:stop].tobytes() + light_curves.value[start:stop].tobytes()
            key = hashlib.sha256(points).digest()
        groups[i] = numbers.setdefault(key, len(numbers))
    return groups


def stratified_folds(
    stratum: np.ndarray, groups: np.ndarray, n_folds: int, rng: np.random.Generator
) -> np.ndarray:
    """Assign whole groups to folds, the members of each stratum spread evenly.

    Parameters
    ----------
    stratum : ndarray, shape (n,)
        Class index, or any number for partial labels.
    groups : ndarray of int, shape (n,)
        Objects that must share a fold.
    n_folds : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of int, shape (n,)
    """
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    fold_of_group = np.empty(len(first), dtype=np.int64)
    start = 0
    for value in np.unique(stratum[first]):
        members = np.flatnonzero(stratum[first] == value)
        # Each class begins where the last ended, so that folds stay equally large.
        fold_of_group[rng.permutation(members)] = (start + np.arange(len(members))) % n_folds
        start += len(members)
    return fold_of_group[inverse]
