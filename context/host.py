"""Host galaxies: a posterior over the catalogued candidates, and over hosts that the catalogue can't show."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace

import numpy as np

from context.host_association import HostAssociation
from context.host_candidates import HostCandidates, find_candidates
from context.host_counts import (
    BERGER_2010,
    BackgroundCounts,
    PowerLawCounts,
    chance_coincidence,
    chance_radius,
)
from context.host_geometry import HostError, OffsetDensity, normalised_separation

__all__ = ["HostModel", "host_posterior"]


def host_posterior(query, log_weight, log_other) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normalise the weights of candidates and of the other outcomes, object by object.

    Parameters
    ----------
    query : int array, shape (n_candidates,)
        Object of each candidate, in any order.
    log_weight : array, shape (n_candidates,)
        Log of prior times likelihood of each candidate.
    log_other : array, shape (n_objects, n_other)
        The same of the other outcomes.

    Returns
    -------
    candidates : shape (n_candidates,)
        Probabilities.
    other : shape (n_objects, n_other)
        Probabilities; with the candidates' they sum to one for each object.
    log_total : shape (n_objects,)
        Log of the sum of the weights.
    """
    top = log_other.max(axis=1)
    np.maximum.at(top, query, log_weight)
    # A likelihood of zero everywhere has no posterior: -inf - -inf is NaN, silently, by contract.
    with np.errstate(invalid="ignore"):
        weight = np.exp(log_weight - top[query])
        other = np.exp(log_other - top[:, None])
    total = other.sum(axis=1) + np.bincount(query, weight, minlength=len(top))
    return weight / total[query], other / total[:, None], top + np.log(total)


@dataclass(frozen=True, eq=False)
class HostModel:
    r"""Prior and densities of the host galaxy of a transient; the posterior over its candidates.

    With Q the prior probability of a catalogued host, q_m the distribution of such hosts over cells of
    magnitude, f the density of their offsets per unit area and n_m the surface density of all galaxies in
    that cell,

    .. math::
        P_j = \frac{Q\, q_{m_j} f_j / n_{m_j}}{Q \sum_k q_{m_k} f_k / n_{m_k} + Q P_\mathrm{out} + (1 - Q)}

    is the probability of candidate j (Sutherland & Saunders 1992, MNRAS 259, 413), Q P_out over the same sum
    that of a host outside the radius, and 1 - Q is split into hosts below the catalogue's limit and none.
    Positions alone can't tell the last two apart: their ratio stays that of the prior.

    Attributes
    ----------
    offset : OffsetDensity
    catalogued : float
        Q, in (0, 1).
    hostless : float
        Prior probability of no galaxy at all (a star, for one), in [0, 1 - Q].
    luminosity_weight : float
        Where `host_fractions` are not learned, q_m is proportional to n_m 10^(-0.4 w m).
    background : BackgroundCounts, optional
        Default: counted in the catalogue.
    host_fractions : array, shape (n_cells + 1,), optional
        q_m over the cells of `background`, which must be given with it.
    chance_counts : PowerLawCounts, optional
        For `host_pcc`. None: the catalogue's counts around the position.
    chance_size : float
        Radii of the galaxy that enter the radius of `host_pcc`; 2 for half-light radii.
    """

    offset: OffsetDensity = field(default_factory=OffsetDensity)
    catalogued: float = 0.75
    hostless: float = 0.05
    luminosity_weight: float = 0.8
    background: BackgroundCounts | None = None
    host_fractions: np.ndarray | None = None
    chance_counts: PowerLawCounts | None = BERGER_2010
    chance_size: float = 2.0

    def __post_init__(self) -> None:
        """Check the prior."""
        if not (0 < self.catalogued < 1 and 0 <= self.hostless <= 1 - self.catalogued + 1e-12):
            raise HostError(
                "Prior probabilities need 0 < catalogued < 1 and 0 <= hostless <= 1 - catalogued, found "
                f"catalogued={self.catalogued!r}, hostless={self.hostless!r}."
            )
        if self.host_fractions is not None:
            if self.background is None or len(self.host_fractions) != len(self.background.density):
                raise HostError("host_fractions need the background whose cells they are for, one each.")
            q = np.asarray(self.host_fractions)
            if not ((q > 0).all() and np.isclose(q.sum(), 1)):
                raise HostError("host_fractions must be positive and sum to one.")

    def associate(
        self, ra, dec, catalog, radius, position_error=0.0, *, too_faint=None, **options
    ) -> HostAssociation:
        """Find the hosts of transients in a catalogue.

        Parameters
        ----------
        ra, dec, catalog, radius, position_error, **options
            As of `find_candidates`.
        too_faint : array_like, shape (n_objects,), optional
            Probability that an existing host is below the catalogue's limit, object by object (see
            `faint_host_fraction`); NaN takes the model's. Then Q = (1 - hostless) (1 - too_faint).

        Returns
        -------
        HostAssociation
        """
        options = {"background": self.background, **options}
        return self.posterior(
            find_candidates(ra, dec, catalog, radius, position_error, **options), too_faint=too_faint
        )

    def posterior(self, candidates: HostCandidates, *, too_faint=None) -> HostAssociation:
        """Probabilities of all outcomes for candidates at hand; see `associate`."""
        ratio, log_prior = self.log_ratio(candidates), self._log_prior(candidates.n_objects, too_faint)
        log_other = log_prior[:, 1:].copy()
        log_other[:, 1] += self._log_outside(candidates)
        of_candidates, other, _ = host_posterior(
            candidates.query, ratio + log_prior[candidates.query, 0], log_other
        )
        other[~candidates.known] = np.nan
        of_candidates = np.where(candidates.known[candidates.query], of_candidates, np.nan)
        chance = self._chance_coincidence(candidates)
        return HostAssociation(candidates, of_candidates, chance, *other.T)

    def log_likelihood(self, candidates: HostCandidates) -> np.ndarray:
        """Log-density of each object's neighbourhood over that of a place without a transient, (n_objects,).

        log[(1 - Q) + Q P_out + Q sum q f / n]; zero where the posterior is not known.
        """
        log_prior = self._log_prior(candidates.n_objects, None)
        log_other = log_prior[:, 1:].copy()
        log_other[:, 1] += self._log_outside(candidates)
        _, _, total = host_posterior(
            candidates.query, self.log_ratio(candidates) + log_prior[candidates.query, 0], log_other
        )
        return np.where(candidates.known, total, 0.0)

    def log_ratio(self, candidates: HostCandidates) -> np.ndarray:
        """Log of q f / n of each candidate, shape (n_candidates,)."""
        c = candidates
        background = self.background or c.background
        cell = background.cell(c.magnitude)
        major, minor = self.offset.widened(c.major, c.minor, c.position_error)
        d = normalised_separation(c.separation, major, minor, c.phi)
        log_q_n = np.log(self.fractions(background) / background.density)[cell] - np.log(c.crowding)
        return log_q_n + self.offset.log_surface_density(d, major, minor)

    def fractions(self, background: BackgroundCounts) -> np.ndarray:
        """Distribution q of hosts over the cells of magnitude."""
        if self.host_fractions is not None:
            return np.asarray(self.host_fractions, dtype=float)
        return background.host_fractions(self.luminosity_weight)

    def outside(self, candidates: HostCandidates) -> np.ndarray:
        """Probability that a catalogued host lies beyond the radius, a mean over sizes; (n_objects,)."""
        weights = self.size_weights(candidates)
        return self.offset.beyond(candidates.radius, *candidates.sizes[:, :2].T, weights)

    def size_weights(self, candidates: HostCandidates) -> np.ndarray:
        """How probable each of `candidates.sizes` is as that of a host: q of its cell, shared in the cell."""
        background = self.background or candidates.background
        cell = background.cell(candidates.sizes[:, 2])
        number = np.bincount(cell, minlength=len(background.density))
        return self.fractions(background)[cell] / number[cell]

    def _log_outside(self, candidates):
        # A survival of zero is a certainty that the radius is wide enough; its log is -inf, on purpose.
        with np.errstate(divide="ignore"):
            return np.log(self.outside(candidates))

    def _log_prior(self, n_objects, too_faint) -> np.ndarray:
        """Log-prior of a catalogued host, too faint, outside (the catalogued one's) and none, (n, 4)."""
        share = np.full(n_objects, 1 - self.catalogued / (1 - self.hostless))
        if too_faint is not None:
            given = np.broadcast_to(np.asarray(too_faint, dtype=float), share.shape)
            if ((given < 0) | (given > 1)).any():
                raise HostError("too_faint must be probabilities in [0, 1] or NaN; found one that is not.")
            share = np.where(np.isnan(given), share, given)
        has, none = 1 - self.hostless, np.full(n_objects, self.hostless)
        with np.errstate(divide="ignore"):
            inside = has * (1 - share)
            return np.log(np.column_stack([inside, has * np.maximum(share, 0.0), inside, none]))

    def _chance_coincidence(self, c: HostCandidates) -> np.ndarray:
        size = np.where(np.isfinite(c.dlr), np.sqrt(c.major * c.minor), np.nan)
        radius = chance_radius(c.separation, size, c.position_error, size_factor=self.chance_size)
        if self.chance_counts is not None:
            return chance_coincidence(radius, self.chance_counts.cumulative(c.magnitude))
        background = self.background or c.background
        return chance_coincidence(radius, background.cumulative(c.magnitude) * c.crowding)

    def to_dict(self) -> dict:
        """Return the model as numbers, text and lists, for a JSON file."""
        background, fractions = self.background, self.host_fractions
        return {
            "offset": asdict(self.offset),
            "catalogued": self.catalogued,
            "hostless": self.hostless,
            "luminosity_weight": self.luminosity_weight,
            "background": background
            and {"edges": background.edges.tolist(), "density": background.density.tolist()},
            "host_fractions": None if fractions is None else np.asarray(fractions).tolist(),
            "chance_counts": self.chance_counts and asdict(self.chance_counts),
            "chance_size": self.chance_size,
        }

    @classmethod
    def from_dict(cls, values: dict) -> HostModel:
        """Inverse of `to_dict`."""
        background, fractions, counts = (
            values[key] for key in ("background", "host_fractions", "chance_counts")
        )
        made = {
            "offset": OffsetDensity(**values["offset"]),
            "background": background
            and BackgroundCounts(np.array(background["edges"]), np.array(background["density"])),
            "host_fractions": None if fractions is None else np.array(fractions),
            "chance_counts": counts and PowerLawCounts(**counts),
        }
        return cls(**(values | made))

    def with_catalogued(self, probability: float) -> HostModel:
        """Return the model with another Q, the rest split between too faint and none as before."""
        share = self.hostless / (1 - self.catalogued)
        return replace(self, catalogued=probability, hostless=share * (1 - probability))
