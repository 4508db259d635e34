"""Fluxes, negative ones included, as asinh magnitudes with their errors."""

import numpy as np

from structurefn.light_curves import LightCurves

POGSON = 2.5 / np.log(10.0)
ZERO_POINT = 27.5


def channel_softening(light_curves: LightCurves) -> dict[str, float]:
    """Median flux error of each channel: the flux below which an asinh magnitude is linear."""
    softening = {}
    for code, name in enumerate(light_curves.channels):
        error = light_curves.error[(light_curves.channel == code) & ~light_curves.upper_limit]
        if len(error):
            softening[name] = float(np.median(error))
    return softening


def as_magnitudes(light_curves: LightCurves, softening: dict[str, float]) -> LightCurves:
    r"""Asinh magnitudes of a batch of fluxes; a batch of magnitudes is returned unchanged.

    .. math:: m = z - \frac{2.5}{\ln 10} \left[\mathrm{asinh}\frac{f}{2b} + \ln b\right], \qquad
              s_m = \frac{2.5}{\ln 10} \frac{s_f}{\sqrt{f^2 + 4 b^2}}

    with z = 27.5 and b the channel's softening [flux]. For f much above b it is the usual magnitude; at
    zero and below it stays finite and monotonic, so that faint points are kept.

    Parameters
    ----------
    light_curves : LightCurves
    softening : dict of str to float
        Channel -> b, positive. A channel without one takes the mean of the others.

    Returns
    -------
    LightCurves
        With quantity "mag".

    References
    ----------
    Lupton, Gunn & Szalay (1999), AJ 118, 1406, Eq. 3, here with natural logarithms of flux.
    """
    if light_curves.quantity == "mag":
        return light_curves
    usual = float(np.mean(list(softening.values()))) if softening else 1.0
    table = np.array([softening.get(name, usual) for name in light_curves.channels] or [usual])
    b = table[light_curves.channel]
    flux = light_curves.value
    value = ZERO_POINT - POGSON * (np.arcsinh(flux / (2.0 * b)) + np.log(b))
    error = POGSON * light_curves.error / np.sqrt(flux**2 + 4.0 * b**2)
    return LightCurves(**(light_curves.__dict__ | {"value": value, "error": error, "quantity": "mag"}))


def with_systematic(light_curves: LightCurves, systematic: float) -> LightCurves:
    r"""Add a systematic error to every error, :math:`s^2 \leftarrow s^2 + s_\mathrm{sys}^2`.

    Parameters
    ----------
    light_curves : LightCurves
        Magnitudes.
    systematic : float
        Not negative [mag]; zero returns the batch unchanged.

    Returns
    -------
    LightCurves

    Raises
    ------
    ValueError
        If `systematic` is negative or not finite, or the batch holds fluxes.
    """
    if not (np.isfinite(systematic) and systematic >= 0):
        raise ValueError(f"systematic must be finite and not negative, but it is {systematic!r}: give mag.")
    if light_curves.quantity != "mag":
        raise ValueError(
            f"A systematic error is in magnitudes, but the batch holds {light_curves.quantity}: use "
            "as_magnitudes first."
        )
    if systematic == 0:
        return light_curves
    return LightCurves(**(light_curves.__dict__ | {"error": np.hypot(light_curves.error, systematic)}))
