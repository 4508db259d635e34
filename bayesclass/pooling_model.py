r"""The pooled table as a PyMC model, and draws from its posterior by NUTS.

.. math:: n_{gc} \sim \mathrm{DirichletMultinomial}(\kappa_g \mu_c), \qquad
          \mu_c \sim \mathrm{Dirichlet}(\kappa_\mathrm{level}\, \mu_\mathrm{parent}), \qquad
          \log \kappa_g \sim N(m, \tau), \quad m, \log \kappa_\mathrm{level} \sim N(\log 30, 1.5)

The density of tables and counts is one operation that PyMC calls, compiled by Numba once in a process for all
shapes, so that no C compiler is needed and the graph itself may run in Python.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import logging
import warnings
from dataclasses import dataclass

import numpy as np

from bayesclass.pooling_tree import PoolingTree

__all__ = ["Draws", "build_model", "quiet", "sample"]

# Where chains start.
KAPPA_MEDIAN = 30.0


@dataclass(frozen=True)
class Draws:
    """Draws from the posterior; the first two axes are chains and draws.

    Attributes
    ----------
    kappa : float64 array, shape (n_chains, n_draws, n_groups)
    kappa_typical : float64 array, shape (n_chains, n_draws)
        exp(m): the median of the concentrations of groups.
    kappa_tree : float64 array, shape (n_chains, n_draws, n_levels)
    mu : float64 array, shape (n_chains, n_draws, n_nodes, n_states)
    diverging : bool array, shape (n_chains, n_draws)
    """

    kappa: np.ndarray
    kappa_typical: np.ndarray
    kappa_tree: np.ndarray
    mu: np.ndarray
    diverging: np.ndarray


@contextlib.contextmanager
def quiet():
    """Silence what PyMC, PyTensor and ArviZ say at import and sampling; diagnostics are read from draws."""
    loggers = [logging.getLogger(name) for name in ("pytensor.configdefaults", "pymc")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def build_model(counts: np.ndarray, tree: PoolingTree, spread: float):
    """Return the PyMC model of counts of shape (n_groups, n_classes, n_states).

    Parameters
    ----------
    counts : float array, shape (n_groups, n_classes, n_states)
    tree : PoolingTree
    spread : float
        tau, the spread of the groups' log concentrations; with 0 they share one.

    Returns
    -------
    pymc.Model
        One free variable, "point": see `bayesclass.pooling_density.value_and_gradient`. One call for all
        parameters keeps the graph so small that it need not be compiled.
    """
    import pymc as pm

    data = _data(counts, tree, spread)
    start = np.zeros(1 + len(counts) + tree.n_levels + len(tree.names) * counts.shape[-1])
    start[0] = start[1 + len(counts) : 1 + len(counts) + tree.n_levels] = np.log(KAPPA_MEDIAN)
    with pm.Model() as model:
        point = pm.Flat("point", shape=len(start), initval=start)
        pm.Potential("log posterior", _density_op()(data)(point)[0])
    return model


def _data(counts: np.ndarray, tree: PoolingTree, spread: float) -> tuple:
    """Return what the density needs beside the point."""
    from bayesclass.pooling_density import effective_counts

    positions = (np.array(x, dtype=np.int64) for x in (tree.parent, tree.depth, tree.leaf))
    counts = np.ascontiguousarray(counts, dtype=float)
    return (float(spread), counts, effective_counts(counts, tree), *positions)


@functools.cache
def _density_op():
    """Return the class of the operation; made at the first use, for PyTensor is slow to import."""
    import pytensor.tensor as pt
    from pytensor.graph import Apply, Op

    from bayesclass.pooling_density import value_and_gradient

    class LogPosterior(Op):
        """Log-density of a point, followed by its gradient."""

        def __init__(self, data):
            self.data = data

        def make_node(self, point):
            point = pt.as_tensor_variable(point)
            return Apply(self, [point], [pt.dscalar(), point.type()])

        def perform(self, node, inputs, outputs):
            value, gradient = value_and_gradient(np.ascontiguousarray(inputs[0]), *self.data)
            outputs[0][0], outputs[1][0] = np.asarray(value), gradient

        def grad(self, inputs, output_gradients):
            return [output_gradients[0] * self(*inputs)[1]]

    return LogPosterior


def sample(
    counts: np.ndarray,
    tree: PoolingTree,
    *,
    spread: float,
    n_draws: int,
    n_tune: int,
    n_chains: int,
    target_accept: float,
    seed: int,
    sampler: str | None = None,
) -> Draws:
    """Draw from the posterior by NUTS: with nutpie where it is installed, else with PyMC's own.

    Parameters
    ----------
    counts, tree, spread
        As for `build_model`.
    n_draws, n_tune : int
        Of each chain.
    n_chains : int
    target_accept : float
        Mean acceptance at which the step is tuned.
    seed : int
    sampler : {"nutpie", "pymc"}, optional

    Returns
    -------
    Draws
    """
    if sampler is None:
        sampler = "nutpie" if importlib.util.find_spec("nutpie") is not None else "pymc"
    with quiet():
        import pymc  # noqa: F401  # within `quiet`, for what it says where there is no C compiler
        import pytensor

        # The graph is a few nodes around one call: running it in Python costs less than compiling it.
        with pytensor.config.change_flags(cxx="", mode="FAST_COMPILE"):
            model = build_model(counts, tree, spread)
            run = _by_nutpie if sampler == "nutpie" else _by_pymc
            point, diverging = run(model, n_draws, n_tune, n_chains, target_accept, seed)
    return _read(point, diverging, counts, tree, spread)


def _by_pymc(model, n_draws, n_tune, n_chains, target_accept, seed):
    import pymc as pm

    with model:
        trace = pm.sample(
            n_draws,
            tune=n_tune,
            chains=n_chains,
            # One process: a fork of one that runs JAX may hang.
            cores=1,
            random_seed=seed,
            target_accept=target_accept,
            progressbar=False,
            nuts_sampler="pymc",
            compute_convergence_checks=False,
        )
    return trace.posterior["point"].to_numpy(), trace.sample_stats["diverging"].to_numpy()


def _by_nutpie(model, n_draws, n_tune, n_chains, target_accept, seed):
    import nutpie
    from nutpie.compiled_pyfunc import from_pyfunc

    function = model.logp_dlogp_function(ravel_inputs=True)
    function.set_extra_values({})
    start = model.initial_point(0)["point"]

    def density(x):
        value, gradient = function(x)
        return float(value), np.asarray(gradient)

    compiled = from_pyfunc(
        len(start),
        lambda: density,
        lambda *_: lambda x: {"point": x},
        [start.dtype],
        [start.shape],
        ["point"],
        make_initial_point_fn=lambda seed: start + np.random.default_rng(seed).uniform(-1, 1, len(start)),
    )
    # One at a time: the compiled function keeps its arguments in a place of its own.
    trace = nutpie.sample(
        compiled,
        draws=n_draws,
        tune=n_tune,
        chains=n_chains,
        cores=1,
        seed=seed,
        target_accept=target_accept,
        save_warmup=False,
        progress_bar=False,
    )
    return trace.posterior["point"].to_numpy(), trace.sample_stats["diverging"].to_numpy()


def _read(point, diverging, counts, tree, spread) -> Draws:
    """Points to concentrations and tables."""
    from bayesclass.pooling_density import many_log_tables

    shape, sizes = point.shape[:2], (1, len(counts), tree.n_levels)
    typical, offset, log_kappa_tree, z = np.split(point, np.cumsum(sizes), axis=-1)
    z = z.reshape(-1, len(tree.names), counts.shape[-1])
    _, _, effective, parent, depth, _ = _data(counts, tree, spread)
    levels = np.ascontiguousarray(log_kappa_tree).reshape(len(z), -1)
    log_mu = many_log_tables(np.ascontiguousarray(z), levels, effective, parent, depth)
    return Draws(
        np.exp(typical + spread * offset),
        np.exp(typical[..., 0]),
        np.exp(log_kappa_tree),
        np.exp(log_mu).reshape(*shape, *z.shape[1:]),
        diverging.astype(bool),
    )
