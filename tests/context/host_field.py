"""A field of galaxies and transients whose hosts are known, made by simulation."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from context.catalog import CatalogSpec, SkyCatalog
from context.host import HostModel
from context.host_candidates import find_candidates
from context.host_counts import BackgroundCounts
from context.host_fit import NOT_LISTED
from context.host_geometry import OffsetDensity

SPEC = CatalogSpec(
    name="galaxies",
    ra="ra",
    dec="dec",
    unit="deg",
    magnitude="mag",
    footprint="all-sky",
    role="galaxies",
    columns={
        "name": "name",
        "major_axis": "a",
        "minor_axis": "b",
        "position_angle": "pa",
        "redshift": "z",
        "redshift_error": "dz",
    },
    units={"major_axis": "arcsec", "minor_axis": "arcsec", "position_angle": "deg"},
)
EDGES = np.arange(16.0, 21.1, 0.5)
# Galaxies per square arcsec in each cell, more of the faint; a twentieth without a magnitude.
DENSITY = np.append(2e-3 * np.diff(10 ** (0.3 * EDGES)) / np.ptp(10 ** (0.3 * EDGES)), 1e-4)
BACKGROUND = BackgroundCounts(EDGES, DENSITY)
TRUE = HostModel(
    offset=OffsetDensity(1.5, 0.8, 0.05),
    catalogued=0.7,
    hostless=0.1,
    background=BACKGROUND,
    host_fractions=BACKGROUND.host_fractions(0.8),
)


def catalogue(**columns) -> SkyCatalog:
    n = len(columns["ra"])
    default = {"mag": 18.0, "a": 3.0, "b": 2.0, "pa": 30.0, "z": 0.1, "dz": 0.01}
    frame = pd.DataFrame({"name": [f"G{i}" for i in range(n)]} | default | columns)
    return SkyCatalog.from_frame(frame, SPEC)


class Field:
    """Transients a degree apart, each with its patch of background galaxies and at most one host."""

    def __init__(self, rng, models, classes, error=0.0, reach=60.0):
        n = len(classes)
        self.ra, self.dec = np.arange(n) % 360 + 0.5, np.arange(n) // 360 * 1.0 + 40.0
        number = rng.poisson(BACKGROUND.total * np.pi * reach**2, n)
        owner = np.repeat(np.arange(n), number)
        r, angle = reach * np.sqrt(rng.random(len(owner))), rng.uniform(0, 2 * np.pi, len(owner))
        x, y = r * np.sin(angle), r * np.cos(angle)
        cell = rng.choice(len(DENSITY), len(owner), p=DENSITY / DENSITY.sum())
        a, b, pa = self.shapes(rng, len(owner))
        # Hosts: seen from the transient, the galaxy lies opposite to the transient's offset from it.
        outcome = np.array([self.outcome(rng, models[c]) for c in classes])
        has = np.flatnonzero(outcome == "host")
        host_a, host_b, host_pa = self.shapes(rng, len(has))
        d = np.array([models[classes[i]].offset.sample(rng, 1)[0] for i in has])
        psi, turn = rng.uniform(0, 2 * np.pi, len(has)), np.deg2rad(host_pa)
        along, across = host_a * d * np.cos(psi), host_b * d * np.sin(psi)
        host_x = along * np.sin(turn) + across * np.cos(turn)
        host_y = along * np.cos(turn) - across * np.sin(turn)
        host_cell = np.array([rng.choice(len(DENSITY), p=models[classes[i]].host_fractions) for i in has])
        owner, cell = np.append(owner, has), np.append(cell, host_cell)
        x, y = np.append(x, -host_x), np.append(y, -host_y)
        a, b, pa = np.append(a, host_a), np.append(b, host_b), np.append(pa, host_pa)
        middle = np.append((EDGES[1:] + EDGES[:-1]) / 2, np.nan)
        dec = self.dec[owner] + y / 3600
        ra = self.ra[owner] + x / 3600 / np.cos(np.deg2rad(dec))
        self.catalog = catalogue(ra=ra, dec=dec, mag=middle[cell.astype(int)], a=a, b=b, pa=pa)
        self.host = np.full(n, NOT_LISTED)
        self.host[has] = len(owner) - len(has) + np.arange(len(has))
        self.classes, self.outcome = classes, outcome
        self.dec = self.dec + error * rng.normal(size=n) / 3600
        self.ra = self.ra + error * rng.normal(size=n) / 3600 / np.cos(np.deg2rad(self.dec))

    @staticmethod
    def shapes(rng, n):
        a = np.exp(rng.normal(np.log(2.0), 0.4, n))
        return a, a * rng.uniform(0.3, 1.0, n), rng.uniform(0, 180, n)

    @staticmethod
    def outcome(rng, model):
        return rng.choice(
            ["host", "none", "faint"],
            p=[model.catalogued, model.hostless, 1 - model.catalogued - model.hostless],
        )

    def candidates(self, radius, error=0.0):
        return find_candidates(
            self.ra, self.dec, self.catalog, radius, error, background=BACKGROUND, neighbours=0, floor=0.01
        )


def assert_calibrated(probability, happened, bins=(0, 0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.98, 1.01)):
    """Within four standard errors of the frequency in each bin."""
    for low, high in pairwise(bins):
        inside = (probability >= low) & (probability < high)
        p, n = probability[inside], inside.sum()
        if n >= 20:
            error = np.sqrt((p * (1 - p)).sum()) / n
            assert happened[inside].mean() == pytest.approx(p.mean(), abs=4 * error + 1e-3), (low, high, n)
