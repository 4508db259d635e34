"""What is known of the hosts of many transients: tables of the best, of alternatives, of redshifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from context.host_candidates import HostCandidates
from context.host_geometry import HostError

__all__ = ["HostAssociation"]


@dataclass(frozen=True, eq=False)
class HostAssociation:
    """Hosts of many transients, with the probability of every outcome.

    Attributes
    ----------
    found : HostCandidates
    probability, chance_coincidence : float64 arrays, shape (n_candidates,)
        Posterior of each candidate (NaN for objects that are not covered), and its P_cc.
    p_too_faint, p_outside, p_none : float64 arrays, shape (n_objects,)
        With the candidates' they sum to one; NaN where the position is not covered.
    """

    found: HostCandidates
    probability: np.ndarray
    chance_coincidence: np.ndarray
    p_too_faint: np.ndarray
    p_outside: np.ndarray
    p_none: np.ndarray

    @property
    def n_objects(self) -> int:
        """Number of transients."""
        return self.found.n_objects

    @property
    def p_candidates(self) -> np.ndarray:
        """Probability that the host is one of the candidates, shape (n_objects,)."""
        total = np.bincount(self.found.query, self.probability, minlength=self.n_objects)
        return np.where(self.found.known, total, np.nan)

    @property
    def best(self) -> np.ndarray:
        """Index of each object's most probable candidate, -1 for none or no posterior; shape (n_objects,)."""
        order = self._order()
        query, first = np.unique(self.found.query[order], return_index=True)
        best = np.full(self.n_objects, -1)
        best[query] = order[first]
        return np.where(self.found.known, best, -1)

    def _order(self) -> np.ndarray:
        """Candidates by object, then probability, the nearest first among equals and where it is missing."""
        # NaN sorts last either way; all candidates of an object have it or none has.
        return np.lexsort([self.found.separation, -self.probability, self.found.query])

    @property
    def candidates(self) -> pd.DataFrame:
        """One row a candidate: object (index), row of the catalogue, geometry, P_cc and probability."""
        c = self.found
        frame = self._columns(np.arange(len(c.query)))
        frame.insert(0, "object", c.query)
        frame.insert(1, "catalogue_row", c.row)
        return frame

    @property
    def state(self) -> np.ndarray:
        """Most probable of "detected", "too faint", "none"; None: not covered, or rather outside."""
        p = np.column_stack([self.p_candidates, self.p_too_faint, self.p_none, self.p_outside])
        names = np.array(["detected", "too faint", "none", None], dtype=object)
        return np.where(self.found.known, names[np.nan_to_num(p).argmax(axis=1)], None)

    def best_frame(self) -> pd.DataFrame:
        """One row an object: its most probable candidate and the probabilities, in the evidence's names."""
        frame = self._columns(self.best)
        frame["host_p_too_faint"] = self.p_too_faint
        frame["host_p_outside"] = self.p_outside
        frame["host_p_none"] = self.p_none
        frame["host_state"] = self.state
        frame["host_covered"] = self._covered()
        # Without a candidate, no candidate has the host: that is known where the place is covered.
        empty = (self.best < 0) & self.found.known
        frame.loc[empty, "host_probability"] = 0.0
        return frame

    def alternatives(self, k: int = 3) -> pd.DataFrame:
        """List the k most probable hosts of each object, and one row for a host that is none of them.

        Columns: object, alternative (0, 1 ...; -1 for no catalogued host), alternative_probability, which
        sums to one over the rows of an object, alternative_left_out (probability of the candidates that are
        not listed, before that), and those of `best_frame` that belong to a candidate. An object that is
        not covered has the one row without a host, and a missing host_state.
        """
        if k < 0:
            raise HostError(f"The number of alternatives can't be negative, found {k}.")
        order = self._order()
        query = self.found.query[order]
        rank = np.arange(len(order)) - np.searchsorted(query, query)
        kept = (rank < k) & self.found.known[query]
        hosts = self._columns(order[kept])
        hosts.insert(0, "object", query[kept])
        hosts.insert(1, "alternative", rank[kept])
        hosts.insert(2, "alternative_probability", self.probability[order[kept]])
        hosts["host_state"] = np.full(len(hosts), "detected", dtype=object)
        without = self._columns(np.full(self.n_objects, -1))
        without.insert(0, "object", np.arange(self.n_objects))
        without.insert(1, "alternative", -1)
        other = self.p_too_faint + self.p_outside + self.p_none
        without.insert(2, "alternative_probability", np.where(self.found.known, other, 1.0))
        faint = self.p_too_faint >= self.p_none
        without["host_state"] = np.where(self.found.known, np.where(faint, "too faint", "none"), None)
        # An empty table must not decide the columns' types.
        both = pd.concat([hosts, without], ignore_index=True) if len(hosts) else without
        both = both.sort_values(["object", "alternative"], kind="stable", ignore_index=True)
        total = both.groupby("object")["alternative_probability"].transform("sum")
        both["alternative_probability"] = both["alternative_probability"] / total
        both["alternative_left_out"] = (1 - total).clip(lower=0.0)
        both["host_covered"] = self._covered().take(both["object"])
        return both

    def soft_redshift(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Redshift of the host as a mixture over the candidates.

        Returns
        -------
        moments : DataFrame, one row an object
            host_soft_redshift and host_soft_redshift_error: mean and standard deviation of the mixture,
            given that the host has a catalogued redshift (NaN if no candidate has);
            host_redshift_unknown: probability that it has none.
        mixture : DataFrame, one row a component
            object, host_redshift, host_redshift_error (zero where missing) and weight, which sums with
            host_redshift_unknown to one.
        """
        c = self.found
        z, error = self._column("redshift", c.row), self._column("redshift_error", c.row)
        used = np.isfinite(z) & np.isfinite(self.probability)
        query, z, error, weight = c.query[used], z[used], np.nan_to_num(error[used]), self.probability[used]
        total, first, second = (
            np.bincount(query, weight * moment, minlength=self.n_objects)
            for moment in (np.ones_like(z), z, error**2)
        )
        any_ = total > 0
        mean = np.divide(first, total, out=np.full(self.n_objects, np.nan), where=any_)
        # Deviations from the mean, rather than squares minus a square, keep the digits.
        second = second + np.bincount(query, weight * (z - mean[query]) ** 2, minlength=self.n_objects)
        variance = np.divide(second, total, out=np.full(self.n_objects, np.nan), where=any_)
        moments = pd.DataFrame(
            {
                "host_soft_redshift": mean,
                "host_soft_redshift_error": np.sqrt(variance),
                "host_redshift_unknown": np.where(c.known, np.clip(1 - total, 0.0, 1.0), np.nan),
            }
        )
        mixture = {"object": query, "host_redshift": z, "host_redshift_error": error, "weight": weight}
        return moments, pd.DataFrame(mixture)

    def _column(self, name, row) -> np.ndarray:
        """Column of the catalogue at `row`, NaN where it is -1 or the catalogue has no such column."""
        columns = self.found.catalog.columns
        if name not in columns:
            return np.full(len(row), np.nan)
        # Row -1 is the missing value at the end.
        return np.append(columns[name].to_numpy(dtype=float, na_value=np.nan), np.nan)[row]

    def _columns(self, which) -> pd.DataFrame:
        """Columns of the candidates at `which`; missing where that is -1."""
        c, there = self.found, which >= 0

        def take(values):
            return np.where(there, np.append(values, np.nan)[which], np.nan)

        row = np.where(there, np.append(c.row, -1)[which], -1)
        data: dict[str, object] = {}
        columns = c.catalog.columns
        if "name" in columns:
            data["host_name"] = np.append(columns["name"].to_numpy(dtype=object), None)[row]
        for name in ("ra", "dec"):
            data[f"host_{name}"] = np.append(getattr(c.catalog, name), np.nan)[row]
        data["host_separation_arcsec"] = take(c.separation)
        data["host_dlr_arcsec"] = take(c.dlr)
        data["host_normalised_separation"] = take(c.separation / c.dlr)
        data["host_pcc"] = take(self.chance_coincidence)
        data["host_mag"] = take(c.magnitude)
        data["host_redshift"] = self._column("redshift", row)
        data["host_redshift_error"] = self._column("redshift_error", row)
        data["host_probability"] = take(self.probability)
        return pd.DataFrame(data)

    def _covered(self):
        return pd.array(np.array([False, True, None], dtype=object)[self.found.covered], dtype="boolean")
