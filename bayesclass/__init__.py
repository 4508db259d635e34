"""Calibrated class probabilities of astronomical transients and variables."""

from importlib import import_module

__version__ = "0.1.0"
_HOME = {
    "Classifier": "bayesclass.classifier",
    "Posterior": "bayesclass.posterior",
    "Fractions": "bayesclass.prior_shift",
    "Prior": "bayesclass.priors",
    "estimate_fractions": "bayesclass.prior_shift",
    "Recipe": "bayesclass.recipe",
    "Taxonomy": "bayesclass.taxonomy",
    "BayesianNetwork": "bayesclass.network",
    "JointSpec": "bayesclass.network_spec",
    "LatentSpec": "bayesclass.network_spec",
    "NetworkSpec": "bayesclass.network_spec",
    "LearnedStructure": "bayesclass.structure_learning",
    "compare": "bayesclass.comparison",
    "evaluate": "bayesclass.evaluation",
    "learn_edges": "bayesclass.structure_learning",
    "read_bif": "bayesclass.network_bif",
    "PooledTable": "bayesclass.pooling",
    "pool_table": "bayesclass.pooling",
    "RegionPrior": "bayesclass.sky_prior",
    "ObjectPrior": "bayesclass.object_prior",
    "PosteriorSpec": "bayesclass.virtual_posteriors",
}
__all__ = [
    "BayesianNetwork",
    "Classifier",
    "Fractions",
    "JointSpec",
    "LatentSpec",
    "LearnedStructure",
    "NetworkSpec",
    "ObjectPrior",
    "PooledTable",
    "Posterior",
    "PosteriorSpec",
    "Prior",
    "Recipe",
    "RegionPrior",
    "Taxonomy",
    "__version__",
    "compare",
    "estimate_fractions",
    "evaluate",
    "learn_edges",
    "pool_table",
    "read_bif",
]


def __getattr__(name):
    """Import a public name when it is first used, so that the command line starts at once."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__():
    return sorted(set(globals()) | set(__all__))
