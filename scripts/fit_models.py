"""Fit the models that come with the package, on the labelled survey data, and write their model cards.

    python scripts/fit_models.py DATA_DIR [--only NAME]

DATA_DIR holds a folder for each survey with lightcurves.parquet and objects.csv. Each model goes to
bayesclass/models/NAME, replaces the one that is there, and holds no data of any training object.
"""

import argparse
import json
import re
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from bayesclass import Classifier, metrics
from bayesclass.progress import progress_bars
from bayesclass.rehearsal import evidence_rows
from bayesclass.storage import load_model
from bayesclass.tables import read_light_curves, read_objects

MODELS = Path(__file__).resolve().parents[1] / "bayesclass" / "models"


@dataclass(frozen=True)
class Source:
    """Where a model's training sample comes from, and what must be said about it.

    Attributes
    ----------
    folder : str
        Under the data directory.
    data : str
        What the sample is, with its citation.
    limits : tuple of str
        What the model must not be trusted with.
    """

    folder: str
    data: str
    limits: tuple[str, ...]


SOURCES = {
    "crts-transients": Source(
        folder="crts",
        data="Transients found by the Catalina Real-Time Transient Survey (Drake et al. 2009, ApJ 696, 870) "
        "with the survey's own classes, as collected in the MANTRA data set (Neira et al. 2020, ApJS 250, "
        "11). Unfiltered photometry of the total light, four exposures within half an hour, then weeks "
        "without.",
        limits=(
            "Sources that are not transients: the sample holds only what the survey reported as one, so an "
            "ordinary variable star or a quiet source gets the probabilities of the nearest transient class.",
            "Photometry of other surveys or filters, or difference photometry.",
            "Other mixtures of classes: the prior is that of the sample, which is not the sky's.",
            "The classes were given by people who had seen the light curve and the archival images.",
        ),
    ),
    "ztf-supernovae": Source(
        folder="ztf_bts",
        data="Supernovae of the Zwicky Transient Facility's Bright Transient Survey (Bellm et al. 2019, PASP "
        "131, 018002; Fremling et al. 2020, ApJ 895, 32; Perley et al. 2020, ApJ 904, 35) with "
        "spectroscopic classes, g and r difference photometry of detections, and quantities of the "
        "nearest galaxy.",
        limits=(
            "Anything that is no supernova of these five classes: tidal disruptions, novae, active nuclei, "
            "cataclysmic variables, moving objects and artefacts are not in the class tree. Look at "
            "`novelty`.",
            "Faint supernovae: the sample peaks brighter than about 19 mag, and apparent magnitudes are "
            "evidence in the model.",
            "Photometry of the total light, or in other filters.",
            "Complete samples: the prior is that of a sample limited by brightness, three quarters of it Ia.",
            "Rare classes: SLSN and IIn rest on a few dozen objects each, as their intervals show.",
        ),
    ),
    "des-supernovae": Source(
        folder="snpcc",
        data="Simulated light curves like those of the Dark Energy Survey, of the Supernova Photometric "
        "Classification Challenge (Kessler et al. 2010, PASP 122, 1415; classes disclosed afterwards): griz "
        "difference fluxes with zero point 27.5, the host's photometric redshift and its error. All train, "
        "not only those marked spectroscopic.",
        limits=(
            "Real light curves without a check on some of known class: everything here is simulated, also "
            "the host's redshift.",
            "Other cadences or depths than a DES-like deep survey; fluxes of another zero point must be "
            "brought to 27.5 first.",
            "Anything that is no supernova of these three classes. Look at `novelty`.",
            "A training sample of bright, spectroscopically confirmed supernovae of one's own: fit anew, as "
            "`docs/concepts/biased-training.md` says.",
        ),
    ),
    "eros-variables": Source(
        folder="eros1",
        data="Variable stars of the Large Magellanic Cloud in B and R, from the first phase of the survey "
        "EROS (Aubourg et al. 1993, Nature 365, 623), with the classes of its published training split.",
        limits=(
            "Variables at other distances: all stars of the sample are at that of the Large Magellanic "
            "Cloud, so that apparent brightness stands for luminosity.",
            "Stars that do not vary, and classes of variables that are not among the four.",
            "Some labels contradict the light curve (a cepheid's period and brightness under the label RR "
            "Lyrae, and the other way round): to 5.6 % of the objects, trees on all features give the label "
            "a probability below .1. That bounds what any figure here can reach.",
        ),
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Fit one model or all; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, metavar="DATA_DIR", help="folder of the labelled survey data")
    parser.add_argument("--only", choices=sorted(SOURCES), metavar="NAME", help=f"one of {sorted(SOURCES)}")
    options = parser.parse_args(arguments)
    for name in [options.only] if options.only else SOURCES:
        folder = options.data / SOURCES[name].folder
        if not (folder / "lightcurves.parquet").is_file():
            print(f"{folder} must hold lightcurves.parquet, but does not: check DATA_DIR.", file=sys.stderr)
            return 2
        fit_one(name, folder)
    return 0


def fit_one(name: str, folder: Path) -> None:
    """Fit and save one model with its card."""
    start = time.perf_counter()
    classifier = Classifier.from_recipe(name)
    wanted = classifier.recipe.light_curves
    light_curves = read_light_curves(
        folder / "lightcurves.parquet", channels=wanted.channels, aliases=wanted.aliases
    )
    objects = read_objects(folder / "objects.csv")
    with progress_bars() as progress:
        classifier.fit(light_curves, objects, progress=progress)
    MODELS.mkdir(exist_ok=True)
    fresh, path = MODELS / f"{name}.part", MODELS / name
    shutil.rmtree(fresh, ignore_errors=True)
    classifier.save(fresh)
    # Before it takes the place of the one that is shipped.
    check_no_training_object(fresh, objects["object_id"].astype(str).tolist(), light_curves.n_points)
    (fresh / "MODEL_CARD.md").write_text(model_card(classifier, SOURCES[name]), encoding="utf-8")
    shutil.rmtree(path, ignore_errors=True)
    fresh.rename(path)
    size = sum(file.stat().st_size for file in path.iterdir()) / 1e6
    print(json.dumps(classifier.summary, indent=1))
    print(f"{name}: {size:.1f} MB in {path}, {time.perf_counter() - start:.0f} s")


def held_out_figures(classifier: Classifier) -> tuple[list[str], str]:
    """Rows of the card's table, and what prediction sets cover."""
    fitted, leaves = classifier.fitted, classifier.recipe.taxonomy.leaves
    rehearsal = fitted.rehearsal
    member = (rehearsal.length == 0) & (rehearsal.allowed.sum(axis=1) == 1)
    y, rows = rehearsal.allowed[member].argmax(axis=1), []
    for name, experts in evidence_rows(fitted.pool.experts).items():
        if not classifier.recipe.evidence and "context" in name:
            continue
        p = rehearsal.probability(experts, fitted.pool.log_prior)
        own = p[member]
        figures = (metrics.log_loss(own, y), metrics.accuracy(own, y), metrics.macro_f1(own, y))
        auc = metrics.roc_auc(own[:, 0], y == 0)
        cells = [
            *(f"{figure:.3f}" for figure in figures),
            f"{auc:.4f}",
            f"{metrics.classwise_ece(own, y):.4f}",
        ]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    hit = rehearsal.prediction_sets(p)[member][range(len(y)), y]
    by_class = ", ".join(f"{leaf} {hit[y == k].mean():.1%}" for k, leaf in enumerate(leaves))
    return rows, f"{hit.mean():.1%} of the objects ({by_class})"


def _features(summary: dict) -> list[str]:
    """Paragraph on the features that matter, where there are features."""
    if not summary.get("features"):
        return []
    named = ", ".join(f"{name} {share:.1%}" for name, share in summary["features"].items())
    return [f"Features with the largest share of the trees' gain: {named}.", ""]


def check_no_training_object(path: Path, object_ids: list[str], n_points: int) -> None:
    """Refuse a model that names a training object, or that has an array with an entry for each.

    Raises
    ------
    ValueError
        If it does.
    """
    manifest, arrays = load_model(path)
    # Names such as "19" stand in any file of numbers; they could not be told apart.
    telling = {name for name in object_ids if len(name) >= 7}
    text = {"model.json": json.dumps(manifest)}
    text |= {name: " ".join(map(str, a.ravel())) for name, a in arrays.items() if a.dtype.kind in "US"}
    for where, content in text.items():
        found = telling.intersection(re.findall(r"[\w.+-]+", content))
        if found:
            raise ValueError(f"A shipped model must name no training object, but {where} has {found.pop()}.")
    for name, values in arrays.items():
        if {len(object_ids), manifest["summary"]["n_objects"], n_points} & set(values.shape):
            raise ValueError(
                f"A shipped model must hold nothing object by object, but {name} is {values.shape}."
            )


def model_card(classifier: Classifier, source: Source) -> str:
    """Text of MODEL_CARD.md."""
    recipe, summary = classifier.recipe, classifier.summary
    counts = summary["class_counts"]
    n_known = sum(counts.values())
    classes = [f"| {leaf} | {count} | {count / n_known:.1%} |" for leaf, count in counts.items()]
    unmapped = ", ".join(f"{label} {count}" for label, count in summary["unmapped_labels"].items()) or "none"
    figures, sets = held_out_figures(classifier)
    evidence = [
        f"- `{spec.name}`" + (f" [{spec.unit}]" if spec.unit not in ("", "1") else "")
        for spec in recipe.evidence
    ]
    kernel = classifier.fitted.representation.kernel
    holds = "densities and tables of the classes, weights"
    if kernel is not None:
        holds += f", and {len(kernel.landmarks)} cluster centres of smoothed structure-function maps"
        holds += " (a few rest on a single light curve: a blurred histogram of its changes, without times)"
    lines = [
        f"# {recipe.name}: {recipe.title}",
        "",
        "Fitted by `scripts/fit_models.py`, which wrote this card too.",
        "",
        "## Training sample",
        "",
        source.data,
        "",
        f"{summary['n_objects']} labelled objects, {summary['n_partial_labels']} of them with a label that "
        f"allows several classes; {summary['n_unlabelled']} objects were left out, because their label is in "
        f"no class of the tree: {unmapped}.",
        "",
        "| class | objects | share |",
        "|---|---|---|",
        *classes,
        "",
        "## Evidence",
        "",
        f"Light curves ({recipe.light_curves.photometry} photometry, {recipe.light_curves.quantity}) in "
        f"{', '.join(recipe.light_curves.channels)}; upper limits are counted, not used. "
        f"Context: {'' if evidence else 'none.'}",
        "",
        *evidence,
        "",
        "Any of it may be missing. Spectroscopic redshifts, dates and numbers of points are not used.",
        "",
        "## Held-out figures",
        "",
        f"{recipe.fit.folds}-fold cross-fitting, every object at full length; weights and thresholds of sets "
        "from the other folds too. Log-loss [nat], macro-F1, class-wise calibration error in 15 bins.",
        "",
        f"| evidence | log-loss | accuracy | macro-F1 | AUC of {recipe.taxonomy.leaves[0]} | calibration "
        "error |",
        "|---|---|---|---|---|---|",
        f"| class frequencies alone | {summary['log_loss_class_frequencies']:.3f} | | | | |",
        *figures,
        "",
        f"A perfectly calibrated model has a calibration error of {summary['ece_null']:.3f} with as many "
        f"objects. Prediction sets hold the class of {sets}.",
        "",
        *_features(summary),
        "## Not for",
        "",
        *(f"- {limit}" for limit in source.limits),
        "",
        "## What it holds",
        "",
        f"{holds[0].upper()}{holds[1:]}. No identifier, position, time or measurement of a "
        "training object, and no code.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
