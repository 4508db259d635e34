"""The demonstration: ``python -m bayesclass.demo`` classifies simulated supernovae with a shipped model."""

from __future__ import annotations

import argparse
import sys
from importlib import resources
from pathlib import Path
from time import perf_counter
from typing import Any

MODEL = "ztf-supernovae"
EXAMPLE = "ztf_simulated"
WIDTH = 118

__all__ = ["example_files", "main"]


def example_files() -> tuple[Path, Path]:
    """Return the paths of the example's light curves and objects' table, which are simulated."""
    folder = Path(str(resources.files("bayesclass") / "examples" / EXAMPLE))
    return folder / "light_curves.parquet", folder / "objects.csv"


def main(arguments: list[str] | None = None) -> int:
    """Classify the example set, print the result, write a table and a picture.

    Parameters
    ----------
    arguments : list of str, optional
        Of the command line; `--out` names the folder to write to, by default `demo`.

    Returns
    -------
    int
        Exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m bayesclass.demo", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write to (default: demo)")
    out = parser.parse_args(arguments).out
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(
            f"--out must be a folder that can be made, but {out} cannot ({error.strerror}).", file=sys.stderr
        )
        return 2
    start = perf_counter()

    from rich.console import Console

    from bayesclass.classifier import Classifier
    from bayesclass.explain import write_explanation
    from bayesclass.tables import read_light_curves, read_objects, write_table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    curves_file, objects_file = example_files()
    classifier = Classifier.load(MODEL)
    wanted = classifier.recipe.light_curves
    light_curves = read_light_curves(curves_file, channels=wanted.channels, aliases=wanted.aliases)
    objects = read_objects(objects_file)
    truth = objects.set_index("object_id")["simulated_class"]
    console.print(
        f"[bold]{len(objects)} supernovae, {light_curves.n_points} points. Light curves and context are "
        f"simulated:[/bold] none of these objects exists. The model {MODEL} was fitted on "
        f"{classifier.summary['n_objects']} real supernovae of the ZTF Bright Transient Survey.\n"
    )
    posterior = classifier.classify(light_curves, objects)
    frame = posterior.to_frame()
    console.print(_table(frame, truth, classifier.classes_))
    right = (frame["best_class"].to_numpy() == truth.loc[frame["object_id"]].to_numpy()).sum()
    console.print(
        f"Most probable class is the simulated one for {right} of {len(frame)}; expected from the "
        f"probabilities: {posterior.probability.max(axis=1).sum():.0f}.\n"
    )
    chosen = _instructive(posterior)
    console.print("[bold]What decided, for one of them[/bold]")
    console.print(posterior.explain(chosen).text(), markup=False)
    write_table(frame, out / "posteriors.parquet")
    write_explanation(
        classifier, light_curves, objects, chosen, out / "object.png", note="simulated, not observed"
    )
    console.print(
        f"\nWritten: {out / 'posteriors.parquet'} (all columns), {out / 'object.png'} ({chosen}, simulated); "
        f"{perf_counter() - start:.1f} s.\n"
        "The same on real data: bayesclass classify ztf-supernovae --light-curves YOURS.parquet "
        "--objects YOURS.csv --out posteriors.parquet",
        markup=False,
        soft_wrap=True,
    )
    return 0


def _table(frame: Any, truth: Any, classes: tuple[str, ...]) -> Any:
    """Probabilities in per cent with their 90 % intervals, the most probable class bold."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title="Probability [%] and 90 % interval", title_justify="left")
    table.add_column("object")
    table.add_column("points", justify="right")
    table.add_column("limits", justify="right")
    for name in classes:
        table.add_column(name, justify="right")
    table.add_column("best")
    table.add_column("simulated as")
    for row in frame.to_dict("records"):
        cells = []
        for name in classes:
            p, low, high = (100 * row[f"p_{name}{end}"] for end in ("", "_lo", "_hi"))
            cell = f"{p:.0f} ({low:.0f}-{high:.0f})"
            cells.append(f"[bold]{cell}[/bold]" if name == row["best_class"] else cell)
        known = truth[row["object_id"]]
        mark = known if known == row["best_class"] else f"[yellow]{known}[/yellow]"
        points = (str(row["n_detections"]), str(row["n_upper_limits"]))
        table.add_row(row["object_id"], *points, *cells, row["best_class"], mark)
    return table


def _instructive(posterior: Any) -> str:
    """Choose an object with a decent light curve, a few limits, context, and two classes in play."""
    limits, points = posterior.n_upper_limits, posterior.n_detections
    enough = (points >= 12) & (limits > 0) & (4 * limits <= points) & (posterior.conflict != 0)
    best = posterior.probability.max(axis=1)
    # Neither a certainty nor a guess; the first of those nearest to 0.8.
    return str(posterior.object_id[(abs(best - 0.8) + 10 * ~enough).argmin()])


if __name__ == "__main__":
    sys.exit(main())
