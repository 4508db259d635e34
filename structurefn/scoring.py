"""Log-likelihoods of light curves straight from points: counts are made and used block by block."""

from collections.abc import Mapping, Sequence

import numpy as np

from structurefn.counting import Selections, counted_blocks
from structurefn.density import Density
from structurefn.light_curves import LightCurves
from structurefn.likelihood import log_likelihood
from structurefn.streams import Stream

__all__ = ["stream_log_likelihood"]

BLOCK = 2**14


def stream_log_likelihood(
    light_curves: LightCurves,
    streams: Sequence[Stream],
    densities: Mapping[str, Density],
    *,
    night: float = 0.0,
    weights: Mapping[str, np.ndarray] | None = None,
    block: int = BLOCK,
) -> np.ndarray:
    r"""Log-likelihood of each class, summed over streams.

    .. math:: \ell_{ic} = \sum_s w_{is} \sum_{rej} N_{isrej} \log p_{csrej}

    with the counts N of `structurefn.counting.count_events` and each stream's densities. The memory used does
    not grow with the number of objects, beyond the batch and the result themselves.

    Parameters
    ----------
    light_curves : LightCurves
        Magnitudes. Upper limits are no event.
    streams : sequence of Stream
    densities : mapping of str to Density
        Stream's name -> density, all of the same C classes. Others than those of `streams` are not used.
    night : float
        Longest gap within a night [day], for streams with `nightly`.
    weights : mapping of str to float array of shape (n_objects,), optional
        Stream's name -> factor w of each object's log-likelihood, for example 2/n for pairs, which share
        points (see `structurefn.likelihood.log_likelihood`); one by default.
    block : int
        Number of objects that are selected and sorted together, positive.

    Returns
    -------
    float64 array, shape (n_objects, C)
        Zero for an object without events.

    Raises
    ------
    ValueError
        If there is no stream, a stream has no density, numbers of classes or shapes differ, or `block` is not
        positive.
    """
    n_classes = _checked(light_curves, streams, densities, weights or {}, block)
    total = np.zeros((light_curves.n_objects, n_classes))
    for start in range(0, light_curves.n_objects, block):
        end = min(start + block, light_curves.n_objects)
        part = light_curves
        if end - start < light_curves.n_objects:
            part = light_curves.take_objects(np.arange(start, end))
        source = Selections(part, night)
        for stream in streams:
            factor = None if weights is None else weights.get(stream.name)
            for index, counts in counted_blocks(source, stream):
                here = start + index
                own = None if factor is None else np.asarray(factor)[here]
                total[here] += log_likelihood(counts, densities[stream.name], own)
    return total


def _checked(light_curves, streams, densities, weights, block) -> int:
    """Return the number of classes."""
    if not streams or block < 1:
        raise ValueError(
            f"At least one stream and a positive block are needed, but there are {len(streams)} streams and "
            f"block={block}: give what is to be scored."
        )
    missing = [stream.name for stream in streams if stream.name not in densities]
    if missing:
        raise ValueError(
            f"Every stream needs a density, but {missing} have none among {sorted(densities)}: fit one for "
            "each, or leave the stream out."
        )
    n_classes = {stream.name: densities[stream.name].n_classes for stream in streams}
    if len(set(n_classes.values())) > 1:
        raise ValueError(
            f"Densities must be of the same classes, but their numbers are {n_classes}: fit all with one "
            "membership."
        )
    for name, factor in weights.items():
        if np.shape(factor) != (light_curves.n_objects,):
            raise ValueError(
                f"weights must have one number an object, but those of stream {name!r} have shape "
                f"{np.shape(factor)}: give shape ({light_curves.n_objects},)."
            )
    return next(iter(n_classes.values()))
