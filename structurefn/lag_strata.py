"""Which pairs of a light curve are counted: all of a short one, a weighted sample of a long one.

The number of pairs grows as the square of the number of points. Up to `EXACT` points all are counted. Each
later point is paired with the `NEAREST` points before it, and beyond those with one point from each stratum
of the shift (how many points back), which stands for the whole stratum. Strata are log-spaced, so that long
lags, of which there are many pairs, are thinned most, and the number of pairs grows as n log n.

The list does not depend on the light curve: that of n points is the beginning of that of n + 1 points.
"""

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

EXACT = 128
NEAREST = 16
# Strata in a factor of two of the shift.
PER_OCTAVE = 4
# Irrational steps spread the draws of neighbouring points, and of neighbouring strata, evenly over a stratum,
# out of step with exposures that come in bursts of a fixed number.
_STEP_POINT, _STEP_STRATUM = 0.6180339887498949, 0.4142135623730951


class PairList(NamedTuple):
    """Pairs of points of one light curve, ascending in the later point."""

    earlier: np.ndarray  # (n_pairs,) int32, position in the light curve
    later: np.ndarray  # (n_pairs,) int32
    weight: np.ndarray  # (n_pairs,) float32, the number of pairs that this one stands for


@lru_cache(maxsize=1024)
def pair_list(n_points: int) -> PairList:
    r"""List the pairs that are counted of a light curve, with their weights.

    A point j is paired with all points before it if j < 128 or their shift is at most 16. The others, of
    shifts :math:`k` up to j, are divided at :math:`17 \cdot 2^{m/4}` into strata. One shift

    .. math:: k = a + \lfloor w \, \mathrm{frac}(\varphi j + \sqrt{2} s) \rfloor

    is taken from stratum s, which begins at a and has w shifts, and has the weight w. The weights of each
    point's pairs sum to j, so those of all pairs sum to n (n - 1) / 2 exactly; over many points every pair
    is taken as often as its weight says.

    Parameters
    ----------
    n_points : int
        Number of points n, not negative.

    Returns
    -------
    PairList
        Read-only views. All n (n - 1) / 2 pairs with weight one for up to 128 points.

    Notes
    -----
    Cost: 8,128 pairs for 128 points, 40,000 for 1,000 points, then 36 to 50 for each point.
    """
    capacity = EXACT
    while capacity < n_points:
        capacity *= 2
    pairs = _list(capacity)
    end = np.searchsorted(pairs.later, n_points)
    return PairList(*(part[:end] for part in pairs))


@lru_cache(maxsize=8)
def _list(n_points: int) -> PairList:
    earlier, later = np.triu_indices(min(n_points, EXACT), 1)
    parts = [(earlier, later, np.ones(len(later)))]
    late = np.arange(EXACT, n_points)
    for shift in range(1, NEAREST + 1):
        parts.append((late - shift, late, np.ones(len(late))))
    for stratum, (begin, end) in enumerate(_strata(n_points)):
        points = late[late >= begin]
        width = np.minimum(end, points + 1) - begin
        place = np.modf(points * _STEP_POINT + stratum * _STEP_STRATUM)[0]
        shift = begin + np.floor(place * width).astype(np.int64)
        parts.append((points - shift, points, width))
    earlier, later, weight = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.lexsort((earlier, later))
    pairs = PairList(
        earlier[order].astype(np.int32), later[order].astype(np.int32), weight[order].astype(np.float32)
    )
    for part in pairs:
        part.setflags(write=False)
    return pairs


def _strata(n_points: int) -> list[tuple[int, int]]:
    """First shift of each stratum and the first beyond it, up to shift n_points - 1."""
    first = NEAREST + 1
    n_edges = int(np.ceil(PER_OCTAVE * np.log2(max(n_points, first) / first))) + 2
    edges = np.unique(np.round(first * 2 ** (np.arange(n_edges) / PER_OCTAVE)).astype(np.int64))
    return [(int(a), int(b)) for a, b in pairwise(edges) if a < n_points]
