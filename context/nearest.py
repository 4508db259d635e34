r"""Is the nearest catalogued source the counterpart, or chance? Its likelihood given the local density.

A source of class c has a counterpart in a catalogue with probability a. The counterpart's offset is Gaussian
with scatter s on each axis, so its distance follows a Rayleigh law. Unrelated sources are a Poisson field of
density rho. The nearest of all, within a search radius R, is then at r with

.. math::

    p(r) = e^{-\pi\rho r^2} \left\{ a \frac{r}{s^2} e^{-r^2/2s^2}
           + \left[1 - a + a e^{-r^2/2s^2}\right] 2\pi\rho r \right\},
    \qquad
    P(\text{none}) = \left[1 - a + a e^{-R^2/2s^2}\right] e^{-\pi\rho R^2},

where p integrated over r < R and P(none) sum to one exactly. As rho is measured around each position, what
is learned in sparse fields holds in crowded ones.
"""

from __future__ import annotations

import numpy as np

__all__ = ["ARCSEC2_PER_ARCMIN2", "NearestError", "log_nearest", "match_probability"]

ARCSEC2_PER_ARCMIN2 = 3600.0


class NearestError(ValueError):
    """A separation, density or parameter that can't be used; the message says which."""


def log_nearest(
    separation, density, found, covered, probability, scatter, radius, position_error=0.0
) -> np.ndarray:
    r"""Log-likelihood of the nearest source of every object under every class.

    Parameters
    ----------
    separation : array_like, shape (n_objects,)
        Distance to the nearest source [arcsec]; not looked at where none was found.
    density : array_like, shape (n_objects,) or ()
        Local density of unrelated sources [arcsec^-2]. Zero is allowed: what is found is the counterpart.
    found, covered : array_like of bool, shape (n_objects,)
        Whether a source was found within `radius`, and whether the catalogue covers the position.
    probability : array_like, shape (n_classes,)
        Probability a that the class has a counterpart in the catalogue, in [0, 1].
    scatter : array_like, shape (n_classes,) or ()
        Scatter s of the counterpart's offset, 1 sigma on each axis [arcsec], positive.
    radius : float or array_like, shape (n_objects,)
        Search radius R [arcsec].
    position_error : array_like, shape (n_objects,) or ()
        Error of object and source together, 1 sigma on each axis [arcsec], added to s in quadrature.

    Returns
    -------
    float64 array, shape (n_objects, n_classes)
        Where found, the density per unit area, log p(r)/(2 pi r) [log arcsec^-2]: the factor 2 pi r is
        the same for all classes, and without it r = 0 is an ordinary separation. Where searched without
        result, log P(none). Exactly zero where the position is not covered. Minus infinity only for
        something found without density and with a = 0, which can't be.

    Raises
    ------
    NearestError
        A parameter outside its range, a separation that is negative, missing or beyond the radius where
        something was found, or a density that is negative or missing at a covered position.
    """
    given = _Given(separation, density, found, covered, probability, scatter, radius, position_error)
    with np.errstate(divide="ignore"):
        counterpart, chance = given.terms()
    return np.where(given.covered, np.logaddexp(counterpart, chance), 0.0)


def match_probability(
    separation, density, found, covered, probability, scatter, radius, position_error=0.0
) -> np.ndarray:
    """Posterior probability, given the class, that the nearest source is the counterpart.

    Parameters are as of `log_nearest`.

    Returns
    -------
    float64 array, shape (n_objects, n_classes)
        Zero where searched without result, NaN where the position is not covered.

    Raises
    ------
    NearestError
        As `log_nearest`.
    """
    given = _Given(separation, density, found, covered, probability, scatter, radius, position_error)
    with np.errstate(divide="ignore"):
        counterpart, chance = given.terms()
        total = np.logaddexp(counterpart, chance)
    # Impossible under the class: no share of the two.
    share = np.exp(counterpart - np.where(np.isneginf(total), 0.0, total))
    share = np.where(given.found, share, 0.0)
    return np.where(given.covered, share, np.nan)


class _Given:
    """Checked inputs, broadcast to (n_objects, n_classes) or (n_objects, 1)."""

    def __init__(self, separation, density, found, covered, probability, scatter, radius, position_error):
        self.covered = np.asarray(covered, dtype=bool).reshape(-1, 1)
        n = len(self.covered)
        self.found = _column("found", found, n).astype(bool) & self.covered
        self.probability = np.atleast_1d(np.asarray(probability, dtype=float))
        scatter = np.atleast_1d(np.asarray(scatter, dtype=float))
        if not ((self.probability >= 0) & (self.probability <= 1)).all():
            raise NearestError(
                f"Probabilities of a counterpart must be in [0, 1], found {self.probability.tolist()}."
            )
        if not (np.isfinite(scatter) & (scatter > 0)).all():
            raise NearestError(f"Scatters must be positive and finite, in arcsec, found {scatter.tolist()}.")
        radius = _column("radius", radius, n).astype(float)
        if not (np.isfinite(radius) & (radius > 0)).all():
            raise NearestError("The search radius must be positive and finite, in arcsec; give the one used.")
        error = _column("position_error", position_error, n).astype(float)
        self._refuse(self.covered & ~(error >= 0), error, "Position errors must be zero or more, in arcsec")
        density = _column("density", density, n).astype(float)
        wrong = self.covered & ~((density >= 0) & np.isfinite(density))
        self._refuse(wrong, density, "Densities at covered positions must be zero or more and finite")
        separation = _column("separation", separation, n).astype(float)
        # Separations that were rounded for a table may pass the radius by a little.
        wrong = self.found & ~((separation >= 0) & (separation <= radius * (1 + 1e-6)))
        self._refuse(wrong, separation, "Separations of what was found must be between zero and the radius")
        # Values that do not count are made harmless before any formula sees them.
        self.reach = np.where(self.found, separation, radius)
        self.density = np.where(self.covered, density, 0.0)
        self.scatter2 = scatter**2 + np.where(self.covered, error, 0.0) ** 2

    @staticmethod
    def _refuse(wrong: np.ndarray, value: np.ndarray, rule: str):
        if wrong.any():
            row = int(np.argmax(wrong[:, 0]))
            raise NearestError(f"{rule}, found {float(value[row, 0]):g} in row {row} (counted from 0).")

    def terms(self) -> tuple[np.ndarray, np.ndarray]:
        """Log terms of "the nearest is the counterpart" and "it is not"; the first is -inf where none."""
        half = self.reach**2 / (2 * self.scatter2)
        with np.errstate(under="ignore"):
            # log(1 - a + a e^-x) without cancellation at either end.
            beyond = np.logaddexp(np.log1p(-self.probability), np.log(self.probability) - half)
        field = -np.pi * self.density * self.reach**2
        counterpart = np.log(self.probability) - np.log(2 * np.pi * self.scatter2) - half + field
        chance = beyond + np.where(self.found, np.log(self.density), 0.0) + field
        return np.where(self.found, counterpart, -np.inf), chance


def _column(name: str, value, n: int) -> np.ndarray:
    """Values of all objects as a column (n, 1), from an array or one value for all."""
    value = np.asarray(value)
    if value.shape not in ((), (1,), (n,)):
        raise NearestError(f"{name} must have shape ({n},), one value an object, found {value.shape}.")
    return np.broadcast_to(value.reshape(-1, 1), (n, 1))
