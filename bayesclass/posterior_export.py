"""A posterior in other forms: an xarray dataset, and draws as ArviZ keeps them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np


def dataset(
    object_id: np.ndarray,
    classes: tuple[str, ...],
    per_class: Mapping[str, np.ndarray],
    per_object: Mapping[str, np.ndarray],
    reasons: Mapping[str, np.ndarray],
    draws: np.ndarray | None,
):
    """Return an xarray.Dataset with dimensions object_id, class, piece and, with draws, draw.

    Parameters
    ----------
    object_id : str array, shape (n,)
    classes : tuple of str
        The K leaves.
    per_class : mapping of str to array, shape (n, K)
    per_object : mapping of str to array, shape (n,)
    reasons : mapping of str to float array, shape (n, K)
        Piece of evidence -> its log-likelihoods [nat]; no such variable where it is empty.
    draws : float32 array, shape (n_draws, n, K), or None
    """
    import xarray as xr

    one, two = ("object_id",), ("object_id", "class")
    variables = {name: (two, values) for name, values in per_class.items()}
    variables |= {name: (one, values) for name, values in per_object.items()}
    coordinates = {"object_id": object_id, "class": np.array(classes)}
    if reasons:
        coordinates["piece"] = np.array(list(reasons))
        pieces = np.array(list(reasons.values()), dtype=np.float64)
        variables["log_likelihood"] = (("piece", *two), pieces, {"units": "nat"})
    if draws is not None:
        variables["draws"] = (("draw", *two), draws)
    return xr.Dataset(variables, coordinates, {"interval": "quantiles .05 and .95 of the draws"})


def inference_data(object_id: np.ndarray, classes: tuple[str, ...], draws: np.ndarray):
    """Return draws of shape (n_draws, n, K) as ArviZ keeps them; see `Posterior.to_inference_data`."""
    with warnings.catch_warnings():
        # ArviZ 0.23 announces its next version at import, once a day.
        warnings.simplefilter("ignore", FutureWarning)
        import arviz
    import xarray as xr

    dims = ("chain", "draw", "object_id", "class")
    coordinates = {"chain": [0], "draw": np.arange(len(draws)), "object_id": object_id}
    group = xr.Dataset({"probability": (dims, draws[None])}, coordinates | {"class": np.array(classes)})
    if hasattr(arviz, "InferenceData"):
        return arviz.InferenceData(posterior=group)
    return xr.DataTree.from_dict({"posterior": group})
