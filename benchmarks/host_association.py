"""Hosts of real supernovae in a catalogue of nearby galaxies, against the hosts that the literature names.

Usage: python benchmarks/host_association.py [--radius 600] [--folds 5] [--seed 0] [--out hosts.json]

OpenNGC (galaxies with D25 sizes, position angles and B magnitudes, to about B = 15) is searched at the
positions of the Open Supernova Catalog. An object's host is listed where its named host (by any name, alias
or identifier) or its host's position is in OpenNGC. Four ways: the defaults; learned from positions alone;
learned from the hosts named in the other folds; and the galaxy of least chance coincidence, with 1 - P_cc
taken for a probability. Learned ones are cross-fitted. Then normalised separations: of the named hosts, and
of the FLEET sample, in which radii are half-light radii. Last the time for many positions. BAYESCLASS_DATA
is the folder.
"""

import argparse
import json
import os
import re
import time
from pathlib import Path

import numpy as np
import pandas as pd

from context.catalog import CatalogSpec, SkyCatalog
from context.host import HostModel
from context.host_candidates import find_candidates
from context.host_fit import NOT_LISTED, fit_host_model
from context.host_geometry import OffsetDensity

GALAXIES = ("G", "GPair", "GTrpl", "GGroup")
# Labels that are no supernovae, or may not be.
OTHER_LABELS = ("BL", "XRB", "CV", "Star", "Other", "TDE", "TDE?", "MS + SMBH", "AGN", "NT", "LBV to IIn")
SPEC = CatalogSpec(
    name="openngc",
    ra="RA",
    dec="Dec",
    unit="hourangle,deg",
    magnitude="B-Mag",
    footprint="all-sky",
    role="galaxies",
    columns={
        "name": "Name",
        "major_axis": "MajAx",
        "minor_axis": "MinAx",
        "position_angle": "PosAng",
        "redshift": "Redshift",
    },
    units={"major_axis": "0.5 arcmin", "minor_axis": "0.5 arcmin", "position_angle": "deg"},
)
# D25 radii are some two and a half times half-light radii; so much smaller are the offsets in their units.
DEFAULT = HostModel(offset=OffsetDensity(shape=1.2, scale=0.5), chance_size=0.0)


def key(name):
    """Spell a galaxy's name in one way: no spaces, no leading zeros, M 61 for Messier 61."""
    text = re.sub(r"\s+", "", str(name).upper()).replace("MESSIER", "M").replace("-G", "-")
    return re.sub(r"(\D)0+(?=\d)", r"\1", text)


def system(name):
    """Name of the pair or group that a member belongs to: NGC7119B -> NGC7119, IC0080 NED01 -> IC0080."""
    return re.match(r"(?:NGC|IC)\d+|.*", str(name)).group()


def read_openngc(folder):
    """Galaxies of OpenNGC, and every name of each: alias -> row."""
    table = pd.read_csv(folder / "catalogues" / "openngc.csv", dtype={"NGC": str, "IC": str})
    galaxies = table[table["Type"].isin(GALAXIES)].reset_index(drop=True)
    rows = {key(name): row for row, name in enumerate(galaxies["Name"])}
    common = galaxies["Common names"].tolist()
    for row, galaxy in enumerate(galaxies.itertuples()):
        names = f"{galaxy.Identifiers},{common[row]}".split(",")
        if np.isfinite(galaxy.M):
            names.append(f"M{galaxy.M:.0f}")
        for name in names:
            rows.setdefault(key(name), row)
    for duplicate in table[table["Type"] == "Dup"].itertuples():
        for prefix, number in (("NGC", duplicate.NGC), ("IC", duplicate.IC)):
            if isinstance(number, str) and key(prefix + number) in rows:
                rows.setdefault(key(duplicate.Name), rows[key(prefix + number)])
    rows.pop("NAN", None)
    return galaxies, rows


def named_hosts(objects, catalog, names):
    """Row of each object's host in the catalogue, -1 if it has another or none, and how it was matched."""
    by_name = np.array([names.get(key(name), -1) for name in objects["host_name"].fillna("?")])
    near = catalog.nearest(objects["host_ra"], objects["host_dec"], k=1, radius=5.0)
    by_place = np.full(len(objects), -1)
    by_place[near.query] = near.source
    how = np.where(by_name >= 0, "name", np.where(by_place >= 0, "position", "none"))
    return np.where(by_name >= 0, by_name, by_place), how


def cross_fitted(candidates, hosts, folds, take):
    """Candidates' and no-host probabilities by models learned on the other folds."""
    p_best = np.zeros(candidates.n_objects)
    best = np.full(candidates.n_objects, -1)
    models = []
    for fold in range(folds.max() + 1):
        fit = fit_host_model(candidates, DEFAULT, hosts=hosts, weights=(folds != fold).astype(float))
        probability, row = take(fit.model.posterior(candidates))
        here = folds == fold
        p_best[here], best[here] = probability[here], row[here]
        models.append(fit.model)
    return p_best, best, models


def best_of(association):
    """Probability and catalogue row of each object's best candidate."""
    best = association.best
    there = best >= 0
    row = np.where(there, np.append(association.found.row, -1)[best], -1)
    return np.where(there, np.append(association.probability, 0.0)[best], 0.0), row


def least_chance(association):
    """1 - P_cc and catalogue row of the candidate of least chance coincidence."""
    chance, query = np.nan_to_num(association.chance_coincidence, nan=1.0), association.found.query
    probability, row = np.zeros(association.n_objects), np.full(association.n_objects, -1)
    order = np.lexsort([chance, query])
    _, first = np.unique(query[order], return_index=True)
    best = order[first]
    probability[query[best]], row[query[best]] = 1 - chance[best], association.found.row[best]
    return probability, row


def scores(probability, row, truth):
    """Shares found and wrongly given, and calibration of the best candidate's probability."""
    listed = truth >= 0
    right = listed & (row == truth)
    given = row >= 0
    # Log-loss of "the best candidate is the host", over objects with a candidate.
    p = np.clip(probability[given], 1e-6, 1 - 1e-6)
    loss = -np.where(right[given], np.log(p), np.log1p(-p)).mean()
    bins = []
    for low, high in ((0, 0.1), (0.1, 0.5), (0.5, 0.9), (0.9, 0.99), (0.99, 1.01)):
        inside = given & (probability >= low) & (probability < high)
        if inside.any():
            bins.append([low, high, int(inside.sum()), probability[inside].mean(), right[inside].mean()])
    return {
        "listed": int(listed.sum()),
        "best is the host": right[listed].mean(),
        "best is the host, and P > .5": (right & (probability > 0.5))[listed].mean(),
        "mean P of the best, host listed": probability[listed].mean(),
        "not listed": int((~listed).sum()),
        "P > .5 though not listed": (probability[~listed] > 0.5).mean(),
        "with a candidate": int(given.sum()),
        "mean P, with a candidate": probability[given].mean(),
        "share right, with a candidate": right[given].mean(),
        "log-loss": loss,
        "calibration": bins,
    }


def failures(objects, catalog, association, probability, row, truth):
    """Objects whose host is listed and not found, or not listed and given with P > .5."""
    c = association.found
    frame = objects[["object_id", "label", "host_name", "host_offset_arcsec", "spec_redshift"]].copy()
    name = catalog.columns["name"].to_numpy(dtype=object)
    frame["truth"] = np.where(truth >= 0, name[truth], "")
    frame["best"] = np.where(row >= 0, name[row], "")
    frame["probability"] = probability
    true = truth[c.query] == c.row
    frame["best_redshift"] = np.where(
        row >= 0, catalog.columns["redshift"].to_numpy(dtype=float)[row], np.nan
    )
    for kind, these in (("true", true), ("best", row[c.query] == c.row)):
        for column, values in (("d", c.separation / c.dlr), ("sep", c.separation)):
            frame[f"{column}_{kind}"] = np.nan
            frame.loc[frame.index[c.query[these]], f"{column}_{kind}"] = values[these]
    wrong = ((truth >= 0) & ((row != truth) | (probability <= 0.5))) | ((truth < 0) & (probability > 0.5))
    return frame[wrong]


def redshifts(objects, catalog, probability, row):
    """Do the redshifts of supernova and best candidate agree, within 1,500 km/s? Names have no part in it."""
    z = catalog.columns["redshift"].to_numpy(dtype=float)
    galaxy, supernova = np.where(row >= 0, z[row], np.nan), objects["spec_redshift"].to_numpy(dtype=float)
    both = np.isfinite(galaxy) & np.isfinite(supernova)
    agree = np.abs(galaxy - supernova) < 0.005
    sure = both & (probability > 0.5)
    # Farther than nearly all galaxies of the catalogue.
    far = supernova > 0.06
    return {
        "supernovae beyond z = .06": int(far.sum()),
        "of these P > .5": (probability[far] > 0.5).mean(),
        "both redshifts, P > .5": int(sure.sum()),
        "mean P": probability[sure].mean(),
        "share that agree": agree[sure].mean(),
        "both redshifts, P <= .5": int((both & ~sure).sum()),
        "of these agree": agree[both & ~sure].mean(),
    }


def quantiles(d):
    d = d[np.isfinite(d)]
    q = np.quantile(d, [0.05, 0.25, 0.5, 0.75, 0.95])
    counts, edges = np.histogram(d, bins=np.arange(0, 4.01, 0.25))
    return {
        "n": len(d),
        "quantiles 5, 25, 50, 75, 95 %": q.tolist(),
        "peak": float(edges[counts.argmax()] + 0.125),
        "below 1": float((d < 1).mean()),
        "below 4": float((d < 4).mean()),
    }


def fleet(folder):
    """Normalised separations of the FLEET sample by class."""
    table = pd.read_csv(folder / "context" / "fleet_hosts.csv")
    likely = table[(table["host_nature"] > 0.5) & (table["host_Pcc"] < 0.05)]
    label = likely["object_class"]
    groups = {
        "SN Ia": label == "SNIa",
        "other SN": label.str.match("SN") & (label != "SNIa") & ~label.str.match("SLSN"),
        "SLSN": label.str.match("SLSN"),
        "TDE": label == "TDE",
        "AGN": label == "AGN",
        "CV": label == "CV",
    }
    return {
        name: quantiles(likely.loc[rows, "normal_separation"].to_numpy()) for name, rows in groups.items()
    }


def speed(seed, n_positions=100_000, n_galaxies=1_000_000):
    """Seconds for many positions on a synthetic sky of 400 square degrees."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"ra": rng.uniform(100, 120, n_galaxies), "dec": rng.uniform(-10, 10, n_galaxies)})
    frame["mag"] = 22 - rng.exponential(1.3, n_galaxies)
    frame["a"] = rng.uniform(0.5, 4, n_galaxies)
    frame["b"] = frame["a"] * rng.uniform(0.3, 1, n_galaxies)
    frame["pa"] = rng.uniform(0, 180, n_galaxies)
    spec = CatalogSpec(
        name="synthetic",
        ra="ra",
        dec="dec",
        unit="deg",
        magnitude="mag",
        role="galaxies",
        columns={"major_axis": "a", "minor_axis": "b", "position_angle": "pa"},
        units={"major_axis": "arcsec", "minor_axis": "arcsec", "position_angle": "deg"},
    )
    catalog = SkyCatalog.from_frame(frame, spec)
    start = time.perf_counter()
    catalog.cone(110.0, 0.0, 1.0)
    indexed = time.perf_counter()
    ra, dec = rng.uniform(101, 119, n_positions), rng.uniform(-9, 9, n_positions)
    association = HostModel().associate(ra, dec, catalog, 60.0)
    found = time.perf_counter()
    frame = association.best_frame()
    return {
        "positions": n_positions,
        "galaxies": n_galaxies,
        "candidates": len(association.probability),
        "index [s]": indexed - start,
        "search and posterior [s]": found - indexed,
        "frame [s]": time.perf_counter() - found,
    }


def show(title, result):
    print(f"\n{title}")
    for name, value in result.items():
        if name == "calibration":
            print("  P from, to, objects, mean P, share right:")
            for low, high, n, p, right in value:
                print(f"    {low:4.2f} {min(high, 1):4.2f} {n:5d} {p:.3f} {right:.3f}")
        else:
            print(f"  {name:32s} {value:.3f}" if isinstance(value, float) else f"  {name:32s} {value}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--radius", type=float, default=600.0, help="of the search [arcsec]")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    arguments = parser.parse_args()
    folder = Path(os.environ.get("BAYESCLASS_DATA", "../shared/data"))

    galaxies, names = read_openngc(folder)
    catalog = SkyCatalog.from_frame(galaxies, SPEC)
    if catalog.n_rows != len(galaxies):
        raise SystemExit("Rows of OpenNGC were set aside, so names and rows no longer agree.")
    table = pd.read_csv(folder / "osc" / "objects.csv")
    placed = table["ra"].notna() & table["dec"].notna()
    supernova = ~table["label"].isin(OTHER_LABELS)
    objects = table[placed & supernova].reset_index(drop=True)
    print(
        f"{catalog.n_rows} galaxies; {len(table)} objects, {(~supernova).sum()} of them no supernovae, ",
        end="",
    )
    print(f"{(~placed & supernova).sum()} without a position: {len(objects)} used")

    truth, how = named_hosts(objects, catalog, names)
    known = (truth >= 0) | objects["host_name"].notna() | objects["host_ra"].notna()
    counts = pd.Series(how[known]).value_counts().to_dict()
    print(f"host known of {known.sum()}: in OpenNGC by {counts}; {(~known).sum()} without a known host")
    candidates = find_candidates(objects["ra"], objects["dec"], catalog, arguments.radius, 0.5)
    folds = np.random.default_rng(arguments.seed).permutation(len(objects)) % arguments.folds
    labels = np.where(known, np.where(truth >= 0, truth, NOT_LISTED), -2)

    default = DEFAULT.posterior(candidates)
    answers = {"default": best_of(default), "least chance coincidence": least_chance(default)}
    positions = cross_fitted(candidates, None, folds, best_of)
    named = cross_fitted(candidates, labels, folds, best_of)
    answers |= {"learned from positions": positions[:2], "learned from named hosts": named[:2]}
    result = {}
    for title, (probability, row) in answers.items():
        result[title] = scores(probability[known], row[known], truth[known])
        # A pair and its member are one system.
        same = [
            system(a) == system(b)
            for a, b in zip(*(labels_of(catalog, r) for r in (row, truth)), strict=True)
        ]
        result[title]["best is of the host's system"] = float(np.mean(np.array(same)[truth >= 0]))
        result[title] |= redshifts(objects, catalog, probability, row)
        show(title, result[title])
    final = fit_host_model(candidates, DEFAULT)
    print(f"\nlearned from all positions: {final.model.offset}, Q = {final.model.catalogued:.3f}")
    association = final.model.posterior(candidates)
    probability, row = answers["learned from positions"]
    wrong = failures(objects, catalog, association, probability, row, truth)
    print(f"\nfailures of the model learned from positions ({len(wrong)})")
    print(wrong.to_string(index=False, float_format=lambda x: f"{x:.3g}"))

    true = candidates.row == truth[candidates.query]
    result["separations"] = {"OpenNGC, D25": quantiles((candidates.separation / candidates.dlr)[true])}
    result["separations"] |= {f"FLEET, {k}": v for k, v in fleet(folder).items()}
    for name, row in result["separations"].items():
        print(f"{name:18s} {row}")
    result["speed"] = speed(arguments.seed)
    print(f"{result['speed']}")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1))


def labels_of(catalog, row):
    """Names of rows of the catalogue, "-" for -1."""
    return np.where(row >= 0, catalog.columns["name"].to_numpy(dtype=object)[row], "-")


if __name__ == "__main__":
    main()
