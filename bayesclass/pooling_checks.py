"""Counts replicated from a pooled table's posterior, against the observed ones."""

from __future__ import annotations

import numpy as np
import pandas as pd

from bayesclass.pooling_model import quiet

__all__ = ["check_classes", "inference_data", "replicate"]


def replicate(pooled, rng: np.random.Generator, n_predictive: int = 250):
    """Draw counts as the model makes them: a new table for each group and class, then its counts.

    Parameters
    ----------
    pooled : PooledTable
    rng : Generator
    n_predictive : int
        Draws of each chain, evenly spaced.

    Returns
    -------
    replicated : float array, shape (n_chains, n_predictive, n_groups, n_classes, n_states)
        Multinomial in whole objects, scaled to the observed weight where that is not whole.
    alpha : float array, the same shape
        kappa mu, the parameters that they were drawn with.
    """
    draws, counts = pooled.draws, pooled.counts
    kept = np.linspace(0, draws.kappa.shape[1] - 1, min(n_predictive, draws.kappa.shape[1])).astype(int)
    mu = draws.mu[:, kept][:, :, list(pooled.tree.leaf)]
    alpha = draws.kappa[:, kept][..., None, None] * mu[:, :, None]
    total = counts.sum(axis=-1)
    whole = np.where(total > 0, np.maximum(np.rint(total), 1), 0).astype(int)
    gamma = rng.standard_gamma(alpha) + np.finfo(float).tiny
    drawn = rng.multinomial(whole, gamma / gamma.sum(axis=-1, keepdims=True))
    return drawn * (total / np.maximum(whole, 1))[..., None], alpha


def check_classes(pooled, *, seed: int = 0, n_predictive: int = 250) -> pd.DataFrame:
    r"""Posterior predictive p-value of each class: how often replicated counts scatter more than observed.

    The discrepancy is the sum over groups and states of (n - N mu)^2 / V, V the Dirichlet-multinomial
    variance N mu (1 - mu) (N + kappa) / (1 + kappa), at the same draw for both (Gelman, Meng & Stern 1996,
    Statistica Sinica 6, 733). Near 0, groups differ more in that class than in the others.

    Returns
    -------
    DataFrame
        Index class; columns observed and replicated (means of the discrepancy), p_value.
    """
    replicated, alpha = replicate(pooled, np.random.default_rng(seed), n_predictive)
    kappa = alpha.sum(axis=-1, keepdims=True)
    mu, total = alpha / kappa, pooled.counts.sum(axis=-1, keepdims=True)
    variance = total * mu * (1.0 - mu) * (total + kappa) / (1.0 + kappa)

    def discrepancy(counts):
        safe = np.where(variance > 0, variance, 1.0)
        terms = np.where(variance > 0, (counts - total * mu) ** 2 / safe, 0.0)
        # Over groups and states; a state of nearly no probability would rule a plain sum.
        return np.minimum(terms, 1e6).sum(axis=(-3, -1)).reshape(-1, pooled.counts.shape[1])

    observed, drawn = discrepancy(pooled.counts), discrepancy(replicated)
    columns = {"observed": observed.mean(axis=0), "replicated": drawn.mean(axis=0)}
    columns["p_value"] = (drawn >= observed).mean(axis=0)
    return pd.DataFrame(columns, pd.Index(pooled.classes, name="class"))


def inference_data(pooled, n_predictive: int):
    """Return the groups posterior, sample_stats, observed_data and posterior_predictive of a pooled table."""
    from bayesclass.pooling import OTHER

    with quiet():
        import arviz
    import xarray as xr

    draws, n_chains, n_draws = pooled.draws, *pooled.draws.kappa_typical.shape
    names = pooled.groups if len(pooled.counts) == len(pooled.groups) else (*pooled.groups, OTHER)
    one = ("chain", "draw")
    cells = ("group", "class", "state")
    labels = {"group": list(names), "class": list(pooled.classes), "state": list(pooled.states)}
    steps = {"chain": np.arange(n_chains), "draw": np.arange(n_draws)}
    posterior = {
        "kappa": ((*one, "group"), draws.kappa),
        "kappa_typical": (one, draws.kappa_typical),
        "mu": ((*one, "node", "state"), draws.mu),
    }
    nodes = {"node": list(pooled.tree.names), "group": labels["group"], "state": labels["state"]}
    if pooled.tree.n_levels:
        posterior["kappa_tree"] = ((*one, "level"), draws.kappa_tree)
        nodes["level"] = [f"level {i + 1}" for i in range(pooled.tree.n_levels)]
    replicated, _ = replicate(pooled, np.random.default_rng(pooled.seed), n_predictive)
    predicted = {"chain": steps["chain"], "draw": np.arange(replicated.shape[1])}
    found = pooled.diagnostics
    facts = {
        "converged": int(found.converged),
        "r_hat_max": found.r_hat,
        "worst_parameter": found.worst,
        "ess_bulk_min": found.ess_bulk,
        "ess_tail_min": found.ess_tail,
        "divergences": found.divergences,
        "seconds": found.seconds,
    }
    datasets = {
        "posterior": xr.Dataset(posterior, steps | nodes, facts),
        "posterior_predictive": xr.Dataset({"counts": ((*one, *cells), replicated)}, predicted | labels),
        "sample_stats": xr.Dataset({"diverging": (one, draws.diverging)}, steps),
        "observed_data": xr.Dataset({"counts": (cells, pooled.counts)}, labels),
    }
    if hasattr(arviz, "InferenceData"):
        return arviz.InferenceData(**datasets)
    return xr.DataTree.from_dict(datasets)
