"""Judgement of a table of class probabilities against labels: scores, calibration, mistakes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from bayesclass import metrics
from bayesclass.recipe import Recipe
from bayesclass.tables import InputError
from structurefn.columns import LightCurveError, labels, numbers

DETECTION_BINS = ((0, 0), (1, 1), (2, 3), (4, 5), (6, 10), (11, 30), (31, 100), (101, None))
# What a truth of probability zero is taken for, so that one object cannot make the mean infinite.
FLOOR = 1e-15
FEW_OBJECTS = 100
WORST = 25


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What the labels say about the probabilities.

    Attributes
    ----------
    recipe, title : str
    classes : tuple of str
    counts : dict of str to int
        What took part and what did not, in objects.
    summary : DataFrame
        metric, value, lower, upper (95 % bootstrap interval over objects; for ece_null, `upper` is the
        95 % quantile of the error of labels redrawn from the probabilities), n_objects.
    per_class : DataFrame
        One row a class, over objects of one labelled class.
    per_detections : DataFrame
        One row a bin of n_detections; without rows when that is not known.
    confusion, confusion_fuzzy : DataFrame
        Labelled class (index) by most probable class, and by the sum of probabilities.
    reliability : DataFrame
        class ("all" for all pooled), bin, lower_edge, upper_edge, n, mean_probability, frequency,
        band_lower, band_upper.
    mistakes : DataFrame
        Objects whose best class is not what the label allows, the most confident first.
    unmapped : DataFrame
        label, n_objects: labels that lead to no class of the recipe.
    notes : tuple of str
        One sentence each about what a reader should know before the numbers.
    """

    recipe: str
    title: str
    classes: tuple[str, ...]
    counts: dict[str, int]
    summary: pd.DataFrame
    per_class: pd.DataFrame
    per_detections: pd.DataFrame
    confusion: pd.DataFrame
    confusion_fuzzy: pd.DataFrame
    reliability: pd.DataFrame
    mistakes: pd.DataFrame
    unmapped: pd.DataFrame
    notes: tuple[str, ...]

    def value(self, metric: str) -> float:
        """Return one number of the summary."""
        known = self.summary.set_index("metric")["value"]
        if metric not in known:
            raise ValueError(f"There is no metric {metric!r}; known: {', '.join(known.index)}.")
        return float(known[metric])

    def __str__(self):
        lines = [f"{row.metric:<28} {_number(row)}" for row in self.summary.itertuples()]
        return "\n".join([*lines, *self.notes])

    __repr__ = __str__


@dataclass(frozen=True, eq=False)
class _Sample:
    """Probabilities and labels of the objects that take part, side by side."""

    object_id: np.ndarray
    label: np.ndarray
    p: np.ndarray
    allowed: np.ndarray
    sets: np.ndarray | None
    n_detections: np.ndarray | None
    columns: pd.DataFrame

    @property
    def one(self) -> np.ndarray:
        """Objects of exactly one labelled class, shape (n,), bool."""
        return self.allowed.sum(axis=1) == 1

    @property
    def y(self) -> np.ndarray:
        """Labelled class; meaningful where `one` holds."""
        return self.allowed.argmax(axis=1)


def evaluate(
    posteriors: pd.DataFrame,
    objects: pd.DataFrame,
    recipe: Recipe,
    *,
    seed: int = 0,
    n_resamples: int = 400,
) -> Evaluation:
    """Judge class probabilities by labels.

    Parameters
    ----------
    posteriors : DataFrame
        As `Posterior.to_frame` makes it. Needed are object_id and p_<leaf> for every leaf of the recipe;
        prediction_set and n_detections are used where present.
    objects : DataFrame
        object_id and the label columns that the recipe names.
    recipe : Recipe
        Says the classes and what a label means.
    seed : int
        Of resampling and of redrawn labels; the same seed gives the same numbers.
    n_resamples : int
        Bootstrap resamples of the objects.

    Returns
    -------
    Evaluation
        A label that allows several classes counts in the log-loss, as -log of the sum of their
        probabilities, and nowhere else.

    Raises
    ------
    InputError
        Classes that are not the recipe's, probabilities that are not numbers from 0 to 1 with a sum of
        one within 1e-3, identifiers missing or repeated, no object in common, or no usable label.
    RecipeError
        If the label's column is not in `objects`.
    """
    sample, counts, unmapped, notes = _join(posteriors, objects, recipe)
    rng = np.random.default_rng(seed)
    statistics = _statistics(sample)
    resampled = metrics.bootstrap(statistics, len(sample.p), rng, n_resamples)
    estimates = {name: statistic(np.ones(len(sample.p))) for name, statistic in statistics.items()}
    one = sample.one
    p, y = sample.p[one], sample.y[one]
    classes = recipe.taxonomy.leaves
    ends = {
        name: metrics.bootstrap_interval(estimate, resampled[name], pivotal=name == "ece")
        for name, estimate in estimates.items()
    }
    square = {"index": pd.Index(classes, name="labelled"), "columns": pd.Index(classes, name="given")}
    return Evaluation(
        recipe=recipe.name,
        title=recipe.title,
        classes=classes,
        counts=counts,
        summary=_summary(sample, estimates, ends, rng),
        per_class=_per_class(sample, classes),
        per_detections=_per_detections(sample, estimates, ends, rng),
        confusion=pd.DataFrame(metrics.confusion(p, y), **square),
        confusion_fuzzy=pd.DataFrame(metrics.confusion(p, y, fuzzy=True), **square),
        reliability=_reliability(p, y, classes, rng),
        mistakes=_mistakes(sample, classes),
        unmapped=unmapped,
        notes=tuple(notes),
    )


def _join(posteriors, objects, recipe):
    """Bring probabilities and labels together; count and note what does not take part."""
    leaves = recipe.taxonomy.leaves
    names, p = _identifiers(posteriors, "posteriors"), _probabilities(posteriors, recipe)
    others = _identifiers(objects, "objects' table")
    row = pd.Series(np.arange(len(others)), index=others).reindex(names).to_numpy(float)
    common = ~np.isnan(row)
    if not common.any():
        raise InputError(
            f"Posteriors and objects must share object_id, but none of the {len(names)} posteriors (as "
            f"'{names[0]}') is among the {len(others)} objects (as '{others[0]}'): give the table that was "
            "classified."
        )
    raw = recipe.raw_labels(objects)[row[common].astype(int)]
    allowed = recipe.taxonomy.allowed(raw)
    n_allowed = allowed.sum(axis=1)
    outside = recipe.taxonomy.unmapped(raw)
    known = (n_allowed > 0) & (n_allowed < len(leaves))
    counts = {
        "posteriors": len(names),
        "without_a_row_in_objects": int((~common).sum()),
        "objects_without_a_posterior": len(others) - int(common.sum()),
        "without_label": outside.pop("", 0),
        "label_not_in_recipe": sum(outside.values()),
        "label_allows_every_class": int((n_allowed == len(leaves)).sum()),
        "partial_label": int((known & (n_allowed > 1)).sum()),
        "one_labelled_class": int((n_allowed == 1).sum()),
    }
    if not known.any():
        raise InputError(
            f"Objects need a label of recipe {recipe.name} to be judged, but of {int(common.sum())} in "
            f"common {counts['without_label']} have none and {counts['label_not_in_recipe']} have one "
            f"that it does not map{_examples(outside)}: check column {recipe.classes.label}."
        )
    used = np.flatnonzero(common)[known]
    table = posteriors.iloc[used].reset_index(drop=True)
    sample = _Sample(
        object_id=names[used],
        label=raw[known],
        p=p[used],
        allowed=allowed[known],
        sets=_sets(table, leaves),
        n_detections=_detections(table),
        columns=table,
    )
    unmapped = pd.DataFrame({"label": list(outside), "n_objects": list(outside.values())})
    return sample, counts, unmapped, _notes(sample, counts, outside, leaves)


def _notes(sample, counts, outside, leaves) -> list[str]:
    notes = []
    parts = (
        ("without_a_row_in_objects", "posteriors have no row in the objects' table and were left out."),
        ("objects_without_a_posterior", "objects of the table have no posterior."),
        ("without_label", "objects have no label and were left out."),
        ("label_not_in_recipe", f"objects have a label that the recipe does not map{_examples(outside)}."),
        ("label_allows_every_class", "objects have a label that allows every class, and were left out."),
        ("partial_label", "objects have a label that allows several classes; only the log-loss uses them."),
    )
    notes += [f"{counts[name]} {text}" for name, text in parts if counts[name]]
    n, present = int(sample.one.sum()), np.unique(sample.y[sample.one])
    if n < FEW_OBJECTS:
        notes.append(f"Only {n} objects with one labelled class: every number here is rough.")
    if len(present) == 1:
        notes.append(
            f"All of them are {leaves[present[0]]}: a ranking of classes (AUC) cannot be judged, and "
            "macro-F1 is about this class and those given wrongly."
        )
    elif 0 < len(present) < len(leaves):
        absent = [leaf for k, leaf in enumerate(leaves) if k not in present]
        notes.append(f"No object is labelled {', '.join(absent)}.")
    impossible = int((np.where(sample.allowed, sample.p, 0.0).sum(axis=1) < FLOOR).sum())
    if impossible:
        notes.append(
            f"{impossible} objects gave their labelled class no probability; the log-loss takes {FLOOR:g}."
        )
    if sample.sets is None:
        notes.append("There is no column prediction_set, so coverage was not judged.")
    if sample.n_detections is None:
        notes.append("There is no column n_detections, so nothing is shown against it.")
    return notes


def _identifiers(frame: pd.DataFrame, what: str) -> np.ndarray:
    if "object_id" not in frame.columns or frame.empty:
        found = (
            "no row" if "object_id" in frame.columns else ", ".join(map(str, frame.columns)) or "no column"
        )
        raise InputError(f"The {what} must have a column object_id and a row, but it has {found}.")
    try:
        code, names = labels(frame["object_id"], "object_id")
    except LightCurveError as error:
        raise InputError(f"The {what}: {error}") from error
    if (code < 0).any():
        raise InputError(
            f"The {what} must name each object, but object_id is empty in {(code < 0).sum()} rows."
        )
    if len(names) != len(code):
        repeated = names[np.bincount(code).argmax()]
        raise InputError(
            f"The {what} must have one row an object, but object_id {repeated} is there more than once."
        )
    return names[code]


def _probabilities(posteriors: pd.DataFrame, recipe: Recipe) -> np.ndarray:
    leaves = recipe.taxonomy.leaves
    wanted = [f"p_{leaf}" for leaf in leaves]
    accepted = {*wanted, *(f"p_{node}" for node in recipe.taxonomy.nodes)}
    accepted |= {f"{name}_{end}" for name in wanted for end in ("lo", "hi")}
    missing = [name for name in wanted if name not in posteriors.columns]
    given = [str(name) for name in posteriors.columns if str(name).startswith("p_")]
    unknown = [name for name in given if name not in accepted]
    # The intervals of an unknown class say nothing that its probability does not.
    unknown = [name for name in unknown if name[:-3] not in unknown]
    if missing or unknown:
        parts = [f"{', '.join(missing)} missing"] if missing else []
        parts += [f"{', '.join(unknown)} not among its classes"] if unknown else []
        raise InputError(
            f"The columns of the posteriors must be those of recipe {recipe.name} ({', '.join(wanted)}), "
            f"found {' and '.join(parts)}: name the recipe that the model was made from."
        )
    try:
        columns = [numbers(posteriors[name], name) for name in wanted]
    except LightCurveError as error:
        raise InputError(f"The posteriors: {error}") from error
    p = np.stack(columns, axis=1)
    total = p.sum(axis=1)
    wrong = ~(((p >= 0) & (p <= 1 + 1e-3)).all(axis=1) & (np.abs(total - 1.0) <= 1e-3))
    if wrong.any():
        i = int(np.argmax(wrong))
        raise InputError(
            "Probabilities must lie between 0 and 1 and sum to one within 0.001, but "
            f"{int(wrong.sum())} objects have others, as {posteriors['object_id'].iloc[i]} with "
            f"{', '.join(f'{x:.4g}' for x in p[i])}, sum {total[i]:.4g}: write the posteriors again."
        )
    return p / total[:, None]


def _sets(table: pd.DataFrame, leaves: tuple[str, ...]) -> np.ndarray | None:
    if "prediction_set" not in table:
        return None
    code, distinct = pd.factorize(table["prediction_set"].fillna("").astype(str))
    members = [[name for name in text.split("|") if name] for text in distinct]
    unknown = sorted({name for names in members for name in names if name not in leaves})
    if unknown:
        raise InputError(
            f"Column prediction_set must hold classes of the recipe ({', '.join(leaves)}) joined by '|', "
            f"found {unknown[0]!r}: name the recipe that the model was made from."
        )
    return np.array([[leaf in names for leaf in leaves] for names in members])[code]


def _detections(table: pd.DataFrame) -> np.ndarray | None:
    if "n_detections" not in table:
        return None
    try:
        n = numbers(table["n_detections"], "n_detections")
    except LightCurveError as error:
        raise InputError(f"The posteriors: {error}") from error
    wrong = ~((n >= 0) & (n == np.floor(n)))
    if wrong.any():
        raise InputError(
            "Column n_detections must hold whole numbers from 0 on, found "
            f"{n[wrong][0]:g} in {int(wrong.sum())} rows: write the posteriors again."
        )
    return n.astype(np.int64)


def _statistics(sample: _Sample) -> dict:
    """Every number with an interval, as a function of weights of shape (..., n)."""
    one, p, y = sample.one, sample.p[sample.one], sample.y[sample.one]
    loss = metrics.log_losses(sample.p, sample.allowed, floor=FLOOR)
    frequency = _frequencies(sample)
    baseline = metrics.log_losses(np.tile(frequency, (len(sample.p), 1)), sample.allowed, floor=FLOOR)
    result = {"log_loss": lambda w: metrics.weighted_mean(loss, w)}
    if one.any():
        result |= {
            "log_loss_class_frequencies": lambda w: metrics.weighted_mean(baseline, w),
            "brier": lambda w: metrics.brier(p, y, weights=w[..., one]),
            "accuracy": lambda w: metrics.accuracy(p, y, weights=w[..., one]),
            "macro_f1": lambda w: metrics.macro_f1(p, y, weights=w[..., one]),
            "ece": lambda w: metrics.classwise_ece(p, y, weights=w[..., one]),
        }
    if one.any() and sample.sets is not None:
        sets = sample.sets[one]
        result["coverage"] = lambda w: metrics.coverage(sets, y, weights=w[..., one])
        result["mean_set_size"] = lambda w: metrics.weighted_mean(sets.sum(axis=1), w[..., one])
    if sample.n_detections is not None:
        inside = _bins(sample.n_detections)
        right = np.where(one, sample.p.argmax(axis=1) == sample.y, np.nan)
        per_bin = np.where(inside, loss[:, None], np.nan)
        right_per_bin = np.where(inside, right[:, None], np.nan)
        result["bins_log_loss"] = lambda w: _columns(per_bin, w)
        result["bins_accuracy"] = lambda w: _columns(right_per_bin, w)
    return result


def _frequencies(sample: _Sample) -> np.ndarray:
    count = sample.allowed[sample.one].sum(axis=0)
    return count / max(count.sum(), 1)


def _columns(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.stack([metrics.weighted_mean(column, weights) for column in values.T], axis=-1)


def _bins(n: np.ndarray) -> np.ndarray:
    """Membership of each object in `DETECTION_BINS`, shape (n, n_bins), bool."""
    return np.stack(
        [(n >= low) & (n <= (np.inf if high is None else high)) for low, high in DETECTION_BINS], 1
    )


def _summary(sample, estimates, ends, rng) -> pd.DataFrame:
    n_all, n_one = len(sample.p), int(sample.one.sum())
    rows = []
    for name, value in estimates.items():
        if name.startswith("bins_"):
            continue
        n = n_all if name.startswith("log_loss") else n_one
        rows.append((name, float(value), float(ends[name][0]), float(ends[name][1]), n))
        if name == "ece":
            mean, upper = metrics.ece_null(sample.p[sample.one], rng)
            rows.append(("ece_null", mean, np.nan, upper, n))
    return pd.DataFrame(rows, columns=["metric", "value", "lower", "upper", "n_objects"])


def _per_class(sample: _Sample, classes: tuple[str, ...]) -> pd.DataFrame:
    one = sample.one
    p, y = sample.p[one], sample.y[one]
    true = metrics.one_hot(y, len(classes))
    precision, recall, f1 = metrics.precision_recall_f1(p, y)
    loss = metrics.log_losses(p, y, floor=FLOOR)
    held = None if sample.sets is None else sample.sets[one]
    frame = pd.DataFrame(
        {
            "class": classes,
            "n_objects": true.sum(axis=0),
            "frequency": _columns(true, np.ones(len(p))),
            "mean_probability": _columns(p, np.ones(len(p))),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "auc": [metrics.roc_auc(p[:, k], true[:, k]) for k in range(len(classes))],
            "log_loss": [metrics.weighted_mean(loss[true[:, k]]) for k in range(len(classes))],
            "ece": metrics.class_ece(p, y),
        }
    )
    if held is not None:
        frame["coverage"] = [metrics.weighted_mean(held[true[:, k], k]) for k in range(len(classes))]
    return frame


def _per_detections(sample, estimates, ends, rng) -> pd.DataFrame:
    names = ["n_detections", "n_objects", "log_loss", "lower", "upper", "accuracy", "accuracy_lower"]
    names += ["accuracy_upper", "ece", "ece_null", "ece_null_upper", "coverage", "mean_set_size"]
    rows = []
    inside = np.empty((0, 0)) if sample.n_detections is None else _bins(sample.n_detections)
    for b, (low, high) in enumerate(DETECTION_BINS[: inside.shape[1]]):
        label = f">{low - 1}" if high is None else f"{low}" if low == high else f"{low}-{high}"
        own = inside[:, b] & sample.one
        p, y = sample.p[own], sample.y[own]
        row = [label, int(inside[:, b].sum())]
        for name in ("bins_log_loss", "bins_accuracy"):
            row += [float(part[b]) for part in (estimates[name], *ends[name])]
        row += [float(metrics.classwise_ece(p, y)), *metrics.ece_null(p, rng)]
        sets = np.full((len(p), 0), np.nan) if sample.sets is None else sample.sets[own]
        row += (
            [np.nan, np.nan]
            if sample.sets is None
            else [
                float(metrics.coverage(sets, y)),
                float(metrics.weighted_mean(sets.sum(axis=1))),
            ]
        )
        rows.append(row)
    return pd.DataFrame(rows, columns=names)


def _reliability(p, y, classes, rng) -> pd.DataFrame:
    if not len(p):
        parts = {name: np.empty((len(classes) + 1, 0)) for name in ("n", "mean_probability", "frequency")}
        parts |= {"band_lower": parts["n"], "band_upper": parts["n"]}
    else:
        parts = metrics.reliability(p, y, rng)
    rows, bins = parts["n"].shape
    edges = np.linspace(0.0, 1.0, bins + 1)
    frame = {
        "class": np.repeat([*classes, "all"], bins),
        "bin": np.tile(np.arange(bins), rows),
        "lower_edge": np.tile(edges[:-1], rows) if bins else np.empty(0),
        "upper_edge": np.tile(edges[1:], rows) if bins else np.empty(0),
    }
    return pd.DataFrame(frame | {name: part.ravel() for name, part in parts.items()}).astype({"n": int})


def _mistakes(sample: _Sample, classes: tuple[str, ...]) -> pd.DataFrame:
    best = sample.p.argmax(axis=1)
    loss = metrics.log_losses(sample.p, sample.allowed, floor=FLOOR)
    wrong = np.flatnonzero(~sample.allowed[np.arange(len(best)), best])
    worst = wrong[np.argsort(-loss[wrong], kind="stable")][:WORST]
    names = np.array(classes, dtype=object)
    frame = pd.DataFrame(
        {
            "object_id": sample.object_id[worst],
            "label": sample.label[worst].astype(str),
            "allowed": ["|".join(names[row]) for row in sample.allowed[worst]],
            "best_class": names[best[worst]].astype(str),
            "p_best": sample.p[worst, best[worst]],
            "p_allowed": np.where(sample.allowed, sample.p, 0.0).sum(axis=1)[worst],
            "log_loss": loss[worst],
        }
    )
    for name in ("n_detections", "n_upper_limits", "novelty", "conflict", "warnings"):
        if name in sample.columns:
            frame[name] = sample.columns[name].to_numpy()[worst]
    return frame


def _examples(outside: dict[str, int]) -> str:
    shown = ", ".join(f"{label} {n}" for label, n in list(outside.items())[:5])
    return f" ({shown}{', ...' if len(outside) > 5 else ''})" if outside else ""


def _number(row) -> str:
    if row.metric == "ece_null":
        return f"{row.value:.3f}  (95 % quantile {row.upper:.3f})"
    interval = "" if np.isnan(row.lower) else f"  ({row.lower:.3f} to {row.upper:.3f})"
    return f"{row.value:.3f}{interval}"
