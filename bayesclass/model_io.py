"""A fitted model as plain JSON and arrays, and back. Nothing in it is code."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np

from bayesclass.calibration import ConformalSets
from bayesclass.containers import ModelError
from bayesclass.context_expert import ContextExpert
from bayesclass.experts import LightCurveExperts
from bayesclass.feature_expert import FeatureExpert
from bayesclass.fitting import Fitted
from bayesclass.novelty import Novelty
from bayesclass.pool import Pool
from bayesclass.recipe import Recipe
from bayesclass.representation import Representation, runtime_streams
from bayesclass.tree_ensemble import TreeEnsemble
from structurefn.density import Density
from structurefn.grids import Grid
from structurefn.kernel_features import KernelFeatures
from structurefn.kernel_logistic import KernelLogistic
from structurefn.limit_density import limit_density
from structurefn.response import response_matrix
from structurefn.streams import Stream

KERNEL_ARRAYS = ("mean", "basis", "landmarks")
# Half precision where 1e-3 relative is far below the statistical error, and size matters.
HALF = ("basis", "landmarks", "draws")


def pack(fitted: Fitted, recipe: Recipe, summary: dict) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Split a fit into a manifest of plain values and named arrays."""
    experts, representation = fitted.experts, fitted.representation
    arrays = {"experts/log_train": experts.log_train}
    for name, density in experts.densities.items():
        arrays[f"density/{name}/true"] = density.true.astype(np.float32)
        arrays[f"density/{name}/effective_events"] = density.effective_events.astype(np.float32)
    manifest = {
        "recipe": recipe.to_dict(),
        "grids": {stream.name: _plain_grid(stream.grid) for stream in experts.streams},
        "densities": {
            name: {"strength": float(density.strength), "tail": float(density.tail)}
            for name, density in experts.densities.items()
        },
        "scales": representation.scales,
        "kernel": None,
        "pool": fitted.pool.to_dict(),
        "sets": fitted.sets.to_dict(),
        "softening": representation.softening,
        "summary": summary,
    }
    if representation.kernel is not None:
        manifest["kernel"] = {"gamma": float(representation.kernel.gamma)}
        parts = {name: getattr(representation.kernel, name) for name in KERNEL_ARRAYS}
        # The whitening is larger than what it does to the few classes' weights.
        whitening, trained = representation.kernel.whitening, experts.trained
        trained = trained if whitening is None else trained.folded(whitening)
        parts |= {"theta": trained.theta, "draws": trained.draws}
        for name, values in parts.items():
            arrays[f"kernel/{name}"] = values.astype(np.float16 if name in HALF else np.float32)
    if experts.published is not None:
        arrays["features/log_train"] = experts.published.log_train
        arrays["features/gain"] = experts.published.gain
        arrays |= {f"features/{k}": v for k, v in experts.published.trees.to_arrays().items()}
    novelty = fitted.novelty
    if representation.kernel is not None:
        novelty = novelty.folded(representation.kernel.whitening)
    arrays |= {f"novelty/{name}": values for name, values in novelty.to_arrays().items()}
    meta, of_context = fitted.context.to_arrays()
    return manifest | meta, arrays | of_context


def unpack(manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[Recipe, Fitted, dict]:
    """Inverse of `pack`, up to the precision in which arrays are stored.

    Raises
    ------
    ModelError
        If an entry or array is missing or of another kind than `pack` writes.
    """
    try:
        return _unpack(manifest, arrays)
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        found = f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
        raise ModelError(
            f"A model must hold every part that a fit writes, but one is missing or of another form "
            f"({found}): fit it again, or use the version of bayesclass that wrote it."
        ) from error


def _unpack(manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> tuple[Recipe, Fitted, dict]:
    recipe = Recipe.from_dict(manifest["recipe"], source="model")
    # The grids of the fit, whatever the defaults of this version are.
    streams = tuple(
        replace(stream, grid=_grid(manifest["grids"][stream.name]))
        for stream in runtime_streams(recipe.streams)
    )
    densities = {}
    for stream in streams:
        if stream.name in manifest["densities"]:
            densities[stream.name] = _density(
                stream,
                arrays[f"density/{stream.name}/true"],
                effective_events=arrays[f"density/{stream.name}/effective_events"],
                **manifest["densities"][stream.name],
            )
    kernel = trained = None
    if manifest["kernel"] is not None:
        parts = {name: arrays[f"kernel/{name}"].astype(np.float32) for name in KERNEL_ARRAYS}
        whitening = arrays.get("kernel/whitening")
        whitening = None if whitening is None else whitening.astype(np.float32)
        kernel = KernelFeatures(**parts, whitening=whitening, gamma=manifest["kernel"]["gamma"])
        trained = KernelLogistic(arrays["kernel/theta"], arrays["kernel/draws"].astype(np.float32))
    published = None
    if recipe.features is not None:
        trees = {k.removeprefix("features/"): v for k, v in arrays.items() if k.startswith("features/")}
        published = FeatureExpert(TreeEnsemble.from_arrays(trees), trees["log_train"], trees["gain"])
    fitted = Fitted(
        representation=Representation(
            streams,
            recipe.light_curves.night,
            manifest["softening"],
            manifest["scales"],
            kernel,
            recipe.light_curves.systematic,
            recipe.features,
        ),
        experts=LightCurveExperts(streams, densities, trained, arrays["experts/log_train"], published),
        context=ContextExpert.from_arrays(manifest, arrays),
        pool=Pool.from_dict(manifest["pool"]),
        sets=ConformalSets.from_dict(manifest["sets"]),
        novelty=Novelty.from_arrays(
            {k.removeprefix("novelty/"): v for k, v in arrays.items() if k.startswith("novelty/")}
        ),
        summary=manifest["summary"],
    )
    return recipe, fitted, manifest["summary"]


def _density(stream: Stream, true: np.ndarray, **kept) -> Density:
    """Carry stored probabilities of true cells through the errors, or those of limits to non-detections."""
    if stream.kind == "limits":
        return limit_density(true, stream.grid, **kept)
    response = response_matrix(stream.grid.column_edges, stream.grid.error_centres)
    return Density.from_true(true, response, **kept)


def _plain_grid(grid: Grid) -> dict:
    """Plain values of a grid; JSON has no infinity, so an infinite column scale is stored as null."""
    return {k: None if isinstance(v, float) and np.isinf(v) else v for k, v in asdict(grid).items()}


def _grid(plain: dict) -> Grid:
    """Inverse of `_plain_grid`."""
    values = {k: tuple(v) if isinstance(v, list | tuple) else v for k, v in plain.items()}
    return Grid(**{k: np.inf if v is None else v for k, v in values.items()})
