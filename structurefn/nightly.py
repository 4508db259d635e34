"""Exposures of one night averaged: in surveys that observe in bursts, neighbours are only noise."""

import numpy as np

from structurefn.light_curves import LightCurves


def nightly_means(light_curves: LightCurves, night: float) -> LightCurves:
    r"""Average the detections of a channel that follow each other within a night.

    A group begins where the gap to the previous detection of the same object and channel exceeds `night`.
    Weights are :math:`w = s^{-2}`, so the mean has error :math:`(\sum w)^{-1/2}`; times are averaged
    with the same weights. Upper limits are left as they are.

    Parameters
    ----------
    light_curves : LightCurves
    night : float
        Longest gap within a group [day]; 0 or less returns the batch unchanged.

    Returns
    -------
    LightCurves
        The same objects, with at most as many points.
    """
    if night <= 0 or light_curves.n_points == 0:
        return light_curves
    owner = light_curves.object_index
    # Limits form groups of their own: nothing is averaged across or among them.
    order = np.lexsort((light_curves.time, light_curves.upper_limit, light_curves.channel, owner))
    time, channel = light_curves.time[order], light_curves.channel[order]
    limit, owner = light_curves.upper_limit[order], owner[order]
    starts = np.ones(len(order), dtype=bool)
    starts[1:] = (
        (np.diff(owner) != 0)
        | (np.diff(channel) != 0)
        | (np.diff(time) > night)
        | limit[1:]
        | (limit[1:] != limit[:-1])
    )
    first = np.flatnonzero(starts)
    weight = np.where(limit, 1.0, 1.0 / np.where(limit, 1.0, light_curves.error[order]) ** 2)
    total = np.add.reduceat(weight, first)
    origin = time[first]
    group = np.cumsum(starts) - 1
    mean_time = origin + np.add.reduceat(weight * (time - origin[group]), first) / total
    mean_value = np.add.reduceat(weight * light_curves.value[order], first) / total
    error = np.where(limit[first], np.nan, total**-0.5)
    again = np.lexsort((mean_value, channel[first], mean_time, owner[first]))
    count = np.bincount(owner[first], minlength=light_curves.n_objects)
    return LightCurves(
        object_id=light_curves.object_id,
        offset=np.concatenate([[0], np.cumsum(count)]),
        time=mean_time[again],
        value=mean_value[again],
        error=error[again],
        channel=channel[first][again],
        upper_limit=limit[first][again],
        channels=light_curves.channels,
        quantity=light_curves.quantity,
        set_aside=light_curves.set_aside,
    )
