"""Where a transient lies in a galaxy: directional light radius, and the density of offsets in its units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaincc, gammainccinv, gammaln

# Smaller semi-axes [arcsec] are zeros in disguise: no catalogue measures a microarcsecond of a galaxy.
SMALLEST_AXIS = 1e-6


class HostError(ValueError):
    """A host association that can't be made as asked; the message says what to change."""


def directional_light_radius(major, minor, position_angle, direction) -> np.ndarray:
    r"""Radius of a galaxy's ellipse in the direction of a transient.

    .. math:: \mathrm{DLR} = a \left[(a/b \cdot \sin\phi)^2 + \cos^2\phi\right]^{-1/2}

    Parameters
    ----------
    major, minor : array_like
        Semi-axes a >= b >= 0 [arcsec], of whatever isophote or moment the catalogue uses. `minor` NaN: a
        circle of radius a.
    position_angle : array_like
        Of the major axis, north through east [deg], any real number. NaN: a circle of the same area,
        radius sqrt(a b).
    direction : array_like
        Position angle of the transient seen from the galaxy [deg]; phi is its difference from
        `position_angle`.

    Returns
    -------
    float64 array
        Radius [arcsec]; NaN where an axis is zero (below a microarcsec) or `major` is missing: there is no
        light radius then.

    Raises
    ------
    HostError
        A negative or infinite axis, or minor > major.

    References
    ----------
    Sullivan et al. (2006), ApJ 648, 868; Gupta et al. (2016), AJ 152, 154.
    """
    arrays = (np.asarray(x, dtype=float) for x in (major, minor, position_angle, direction))
    a, b, angle, direction = np.broadcast_arrays(*arrays)
    wrong = wrong_axes(a, b)
    if wrong.any():
        raise HostError(
            f"Semi-axes need 0 <= minor <= major, found major={a[wrong][0]:g}, minor={b[wrong][0]:g} in "
            f"{int(wrong.sum())} rows; correct them, or give NaN where the size is not known."
        )
    a, b, angle = complete_axes(a, b, angle)
    known = (a >= SMALLEST_AXIS) & (b >= SMALLEST_AXIS)
    per_radius = _inverse_radius(np.where(known, a, 1.0), np.where(known, b, 1.0), direction - angle)
    return np.where(known, 1.0 / per_radius, np.nan)


def wrong_axes(major, minor) -> np.ndarray:
    """Return where the axes are no ellipse: negative, infinite, or minor > major."""
    a, b = np.asarray(major, dtype=float), np.asarray(minor, dtype=float)
    return (a < 0) | (b < 0) | np.isinf(a) | np.isinf(b) | (b > a)


def complete_axes(major, minor, position_angle) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Replace what is missing of an ellipse by a circle: of radius a without b, of its area without angle."""
    a = np.asarray(major, dtype=float)
    b = np.where(np.isnan(minor), a, minor)
    round_ = ~np.isfinite(position_angle)
    mean = np.sqrt(a * b)
    return np.where(round_, mean, a), np.where(round_, mean, b), np.where(round_, 0.0, position_angle)


def _inverse_radius(a, b, phi_deg) -> np.ndarray:
    phi = np.deg2rad(phi_deg)
    return np.hypot(np.sin(phi) / b, np.cos(phi) / a)


def normalised_separation(separation, major, minor, phi) -> np.ndarray:
    """Separation over directional light radius, for positive semi-axes; all [arcsec], `phi` [deg]."""
    return np.asarray(separation) * _inverse_radius(major, minor, phi)


@dataclass(frozen=True)
class OffsetDensity:
    r"""Density of the true host's normalised separation d: a gamma law with a core.

    With g a gamma density of shape k and scale t, and core h, the variable :math:`u = \sqrt{d^2 + h^2}` has
    the density g cut off below h. Since u du = d dd, the density per unit area of the sky around a galaxy of
    semi-axes a, b is

    .. math:: f(d) = \frac{g(u)}{2 \pi\, a b\, u \,[1 - G(h)]}, \qquad \int f \, dA = 1,

    because the ellipse of normalised separation d has the area pi a b d^2. It is finite at the centre,
    which a bare gamma law with k < 2 is not. k = 2 is an exponential disc.

    Attributes
    ----------
    shape, scale : float
        k and t of the gamma law, positive. The defaults (median 1.1, 94 % below 4) describe supernovae in
        units of half-light radii; other radii need another scale, which can be learned.
    core : float
        h, positive, in units of d: how well a galaxy has a centre at all.

    Raises
    ------
    HostError
        A parameter that is not positive and finite.
    """

    shape: float = 1.2
    scale: float = 1.25
    core: float = 0.05

    def __post_init__(self) -> None:
        """Check the parameters."""
        for name in ("shape", "scale", "core"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise HostError(f"The {name} of an offset density must be positive, found {value!r}.")

    def log_surface_density(self, d, major, minor) -> np.ndarray:
        """Log of f: probability per square arcsec at normalised separation `d` of semi-axes [arcsec]."""
        u = np.hypot(d, self.core)
        log_gamma = (
            (self.shape - 1) * np.log(u)
            - u / self.scale
            - self.shape * np.log(self.scale)
            - gammaln(self.shape)
        )
        return log_gamma - np.log(2 * np.pi * u) - np.log(self._kept) - np.log(major) - np.log(minor)

    def density(self, d) -> np.ndarray:
        """Density of d itself, which integrates to one over d >= 0."""
        return 2 * np.pi * np.asarray(d) * np.exp(self.log_surface_density(d, 1.0, 1.0))

    def survival(self, d) -> np.ndarray:
        """Probability of a normalised separation beyond `d`."""
        return gammaincc(self.shape, np.hypot(d, self.core) / self.scale) / self._kept

    def quantile(self, probability) -> np.ndarray:
        """Normalised separation below which that probability lies."""
        u = self.scale * gammainccinv(self.shape, (1 - np.asarray(probability)) * self._kept)
        return np.sqrt(np.maximum(u**2 - self.core**2, 0.0))

    def sample(self, rng: np.random.Generator, size) -> np.ndarray:
        """Draw normalised separations."""
        return self.quantile(rng.random(size))

    @property
    def _kept(self) -> float:
        return float(gammaincc(self.shape, self.core / self.scale))

    @property
    def mean_square(self) -> float:
        """Mean of d squared."""
        k, x = self.shape, self.core / self.scale
        return float(self.scale**2 * k * (k + 1) * gammaincc(k + 2, x) / self._kept - self.core**2)

    def widened(self, major, minor, position_error) -> tuple[np.ndarray, np.ndarray]:
        """Semi-axes of the ellipse with which this density has the second moments of its blurred self.

        Along an axis a, the offset's variance is a^2 E[d^2] / 2; an uncertainty s of the relative position,
        per coordinate, adds s^2. So a'^2 = a^2 + 2 s^2 / E[d^2], and likewise for b [arcsec].
        """
        blur = 2 * np.square(position_error) / self.mean_square
        return np.sqrt(np.square(major) + blur), np.sqrt(np.square(minor) + blur)

    def beyond(self, radius, major, minor, weights=None) -> np.ndarray:
        r"""Probability that the true host's centre is farther than `radius` from the transient.

        The mean over galaxies, and over the angle psi around each ellipse, of
        :math:`S(R / \sqrt{a^2\cos^2\psi + b^2\sin^2\psi})` with S the survival function.

        Parameters
        ----------
        radius : array_like
            R [arcsec], any shape; zero gives one.
        major, minor : array_like, shape (n_galaxies,)
            Positive semi-axes of possible hosts [arcsec].
        weights : array_like, shape (n_galaxies,), optional
            How probable each is as a host, up to a factor. Default: equal.
        """
        major, minor = np.asarray(major, dtype=float), np.asarray(minor, dtype=float)
        weights = np.ones(len(major)) if weights is None else np.asarray(weights, dtype=float)
        # Midpoints of a quarter: the rule converges fast, since the integrand is periodic and smooth.
        psi = (np.arange(8) + 0.5) * (np.pi / 16)
        extent = np.hypot(major[:, None] * np.cos(psi), minor[:, None] * np.sin(psi))
        flat, inverse = np.unique(np.asarray(radius, dtype=float).ravel(), return_inverse=True)
        grid = flat if len(flat) <= 64 else np.quantile(flat, np.linspace(0, 1, 64))
        if len(flat) == 0:
            return np.zeros(np.shape(radius))
        share = [weights @ self.survival(r / extent).mean(axis=1) / weights.sum() for r in grid]
        return np.interp(flat, grid, share)[inverse].reshape(np.shape(radius))
