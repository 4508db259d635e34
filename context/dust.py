"""Extinction by dust of the Milky Way at positions on the sky, where a map of it is at hand."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from context.coordinates import on_sky

__all__ = ["AV_PER_SFD_EBV", "Extinction", "extinction"]

# Landolt V at R_V = 3.1: the map's E(B-V) is 14 % too high on the scale on which A_V would be 3.1 E(B-V).
AV_PER_SFD_EBV = 2.742
_FILES = ("SFD_dust_4096_ngp.fits", "SFD_dust_4096_sgp.fits")


@dataclass(frozen=True)
class Extinction:
    """Extinction at positions, or why there is none.

    Attributes
    ----------
    ebv : float64 array, shape (n,)
        E(B-V) as the map of Schlegel, Finkbeiner & Davis has it [mag]; NaN where not known.
    a_v : float64 array, shape (n,)
        Extinction in V [mag].
    source : str or None
        What the numbers come from; None without a map.
    remark : str or None
        Without a map: why, and what to do.
    """

    ebv: np.ndarray
    a_v: np.ndarray
    source: str | None
    remark: str | None


def extinction(ra, dec, *, map_dir: str | Path | None = None) -> Extinction:
    r"""Look up the extinction in the dust map of Schlegel, Finkbeiner & Davis.

    .. math:: A_V = 2.742\; E(B-V)_\mathrm{SFD}

    Depends on the library dustmaps and on the two files of its SFD map. Nothing is downloaded and nothing
    guessed: where either is absent every value is NaN and the remark says what to do.

    Parameters
    ----------
    ra, dec : array_like, shape (n,)
        ICRS [deg]. Off the sky, and NaN, give NaN.
    map_dir : path, optional
        Folder of the map files; default: where dustmaps keeps them.

    Returns
    -------
    Extinction

    References
    ----------
    Schlegel, Finkbeiner & Davis (1998), ApJ 500, 525; Schlafly & Finkbeiner (2011), ApJ 737, 103, Table 6.
    """
    ra, dec = np.broadcast_arrays(np.asarray(ra, dtype=float), np.asarray(dec, dtype=float))
    ebv = np.full(ra.shape, np.nan)
    query, remark = _map(map_dir)
    if query is None:
        return Extinction(ebv, ebv.copy(), None, remark)
    known = on_sky(ra, dec)
    if known.any():
        from astropy.coordinates import SkyCoord

        ebv[known] = query(SkyCoord(ra[known], dec[known], unit="deg", frame="icrs"))
    return Extinction(ebv, AV_PER_SFD_EBV * ebv, "SFD map, A_V = 2.742 E(B-V)", None)


def _map(map_dir):
    """Return the opened map, or None and the reason."""
    with warnings.catch_warnings():
        # On import dustmaps warns that it has no settings file; its default folder is then right.
        warnings.simplefilter("ignore")
        try:
            from dustmaps.sfd import SFDQuery
            from dustmaps.std_paths import data_dir
        except ImportError as error:
            return None, (
                f"no extinction: the library dustmaps can't be used here ({error}); install it with its SFD "
                "map, or give a column A_V"
            )
        folder = Path(data_dir()) / "sfd" if map_dir is None else Path(map_dir)
    absent = [name for name in _FILES if not (folder / name).is_file()]
    if absent:
        return None, (
            f"no extinction: the dust map's file {absent[0]} is not in {folder}; fetch it once with "
            "`python -c 'import dustmaps.sfd; dustmaps.sfd.fetch()'`, or give a column A_V"
        )
    return SFDQuery(map_dir=str(folder)), None
