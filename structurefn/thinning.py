"""Random thinnings and truncations, so that a fit learns the light curve and not the cadence."""

from collections.abc import Sequence

import numpy as np

from structurefn.light_curves import LightCurves


def thinned_versions(
    light_curves: LightCurves,
    rng: np.random.Generator,
    *,
    versions: int = 5,
    min_points: int = 3,
    max_points: int = 120,
    sparse: Sequence[int] = (),
) -> tuple[LightCurves, np.ndarray]:
    """Every object at full length, and thinned or truncated at random.

    A version keeps k points, log-uniform between the bounds: half of the versions at random (a thinner
    cadence), a quarter the first k (a young source), a quarter k in a row (a short campaign). A k
    that the object does not exceed gives no version, so short curves have fewer.

    Parameters
    ----------
    light_curves : LightCurves
    rng : numpy.random.Generator
    versions : int
        Thinned versions an object, at most.
    min_points, max_points : int
        Bounds of k, at least 1.
    sparse : sequence of int
        Numbers of points of further versions, chosen at random, one each of every object that has more.

    Returns
    -------
    LightCurves
        The objects in their order, then the thinned versions, then the sparse ones.
    ndarray of int, shape (n_versions_in_all,)
        Index of the object that each is a version of.
    """
    count = np.diff(light_curves.offset)
    n = light_curves.n_objects
    kept = np.exp(rng.uniform(np.log(min_points), np.log(max_points + 1), size=(versions, n))).astype(int)
    mode = rng.choice(3, size=(versions, n), p=[0.5, 0.25, 0.25])
    version, owner = np.nonzero(kept < count)
    kept, mode = kept[version, owner], mode[version, owner]
    repeated = light_curves.take_objects(owner)
    length = count[owner]
    point_owner = repeated.object_index
    position = np.arange(repeated.n_points) - repeated.offset[point_owner]
    # Rank of a random number within the object: the points of lowest rank are a random subset.
    shuffled = np.lexsort((rng.random(repeated.n_points), point_owner))
    rank = np.empty(repeated.n_points, dtype=np.int64)
    rank[shuffled] = position
    start = np.floor(rng.random(len(owner)) * (length - kept + 1)).astype(int)
    start = np.where(mode == 2, start, 0)
    in_row = (position >= start[point_owner]) & (position < (start + kept)[point_owner])
    keep = np.where(mode[point_owner] == 0, rank < kept[point_owner], in_row)
    joined, owners = join_versions(light_curves, repeated.keep_points(keep)), [np.arange(n), owner]
    for n_points in sparse:
        owners.append(np.flatnonzero(count > n_points))
        joined = join_versions(joined, thin_to(light_curves.take_objects(owners[-1]), n_points, rng))
    return joined, np.concatenate(owners)


def thin_to(light_curves: LightCurves, n_points: int, rng: np.random.Generator) -> LightCurves:
    """Keep at most `n_points` of each object's points, chosen at random."""
    owner = light_curves.object_index
    shuffled = np.lexsort((rng.random(light_curves.n_points), owner))
    rank = np.empty(light_curves.n_points, dtype=np.int64)
    rank[shuffled] = np.arange(light_curves.n_points) - light_curves.offset[owner]
    return light_curves.keep_points(rank < n_points)


def join_versions(first: LightCurves, second: LightCurves) -> LightCurves:
    """Both one after the other; versions of an object share its identifier."""
    leaves = ("time", "value", "error", "channel", "upper_limit", "object_id")
    joined = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in leaves}
    return LightCurves(
        **joined,
        offset=np.concatenate([first.offset, first.offset[-1] + second.offset[1:]]),
        channels=first.channels,
        quantity=first.quantity,
        set_aside=first.set_aside,
    )
