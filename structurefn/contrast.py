"""Magnitudes relative to what an archive shows at the place: how far a source is above its quiet state."""

import numpy as np
import pandas as pd

from structurefn.grids import bin_index
from structurefn.light_curves import LightCurves
from structurefn.streams import Stream

MEASURED, FAINTER = 0, 1


def count_contrast(
    light_curves: LightCurves, stream: Stream, reference: np.ndarray, fainter: np.ndarray
) -> np.ndarray:
    r"""Count each object's magnitudes relative to an archival magnitude, :math:`m - m_\mathrm{ref}`.

    An object counts once, with its median in the channel, because what is seen of one source at many times is
    not many independent contrasts. The row tells whether the reference is a measurement (0) or a limit that
    nothing brighter was found to (1), so that the true contrast is larger.

    Parameters
    ----------
    light_curves : LightCurves
        Magnitudes of n objects. Upper limits are no event.
    stream : Stream
        Of kind "contrast".
    reference : float array, shape (n,)
        Archival magnitude, or the limit [mag]; NaN where nobody looked, which counts nothing.
    fainter : bool array, shape (n,)
        Whether `reference` is a limit.

    Returns
    -------
    float32 array, shape (n, 2, 1, n_columns)
        One event for each object with a reference and a detection in the channel.

    Raises
    ------
    ValueError
        If the stream is of another kind, or a shape does not fit.
    """
    if stream.kind != "contrast":
        raise ValueError(
            f"The stream must be of kind 'contrast', but stream {stream.name!r} is of kind {stream.kind!r}: "
            "count it with count_events."
        )
    n = light_curves.n_objects
    reference, fainter = np.asarray(reference, dtype=np.float64), np.asarray(fainter, dtype=bool)
    if reference.shape != (n,) or fainter.shape != (n,):
        raise ValueError(
            f"reference and fainter must have one entry an object, but reference.shape={reference.shape}, "
            f"fainter.shape={fainter.shape} and there are {n} objects: give shape ({n},)."
        )
    grid = stream.grid
    counts = np.zeros((n, *grid.shape), dtype=np.float32)
    if stream.channels[0] not in light_curves.channels:
        return counts
    code = light_curves.channels.index(stream.channels[0])
    use = (light_curves.channel == code) & ~light_curves.upper_limit
    median = pd.Series(light_curves.value[use]).groupby(light_curves.object_index[use]).median()
    median = median.reindex(range(n)).to_numpy()
    contrast = median - reference
    seen = np.flatnonzero(np.isfinite(contrast))
    column = bin_index(contrast[seen], grid.column_edges)
    counts[seen, np.where(fainter[seen], FAINTER, MEASURED), 0, column] = 1.0
    return counts
