"""Labelled context of real transients from three tables, one row an object, for `context_alone.py`.

What needs the light curve or the spectrum (peaks, durations, spectroscopic redshifts) is not read. A cell is
missing where the table has none: the object was not looked up there, which is not "no host found".
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from context.coordinates import galactic
from context.evidence import Condition, EvidenceSpec, EvidenceTable

CLASSES = ("star", "AGN", "TDE", "SN")
LABELS = {
    "star": {"CV", "CV?", "star", "star?", "varstar", "varstar?", "var", "var?", "nova"},
    "AGN": {"AGN", "AGN?", "QSO", "QSO?", "CLAGN", "blazar", "blazar?", "NLS1", "NLSy1?", "LINER", "Seyfert"},
    "TDE": {"TDE"},
}
# Luminous red novae, impostors, afterglows and what is no transient (rocks, bogus) belong to no class.
SAME_PLACE_ARCSEC = 2.0
# A_V over the extinction in g that the table of hosts gives, from objects in both.
A_V_OVER_A_G = 0.7146
SOURCES = {
    "sky": ("abs_galactic_latitude", "A_V"),
    "host position": ("host_separation_arcsec", "host_normalised_separation", "host_pcc"),
    "host size and light": (
        "host_radius_arcsec",
        "host_mag",
        "host_g_r",
        "host_pcc",
        "host_normalised_separation",
    ),
    "host photometric redshift": ("host_photoz",),
    "star/galaxy score": ("host_galaxy_probability",),
}
HOST = (
    "host_separation_arcsec",
    "host_radius_arcsec",
    "host_normalised_separation",
    "host_pcc",
    "host_mag",
    "host_g_r",
    "host_galaxy_probability",
    "host_photoz",
)


def specs(*, photoz: bool = True) -> tuple[EvidenceSpec, ...]:
    """Evidence columns, as a recipe would declare them."""

    def number(name, unit="1", transform="identity", **options):
        return EvidenceSpec(
            name=name, column=name, kind="continuous", unit=unit, transform=transform, **options
        )

    columns = [
        number("abs_galactic_latitude", "deg", valid_range=(0.0, 90.0)),
        number("A_V", "mag", "log10", valid_range=(1e-3, 30.0)),
        number("host_separation_arcsec", "arcsec", "log10", valid_range=(1e-3, 1e3)),
        number("host_radius_arcsec", "arcsec", "log10", valid_range=(1e-3, 1e3)),
        # Zero stands where the nearest galaxy is no convincing host: searched, none found.
        number(
            "host_normalised_separation",
            transform="log10",
            valid_range=(1e-4, 1e4),
            none=Condition("host_normalised_separation", 0),
        ),
        number("host_pcc", transform="log10", valid_range=(1e-8, 1.0)),
        number("host_mag", "mag", valid_range=(5.0, 30.0)),
        number("host_g_r", "mag", valid_range=(-3.0, 5.0)),
        number("host_galaxy_probability", valid_range=(0.0, 1.0)),
    ]
    if photoz:
        columns.append(number("host_photoz", transform="log10", valid_range=(1e-4, 5.0)))
    return tuple(columns)


@dataclass(frozen=True)
class ContextSet:
    """Objects with their columns and their class.

    Attributes
    ----------
    name : str
    frame : DataFrame
        `object_id`, `ra`, `dec`, the columns of `specs`, and where each cell comes from (`has_host`).
    label : int64 array, shape (n,)
        Index into `CLASSES`.
    counts : dict of str to int
        What was read, and what was set aside and why.
    """

    name: str
    frame: pd.DataFrame
    label: np.ndarray
    counts: dict[str, int]

    def table(self, *, photoz: bool = True) -> EvidenceTable:
        """Evidence of all objects."""
        return EvidenceTable.from_frame(self.frame, specs(photoz=photoz))


def load_sets() -> dict[str, ContextSet]:
    """Read the three tables and join them.

    Returns
    -------
    dict of str to ContextSet
        "fleet", "rcf" and "bts" are the tables; "joined" is all of them, "hosts" those of its objects whose
        host was looked up, so that which cells are missing says little of the class.
    """
    folder = Path(os.environ.get("BAYESCLASS_DATA", "../shared/data"))
    parts = {"fleet": _fleet(folder), "rcf": _rcf(folder), "bts": _bts(folder)}
    joined = _join(parts)
    result = {}
    everything = np.ones(len(joined), dtype=bool)
    chosen = {name: joined[f"in_{name}"] for name in parts}
    chosen |= {"joined": everything, "hosts": joined[list(HOST)].notna().any(axis=1)}
    for name, rows in chosen.items():
        use = joined[rows]
        columns = HOST if name != "rcf" else ()
        frame = use.copy()
        if name == "rcf":
            frame[list(HOST)] = np.nan
        known = frame["class"].isin(CLASSES).to_numpy()
        frame = frame[known].reset_index(drop=True)
        frame["has_host"] = frame[list(HOST)].notna().any(axis=1)
        counts = {
            "rows": int(sum(len(part) for key, part in parts.items() if name not in parts or name == key)),
            "objects": len(use),
            "of another class, disputed or without one": int((~known).sum()),
            "with a host looked up": int(frame["has_host"].sum()) if columns else 0,
        }
        label = pd.Categorical(frame["class"], categories=CLASSES).codes.astype(np.int64)
        result[name] = ContextSet(name, frame, label, counts)
    return result


def _class(label: pd.Series) -> pd.Series:
    text = label.fillna("").str.strip().str.replace(r"^SN(?=[IV])", "SN ", regex=True)
    out = pd.Series("", index=label.index)
    out[text.str.startswith(("SN ", "SLSN", "Ca-rich"))] = "SN"
    for name, members in LABELS.items():
        out[text.str.casefold().isin({member.casefold() for member in members})] = name
    return out


def _fleet(folder: Path) -> pd.DataFrame:
    raw = pd.read_csv(folder / "context" / "fleet_hosts.csv")
    names = {
        "host_separation": "host_separation_arcsec",
        "host_radius": "host_radius_arcsec",
        "normal_separation": "host_normalised_separation",
        "host_Pcc": "host_pcc",
        "host_magnitude": "host_mag",
        "host_g_r": "host_g_r",
        "host_nature": "host_galaxy_probability",
        "photoz": "host_photoz",
    }
    frame = raw[list(names)].rename(columns=names)
    frame["A_V"] = raw["g_correct"] * A_V_OVER_A_G
    frame["ra"], frame["dec"] = raw["ra_deg"], raw["dec_deg"]
    frame["name"], frame["class"] = raw["object_name"], _class(raw["object_class"])
    return frame


def _rcf(folder: Path) -> pd.DataFrame:
    from astropy.coordinates import SkyCoord

    raw = pd.read_csv(folder / "context" / "ztf_rcf_summary.csv", na_values=["-"])
    sky = SkyCoord(raw["RA"].to_numpy(str), raw["Dec"].to_numpy(str), unit=("hourangle", "deg"))
    frame = pd.DataFrame({"ra": sky.ra.deg, "dec": sky.dec.deg, "A_V": raw["A_V"]})
    frame["name"] = raw["IAUID"].str.replace(r"^(AT|SN) ?", "", regex=True)
    frame["ztf"], frame["class"] = raw["ZTFID"], _class(raw["type"])
    return frame


def _bts(folder: Path) -> pd.DataFrame:
    raw = pd.concat([pd.read_csv(folder / "ztf_bts" / f"{name}.csv") for name in ("objects", "context_only")])
    frame = raw[["ra", "dec", "A_V", *HOST]].reset_index(drop=True)
    frame["ztf"], frame["class"] = raw["object_id"].to_numpy(), _class(raw["label"]).to_numpy()
    return frame


def _join(parts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row an object: the same survey name, the same IAU name or the same place is the same object."""
    from astropy.coordinates import SkyCoord, search_around_sky
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = pd.concat([part.assign(source=name) for name, part in parts.items()], ignore_index=True)
    sky = SkyCoord(rows["ra"], rows["dec"], unit="deg")
    first, second, _, _ = search_around_sky(sky, sky, SAME_PLACE_ARCSEC * _arcsec())
    links = [(first, second)]
    for key in ("ztf", "name"):
        owner = rows.index.to_series().groupby(rows[key]).transform("first")
        links.append((owner.index.to_numpy()[owner.notna()], owner.dropna().to_numpy(dtype=int)))
    a, b = (np.concatenate(side) for side in zip(*links, strict=True))
    graph = coo_array((np.ones(len(a)), (a, b)), shape=(len(rows), len(rows)))
    rows["object"] = connected_components(graph, directed=False)[1]
    # A table with hosts comes first; each cell is the first one given.
    groups = rows.groupby("object", sort=True)
    joined = groups[["ra", "dec", "A_V", *HOST, "ztf", "name"]].first()
    told = rows[rows["class"] != ""].groupby("object")["class"]
    joined["class"] = told.min().where(told.min() == told.max()).reindex(joined.index).fillna("")
    for name in parts:
        joined[f"in_{name}"] = (rows["source"] == name).groupby(rows["object"]).any()
    joined["object_id"] = joined["ztf"].fillna(joined["name"]).fillna("").astype(str)
    joined["abs_galactic_latitude"] = np.abs(galactic(joined["ra"], joined["dec"])[1])
    # Rounded alike, or the number of digits would tell the table, and with it the class.
    joined["A_V"] = joined["A_V"].round(3)
    repeated = joined["object_id"].duplicated(keep=False)
    number = joined.index.to_series().astype(str)
    joined["object_id"] = joined["object_id"].where(~repeated, joined["object_id"] + " #" + number)
    return joined.reset_index(drop=True)


def _arcsec():
    import astropy.units as u

    return u.arcsec
