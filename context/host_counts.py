"""How many galaxies lie about by chance: number counts, chance coincidence, and hosts below the limit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import gammainc

from context.host_geometry import HostError

SQUARE_ARCSEC_OF_SKY = 4 * np.pi * np.rad2deg(1.0) ** 2 * 3600**2


@dataclass(frozen=True)
class PowerLawCounts:
    r"""Published counts of galaxies per magnitude and area, a power law of flux.

    .. math::
        \frac{d\sigma}{dm} = 10^{s (m - m_0) + c}, \qquad
        \sigma(\le m) = \frac{1}{s \ln 10} \frac{d\sigma}{dm}

    Attributes
    ----------
    slope, reference, log_density : float
        s [1/mag], m_0 [mag] and c, with d sigma/dm in galaxies per square arcsec and magnitude.
    """

    slope: float
    reference: float
    log_density: float

    def differential(self, magnitude) -> np.ndarray:
        """Galaxies per square arcsec and magnitude."""
        return 10 ** (self.slope * (np.asarray(magnitude, dtype=float) - self.reference) + self.log_density)

    def cumulative(self, magnitude) -> np.ndarray:
        """Galaxies per square arcsec that are as bright as `magnitude` or brighter."""
        return self.differential(magnitude) / (self.slope * np.log(10))


# R-band counts of Hogg et al. (1997), MNRAS 288, 404, in the forms of Bloom, Kulkarni & Djorgovski (2002),
# AJ 123, 1111, and of Berger (2010), ApJ 722, 1946.
BLOOM_2002 = PowerLawCounts(0.334, 22.963, 4.320 - 2 * np.log10(3600.0))
BERGER_2010 = PowerLawCounts(0.33, 24.0, -2.44)


def chance_coincidence(radius, surface_density) -> np.ndarray:
    r"""Probability that an unrelated galaxy lies within a radius, :math:`1 - e^{-\pi r^2 \sigma}`.

    Parameters
    ----------
    radius : array_like
        r [arcsec], non-negative; see `chance_radius`.
    surface_density : array_like
        sigma, galaxies at least as bright as the candidate per square arcsec.

    Returns
    -------
    float64 array
        Accurate for small probabilities, too. NaN where either is.

    Raises
    ------
    HostError
        A negative radius or density.

    References
    ----------
    Bloom, Kulkarni & Djorgovski (2002), AJ 123, 1111, section 6.
    """
    radius, surface_density = np.asarray(radius, dtype=float), np.asarray(surface_density, dtype=float)
    if (radius < 0).any() or (surface_density < 0).any():
        raise HostError("Radii and surface densities can't be negative; found one that is. Check the units.")
    return -np.expm1(-np.pi * radius**2 * surface_density)


def chance_radius(separation, size, position_error=0.0, *, size_factor: float = 2.0) -> np.ndarray:
    r"""Radius that enters the chance coincidence, :math:`\max(\sqrt{r^2 + (2 R)^2},\ 3\sigma)` [arcsec].

    Parameters
    ----------
    separation, size, position_error : array_like
        r, the half-light radius R (NaN: none) and the 1-sigma error of the position [arcsec].
    size_factor : float
        2 for half-light radii; 0 leaves sizes out.

    References
    ----------
    Bloom, Kulkarni & Djorgovski (2002), AJ 123, 1111; Berger (2010), ApJ 722, 1946.
    """
    extent = size_factor * np.nan_to_num(np.asarray(size, dtype=float))
    return np.maximum(np.hypot(separation, extent), 3 * np.asarray(position_error, dtype=float))


@dataclass(frozen=True, eq=False)
class BackgroundCounts:
    """Mean surface density of a catalogue's galaxies in cells of magnitude.

    Attributes
    ----------
    edges : float64 array, shape (n_cells + 1,)
        Ascending magnitudes; fainter and brighter galaxies belong to the outermost cells.
    density : float64 array, shape (n_cells + 1,)
        Galaxies per square arcsec in each cell, and last those without a magnitude. Positive.
    """

    edges: np.ndarray
    density: np.ndarray

    @classmethod
    def from_magnitudes(cls, magnitude, area: float, *, width: float = 0.5) -> BackgroundCounts:
        """Count a catalogue that covers `area` [square arcsec].

        Half a galaxy is added to each cell, and the total then restored, so that no cell is empty. A
        catalogue without galaxies counts as half of one.
        """
        magnitude = np.asarray(magnitude, dtype=float)
        if not (np.isfinite(area) and area > 0):
            raise HostError(
                f"Counting galaxies needs a positive area, found {area!r} square arcsec; see the footprint."
            )
        known = magnitude[np.isfinite(magnitude)]
        low, high = np.quantile(known, [0.005, 1.0]) if len(known) else (0.0, 1.0)
        low, high = width * np.floor(low / width), width * np.ceil(high / width)
        edges = low + width * np.arange(max(round((high - low) / width), 1) + 1)
        found = np.bincount(cls(edges, edges).cell(magnitude), minlength=len(edges)) + 0.5
        return cls(edges, found / found.sum() * max(len(magnitude), 0.5) / area)

    @classmethod
    def from_power_law(
        cls, counts: PowerLawCounts, edges, *, missing_fraction: float = 0.0
    ) -> BackgroundCounts:
        """Take published counts down to the last edge, the catalogue's limit.

        A galaxy without a magnitude, `missing_fraction` of all, gets the average: its density is that share
        of the total.
        """
        edges = np.asarray(edges, dtype=float)
        cumulative = counts.cumulative(edges)
        cumulative[0] = 0.0
        # The smallest float keeps the logarithm of an empty last cell finite.
        missing = max(missing_fraction, np.finfo(float).tiny)
        return cls(edges, np.append(np.diff(cumulative) * (1 - missing_fraction), cumulative[-1] * missing))

    def cell(self, magnitude) -> np.ndarray:
        """Index of each magnitude's cell, n_cells where it is missing."""
        magnitude = np.asarray(magnitude, dtype=float)
        inside = np.clip(np.searchsorted(self.edges, magnitude, side="right") - 1, 0, len(self.edges) - 2)
        return np.where(np.isfinite(magnitude), inside, len(self.edges) - 1)

    def cumulative(self, magnitude) -> np.ndarray:
        """Galaxies per square arcsec in the cell of `magnitude` and brighter ones; all where it is missing.

        Whole cells, so that a chance coincidence is rather too large than too small.
        """
        return np.cumsum(self.density)[self.cell(magnitude)]

    @property
    def total(self) -> float:
        """Galaxies per square arcsec."""
        return float(np.cumsum(self.density)[-1])

    def host_fractions(self, luminosity_weight: float) -> np.ndarray:
        r"""Distribution of hosts over the cells, q, where each galaxy counts as its flux to a power.

        .. math:: q_m \propto n_m 10^{-0.4 \eta m}

        for eta = `luminosity_weight`; galaxies without a magnitude keep their share.
        """
        middle = (self.edges[:-1] + self.edges[1:]) / 2
        known = self.density[:-1] * 10 ** (-0.4 * luminosity_weight * (middle - middle.mean()))
        missing = self.density[-1] / self.total
        return np.append(known / known.sum() * (1 - missing), missing)


def faint_host_fraction(
    magnitude_limit, redshift, *, characteristic_magnitude: float = -21.2, slope: float = -1.05
) -> np.ndarray:
    r"""Share of hosts below a catalogue's limit, if hosts are drawn by luminosity from a Schechter function.

    .. math::
        P = \frac{\gamma(\alpha + 2, x)}{\Gamma(\alpha + 2)}, \qquad
        x = 10^{0.4 [M_* + \mu(z) - m_\mathrm{lim}]}

    Parameters
    ----------
    magnitude_limit : array_like
        m_lim [mag], corrected for extinction.
    redshift : array_like
        Positive, broadcast with the limit; the distance modulus mu is that of Planck18. No K correction.
        Average the result over draws of the redshift where that is uncertain.
    characteristic_magnitude, slope : float
        M_* and alpha > -2 of the luminosity function. Defaults: r band, Blanton et al. (2003), ApJ 592, 819,
        for h = 0.7.

    Returns
    -------
    float64 array
        To be given to `HostModel.associate` as `too_faint`. NaN where an argument is.
    """
    from astropy.cosmology import Planck18

    limit, redshift = np.broadcast_arrays(np.asarray(magnitude_limit, float), np.asarray(redshift, float))
    if (redshift <= 0).any() or slope <= -2:
        raise HostError("Redshifts must be positive and the slope above -2; found one that is not.")
    known = np.isfinite(redshift)
    modulus = np.full(redshift.shape, np.nan)
    modulus[known] = Planck18.distmod(redshift[known]).value
    return gammainc(slope + 2, 10 ** (0.4 * (characteristic_magnitude + modulus - limit)))
