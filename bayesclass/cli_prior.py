"""The option ``--prior``: what it names, what it does to posteriors, what is said of it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pandas as pd

from bayesclass.classifier import Classifier
from bayesclass.posterior import Posterior
from bayesclass.prior_shift import estimate_fractions
from bayesclass.priors import Prior, PriorError
from bayesclass.tables import InputError
from bayesclass.taxonomy import Taxonomy
from structurefn.light_curves import LightCurves

ESTIMATE = "estimate"
NAMES = ("uniform", "training", ESTIMATE)

__all__ = ["choose_prior", "for_one_object", "read_prior", "with_chosen_prior"]


def choose_prior(choice: str, classifier: Classifier) -> Prior | None:
    """Return the prior that an option names, before the long work; None for one that is to be estimated.

    Parameters
    ----------
    choice : str
        "uniform", "training", "estimate" or the path of a TOML file.
    classifier : Classifier
        Fitted.

    Raises
    ------
    InputError
        If it is none of these, or the file can't be used.
    """
    if choice == ESTIMATE:
        return None
    if choice == "training":
        return Prior.training(classifier)
    taxonomy = classifier.recipe.taxonomy
    if choice == "uniform":
        return Prior.uniform(taxonomy)
    if Path(choice).suffix.lower() != ".toml":
        raise InputError(
            f"--prior must be {', '.join(NAMES)} or a .toml file with a probability of each class, found "
            f"{choice!r}: name one of them."
        )
    return read_prior(Path(choice), taxonomy, Prior.training(classifier))


def read_prior(path: Path, taxonomy: Taxonomy, training: Prior) -> Prior:
    """Read a prior from a TOML file with lines such as ``Ia = 0.7`` or ``core-collapse = 0.3``.

    Parameters
    ----------
    path : Path
        Keys are leaves or inner nodes; see `Prior.from_mapping`.
    taxonomy : Taxonomy
    training : Prior
        Shares an inner node's probability among its leaves.

    Raises
    ------
    InputError
        If the file is absent, is no TOML, or holds no prior of these classes.
    """
    try:
        probability = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path} must be a readable file, but reading failed ({error.strerror}): check the path."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} must be TOML in UTF-8, but it is not ({error}): mend it.") from error
    try:
        return Prior.from_mapping(probability, taxonomy, training, name=str(path))
    except PriorError as error:
        raise InputError(f"{path}: {error}") from error


def with_chosen_prior(posterior: Posterior, prior: Prior | None) -> tuple[Posterior, list[str]]:
    """Return posteriors under a prior, and lines that say which.

    Parameters
    ----------
    posterior : Posterior
        Under the training prior.
    prior : Prior or None
        None estimates the class fractions of these objects and uses them.

    Raises
    ------
    ValueError
        Of our own kinds: as `Posterior.with_prior` and `estimate_fractions`.
    """
    prior, lines = _estimated(posterior) if prior is None else (prior, [])
    return posterior.with_prior(prior), [*lines, *_said(prior)]


def for_one_object(
    classifier: Classifier, prior: Prior | None, light_curves: LightCurves, objects: pd.DataFrame | None
) -> tuple[Prior, list[str]]:
    """Return the prior with which one of several objects is explained, and lines that say which.

    Parameters
    ----------
    classifier : Classifier
        Fitted.
    prior : Prior or None
        None classifies all objects and estimates their class fractions, as `classify` does.
    light_curves : LightCurves
        Of all objects.
    objects : DataFrame or None
        Context of all objects.

    Raises
    ------
    ValueError
        Of our own kinds: as `estimate_fractions`.
    """
    lines = []
    if prior is None:
        prior, lines = _estimated(classifier.classify(light_curves, objects))
    return prior, [*lines, *_said(prior)]


def _estimated(posterior: Posterior) -> tuple[Prior, list[str]]:
    fractions = estimate_fractions(posterior.probability, posterior.prior)
    return fractions.prior(), fractions.text().splitlines()


def _said(prior: Prior) -> list[str]:
    return [
        f"prior: {prior}",
        "prediction sets: of the training prior, with the most probable class, without impossible ones",
    ]
