"""Positions against a synthetic catalogue: time and memory, beside astropy's match in the same run.

    python benchmarks/cross_match.py                      # 100,000 positions, 10 million stars
    python benchmarks/cross_match.py --rows 1000000 --positions 10000 --out result.json

Stars and positions are uniform on the whole sky. Both sides start from arrays of coordinates and build
their own index; the peak memory is that of the process when our part ends, catalogue included.
"""

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
from astropy.coordinates import SkyCoord, match_coordinates_sky

from context.catalog import CatalogSpec, SkyCatalog

SPEC = CatalogSpec("stars", "ra", "dec", unit="deg", footprint="all-sky", role="stars")
AIM_SECONDS, AIM_GIB = 30.0, 4.0


def uniform(n, rng):
    return rng.uniform(0.0, 360.0, n), np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n)))


def peak():
    """Maximum resident set of this process so far [GiB]."""
    # The unit is KiB on Linux and bytes on macOS.
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def timed(call):
    start = time.perf_counter()
    result = call()
    return result, time.perf_counter() - start


def ours(stars, positions):
    """Read the catalogue, then search; the first search builds the index."""
    frame = pd.DataFrame({"ra": stars[0], "dec": stars[1]})
    catalog, read = timed(lambda: SkyCatalog.from_frame(frame, SPEC))
    _, build = timed(lambda: catalog.nearest(positions[0][:1], positions[1][:1]))
    nearest, match = timed(lambda: catalog.nearest(*positions))
    cone, within = timed(lambda: catalog.cone(*positions, 60.0))
    density, ring = timed(lambda: catalog.density(*positions, radius=300.0))
    seconds = {"catalogue": read, "index": build, "nearest": match, "cone 60 arcsec": within}
    return nearest, cone, density, seconds | {"density 300 arcsec": ring}


def astropys(stars, positions):
    here, there = SkyCoord(*positions, unit="deg"), SkyCoord(*stars, unit="deg")
    return timed(lambda: match_coordinates_sky(here, there))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--positions", type=int, default=100_000)
    parser.add_argument("--out", type=Path, help="also write the figures as JSON")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    stars, positions = uniform(options.rows, rng), uniform(options.positions, rng)
    before = peak()
    nearest, cone, density, seconds = ours(stars, positions)
    memory = peak()
    match = seconds["catalogue"] + seconds["index"] + seconds["nearest"]
    (index, separation, _), theirs = astropys(stars, positions)
    same = float((index == nearest.source).mean())
    difference = float(np.abs(separation.arcsec - nearest.separation).max())
    print(f"{options.positions:,} positions, {options.rows:,} stars\n")
    print("| step | s |\n|---|---|")
    for name, value in seconds.items():
        print(f"| {name} | {value:.2f} |")
    print(f"| all | {sum(seconds.values()):.2f} |")
    print(f"| astropy's match_coordinates_sky | {theirs:.2f} |\n")
    print(
        f"Pairs within 60 arcsec: {len(cone.query):,}; mean density {density.mean():.4f} per square arcmin."
    )
    print(
        f"Same nearest star as astropy: {same:.6f}; largest difference of separation {difference:.1e} arcsec."
    )
    met = "met" if match < AIM_SECONDS and memory < AIM_GIB else "missed"
    print(
        f"Catalogue, index and nearest: {match:.1f} s (aim {AIM_SECONDS:.0f}), astropy takes "
        f"{theirs / match:.2f} times as long; peak memory {memory:.2f} GiB (aim {AIM_GIB:.0f}), "
        f"{before:.2f} before: {met}"
    )
    if options.out:
        figures = {
            "rows": options.rows,
            "positions": options.positions,
            "seconds": seconds,
            "match_seconds": match,
            "astropy_seconds": theirs,
            "peak_gib": memory,
            "peak_before_gib": before,
            "same_nearest": same,
            "largest_difference_arcsec": difference,
        }
        options.out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
