"""Known bodies of the Solar System near an alert, from the alert's own columns, with the three states."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from context.evidence_values import numbers

__all__ = ["ALERT_COLUMNS", "SolarSystem", "solar_system"]

# The search radius of ZTF's alerts [arcsec], and what they write where nothing is found.
ZTF_RADIUS = 30.0
ZTF_NONE = -999.0
ALERT_COLUMNS = ("ssdistnr", "ssObjectId")
_ARCSEC_PER_DEG = 3600.0


@dataclass(frozen=True)
class SolarSystem:
    """Proximity to known bodies of the Solar System.

    Attributes
    ----------
    frame : DataFrame
        The alerts' index; columns solar_system_separation_arcsec, solar_system_mag, solar_system_found and
        solar_system_covered. A row is *measured* (found), *none* (covered, not found) or *not covered*.
    set_aside : DataFrame
        Columns reason and rows: alerts whose columns contradict each other or their definition; these
        count as not covered.
    """

    frame: pd.DataFrame
    set_aside: pd.DataFrame


def solar_system(alerts: pd.DataFrame) -> SolarSystem:
    """Read proximity to known bodies of the Solar System from columns of alerts.

    Parameters
    ----------
    alerts : DataFrame
        One row an alert, with any of these columns. ZTF: ``ssdistnr`` [arcsec], the distance to the nearest
        known body within 30 arcsec, and ``ssmagnr`` [mag]; -999 is "nothing found". Rubin: ``ssObjectId``
        of the source, zero where it was linked to no known body, and for those linked ``residualRa`` and
        ``residualDec`` [deg] and ``predictedVMagnitude`` [mag] of its ssSource record. Where both surveys'
        columns have something, ZTF's count.

    Returns
    -------
    SolarSystem
        A missing value of the survey's first column is *not covered*, as is a table without either.

    Notes
    -----
    Some ZTF packets carry an ``ssdistnr`` of 60, twice the radius of the search, mostly without name and
    magnitude: a mark of a search that did not run as usual. Such rows are set aside, not read as "none".

    References
    ----------
    ZTF alert schema, record candidate; Rubin alert schema, records diaSource and ssSource.
    """
    n = len(alerts)
    result = _Rows(np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, bool), np.zeros(n, bool))
    reasons = []
    if "ssObjectId" in alerts:
        reasons += _read_rubin(alerts, result)
    if "ssdistnr" in alerts:
        reasons += _read_ztf(alerts, result)
    frame = pd.DataFrame(
        {
            "solar_system_separation_arcsec": np.where(result.found, result.separation, np.nan),
            "solar_system_mag": np.where(result.found, result.mag, np.nan),
            "solar_system_found": result.found,
            "solar_system_covered": result.covered,
        },
        index=alerts.index,
    )
    kept = [(reason, int(bad.sum())) for reason, bad in reasons if bad.any()]
    return SolarSystem(frame, pd.DataFrame(kept, columns=["reason", "rows"]))


@dataclass
class _Rows:
    """What is known so far of every alert; a later survey overwrites the rows that it knows."""

    separation: np.ndarray
    mag: np.ndarray
    found: np.ndarray
    covered: np.ndarray

    def put(self, known, found, usable, separation, mag):
        self.separation[known], self.mag[known] = separation[known], mag[known]
        self.found[known], self.covered[known] = (found & usable)[known], usable[known]


def _read_ztf(alerts: pd.DataFrame, result: _Rows) -> list:
    distance = numbers(alerts["ssdistnr"])[0]
    mag = _column(alerts, "ssmagnr")
    has_mag = ~np.isnan(mag) & (mag != ZTF_NONE)
    known, none = ~np.isnan(distance), distance == ZTF_NONE
    beyond = known & ~none & ~((distance >= 0) & (distance <= ZTF_RADIUS))
    contradiction = none & has_mag
    result.put(known, ~none, ~(beyond | contradiction), distance, np.where(has_mag, mag, np.nan))
    return [
        (f"ssdistnr is neither -999 nor within {ZTF_RADIUS:g} arcsec", beyond),
        ("ssmagnr of a body, but no ssdistnr", contradiction),
    ]


def _read_rubin(alerts: pd.DataFrame, result: _Rows) -> list:
    identifier = numbers(alerts["ssObjectId"])[0]
    known, found = ~np.isnan(identifier), identifier != 0
    residuals = [_column(alerts, name) for name in ("residualRa", "residualDec")]
    separation = _ARCSEC_PER_DEG * np.hypot(*residuals)
    without = known & found & np.isnan(separation)
    result.put(known, found, ~without, separation, _column(alerts, "predictedVMagnitude"))
    return [("linked to a body (ssObjectId), but without residualRa and residualDec", without)]


def _column(alerts: pd.DataFrame, name: str) -> np.ndarray:
    return numbers(alerts[name])[0] if name in alerts else np.full(len(alerts), np.nan)
