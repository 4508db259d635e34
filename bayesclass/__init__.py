"""Calibrated class probabilities of astronomical transients and variables."""

from importlib import import_module

__version__ = "0.1.0"
_HOME = {
    "Classifier": "bayesclass.classifier",
    "Posterior": "bayesclass.posterior",
    "Recipe": "bayesclass.recipe",
    "Taxonomy": "bayesclass.taxonomy",
    "BayesianNetwork": "bayesclass.network",
    "JointSpec": "bayesclass.network_spec",
    "NetworkSpec": "bayesclass.network_spec",
    "evaluate": "bayesclass.evaluation",
}
__all__ = [
    "BayesianNetwork",
    "Classifier",
    "JointSpec",
    "NetworkSpec",
    "Posterior",
    "Recipe",
    "Taxonomy",
    "__version__",
    "evaluate",
]


def __getattr__(name):
    """Import a public name when it is first used, so that the command line starts at once."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__():
    return sorted(set(globals()) | set(__all__))
