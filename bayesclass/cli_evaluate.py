"""The commands that judge posteriors: ``bayesclass evaluate`` and ``bayesclass compare``."""

from __future__ import annotations

from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bayesclass.comparison import Comparison

# Columns of text where the output is not a terminal.
WIDTH = 118
LISTED = 8

Labels = Annotated[
    Path,
    typer.Option(
        "--objects",
        metavar="FILE",
        help="Table with object_id and the recipe's label column.",
        show_default=False,
    ),
]
RecipeChoice = Annotated[
    str, typer.Option("--recipe", metavar="RECIPE", help="Classes and labels: a shipped name or a file.")
]

__all__ = ["attach"]


def attach(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(
        help="Compare posteriors with known classes: log-loss, calibration, ranking, confusion, mistakes.",
        short_help="Compare posteriors with known classes.",
        epilog="""\b
Examples:
  bayesclass evaluate posteriors.parquet --objects O.csv --recipe ztf-supernovae --out report
  bayesclass evaluate posteriors.parquet --objects O.csv --recipe ztf-supernovae --out report \\
      --light-curves L.parquet""",
    )(evaluate)
    app.command(
        help="Set two posteriors of the same objects side by side, with paired intervals of each difference.",
        short_help="Set two posteriors side by side.",
        epilog="""\b
Example:
  bayesclass compare old.parquet new.parquet --objects O.csv --recipe ztf-supernovae --out comparison""",
    )(compare)


def evaluate(
    posteriors: Annotated[
        Path, typer.Argument(metavar="POSTERIORS", help="A table that `classify` wrote.", show_default=False)
    ],
    objects: Labels,
    recipe: RecipeChoice,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Directory for the report; made where there is none.")
    ],
    light_curves: Annotated[
        Path | None,
        typer.Option(
            "--light-curves",
            metavar="FILE",
            help="The measurements that were classified: shows all by days since the first detection and by "
            "magnitude.",
        ),
    ] = None,
) -> None:
    """Evaluate and write a report."""
    from bayesclass import cli_read, evaluation, report, tables
    from bayesclass.recipe import Recipe

    start = perf_counter()
    report.check_report(out)
    rules = Recipe.load(recipe)
    given, labelled = tables.read_objects(posteriors), tables.read_objects(objects)
    batch = None if light_curves is None else cli_read.light_curves(light_curves, rules)
    result = evaluation.evaluate(given, labelled, rules, batch)
    page = report.write_report(result, out)
    typer.echo(str(result))
    _done(f"report written to {page}", start)


def compare(
    a: Annotated[
        Path, typer.Argument(metavar="A", help="A table that `classify` wrote.", show_default=False)
    ],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another of the same objects.", show_default=False)],
    objects: Labels,
    recipe: RecipeChoice,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Directory for a page with everything.")
    ] = None,
) -> None:
    """Compare two posteriors."""
    from bayesclass import comparison, comparison_report, tables
    from bayesclass.recipe import Recipe

    start = perf_counter()
    if out is not None:
        comparison_report.check_comparison(out)
    rules = Recipe.load(recipe)
    frames = [tables.read_objects(path) for path in (a, b)]
    names = (str(a), str(b))
    result = comparison.compare(*frames, tables.read_objects(objects), rules, names=names)
    if out is not None:
        page = comparison_report.write_comparison(result, out)
    _show(result)
    _done("compared" if out is None else f"comparison written to {page}", start)


def _show(found: Comparison) -> None:
    """Print the comparison as tables."""
    import sys

    from rich.console import Console

    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else WIDTH)
    typer.echo(f"A: {found.names[0]}\nB: {found.names[1]}")
    typer.echo(
        f"{found.counts['in_both']} objects in both, {found.counts['one_labelled_class']} of one labelled "
        "class; difference is B less A, with a paired 95 % interval"
    )
    for note in found.notes:
        typer.echo(note)
    console.print(_differences("", found.summary.assign(first=found.summary["metric"])))
    for title, frame, name in (
        ("log-loss by class", found.per_class, "class"),
        ("log-loss by detections", found.per_detections, "n_detections"),
    ):
        loss = frame[frame["metric"] == "log_loss"]
        if len(loss):
            console.print(_differences(title, loss.assign(first=loss[name])))
    for row in found.agreement[found.agreement["n_objects"] > 0].itertuples():
        typer.echo(f"{row.what}: {row.n} of {row.n_objects} objects ({row.fraction:.1%})")
    if len(found.objects):
        typer.echo("differ most: " + ", ".join(_object(row) for row in found.objects[:LISTED].itertuples()))


def _differences(title: str, frame):
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left")
    table.add_column("")
    for name in ("objects", "A", "B", "difference", "95 % interval"):
        table.add_column(name, justify="right")
    table.add_column("better")
    for row in frame.itertuples():
        ends = "" if row.lower != row.lower else f"{row.lower:+.3f} to {row.upper:+.3f}"
        numbers = (f"{row.a:.3f}", f"{row.b:.3f}", f"{row.difference:+.3f}", ends)
        table.add_row(str(row.first), str(row.n_objects), *numbers, row.better.upper())
    return table


def _object(row) -> str:
    return f"{row.object_id} ({row.best_a} {row.p_a:.2f}, {row.best_b} {row.p_b:.2f})"


def _done(what: str, start: float) -> None:
    typer.echo(f"{what}, {perf_counter() - start:.1f} s")
