"""The command line: ``bayesclass fit``, ``classify``, ``evaluate``, ``compare``, ``explain`` and others.

Everything that is slow to import is imported inside the commands, so that ``--help`` answers at once.
"""

from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from bayesclass import cli_evaluate
from bayesclass.cli_errors import OneSentence

HELP = "Calibrated class probabilities of astronomical sources from sparse light curves and context."

app = typer.Typer(
    cls=OneSentence,
    help=HELP,
    epilog="""\b
Examples:
  bayesclass recipes
  bayesclass fit ztf-supernovae --light-curves L.parquet --objects O.csv --out my-model
  bayesclass classify my-model --light-curves new.parquet --objects new.csv --out posteriors.parquet

`bayesclass COMMAND --help` has the options and examples of each command.""",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

LightCurvesFile = Annotated[
    Path | None,
    typer.Option(
        "--light-curves",
        metavar="FILE",
        help="Measurements (.parquet, .csv, .csv.gz), one row each: object_id, survey, band, mjd, mag and "
        "mag_err or flux and flux_err, and upper_limit where there are limits. Not needed for context alone.",
    ),
]
ObjectsFile = Annotated[
    Path | None,
    typer.Option(
        "--objects",
        metavar="FILE",
        help="Evidence (.parquet, .csv, .csv.gz), one row an object: object_id and the recipe's columns; "
        "several with alternative_probability. An object that is only here is classified too.",
    ),
]
Labels = Annotated[
    Path,
    typer.Option(
        "--objects", metavar="FILE", help="Table with object_id, the recipe's label column and its evidence."
    ),
]
PriorChoice = Annotated[
    str | None,
    typer.Option(
        "--prior",
        metavar="PRIOR",
        help="Of the classes: `training` (the default), `uniform`, `estimate` (class fractions of all "
        "objects of the input, found from their evidence), or a .toml file with a probability of each class "
        "or node.",
    ),
]
Model = Annotated[
    str, typer.Argument(metavar="MODEL", help="A directory that `fit` wrote, or a shipped name.")
]


def main() -> None:
    """Run the command line and exit with its status: 0, 2 for a mistake, 130 when interrupted."""
    app(prog_name="bayesclass")


def _version(asked: bool) -> None:
    if asked:
        from importlib import metadata

        typer.echo(f"bayesclass {metadata.version('bayesclass')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command(
    help="Fit a model on light curves with known classes.",
    epilog="""\b
Examples:
  bayesclass fit crts-transients --light-curves L.parquet --objects O.csv --out my-model
  bayesclass fit my-survey.toml --light-curves L.csv --objects O.csv --out my-model --seed 1""",
)
def fit(
    recipe: Annotated[
        str, typer.Argument(metavar="RECIPE", help="A shipped name (see `recipes`) or a .toml file.")
    ],
    objects: Labels,
    out: Annotated[
        Path,
        typer.Option("--out", metavar="DIR", help="Model directory to write; an older model is replaced."),
    ],
    light_curves: LightCurvesFile = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Of everything random; default: the recipe's.")
    ] = None,
) -> None:
    """Fit a model and save it."""
    from bayesclass import cli_read, cli_summary, storage, tables
    from bayesclass.progress import progress_bars

    start = perf_counter()
    storage.check_model_output(out)
    from bayesclass.classifier import Classifier

    classifier = Classifier.from_recipe(recipe, seed=seed)
    table = tables.read_objects(objects)
    rules = classifier.recipe
    batch = cli_read.light_curves(light_curves, rules, also=None if light_curves else table)
    with progress_bars() as progress:
        classifier.fit(batch, table, progress=progress)
    classifier.save(out)
    _say(cli_summary.describe_light_curves(batch))
    _say(cli_summary.describe_evidence(table, rules.evidence, batch, rules.matches))
    _say(cli_summary.describe_fit(classifier.summary))
    _done(f"model written to {out}", start)


@app.command(
    help="Give every object of the input its class probabilities.",
    epilog="""\b
Examples:
  bayesclass classify my-model --light-curves L.parquet --objects O.csv --out posteriors.parquet
  bayesclass classify ztf-supernovae --light-curves L.csv --out posteriors.csv --nodes
  bayesclass classify my-model --light-curves L.csv --out posteriors.csv --prior estimate""",
)
def classify(
    model: Model,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Table to write (.parquet, .csv, .csv.gz).")
    ],
    light_curves: LightCurvesFile = None,
    objects: ObjectsFile = None,
    nodes: Annotated[
        bool, typer.Option("--nodes", help="Also the probabilities of the inner nodes of the class tree.")
    ] = False,
    prior: PriorChoice = None,
    reasons: Annotated[
        bool,
        typer.Option(
            "--reasons",
            help="Also what each piece of evidence said of each class, reason_<class>_<piece> [nat].",
        ),
    ] = False,
) -> None:
    """Classify and write a table of posteriors."""
    from bayesclass import cli_read, cli_summary, tables
    from bayesclass.progress import progress_bars

    start = perf_counter()
    tables.check_output(out)
    from bayesclass.classifier import Classifier

    classifier = Classifier.load(model)
    if prior is not None:
        from bayesclass import cli_prior

        chosen = cli_prior.choose_prior(prior, classifier)
    table = None if objects is None else tables.read_objects(objects)
    rules = classifier.recipe
    batch = cli_read.light_curves(light_curves, rules, also=table)
    with progress_bars() as progress:
        posterior = classifier.classify(batch, table, progress=progress)
    used = []
    if prior is not None:
        posterior, used = cli_prior.with_chosen_prior(posterior, chosen)
    frame = posterior.to_frame(nodes=nodes, reasons=reasons)
    tables.write_table(frame, out)
    _say(cli_summary.first_rows(frame, rules.taxonomy.leaves))
    _say(cli_summary.describe_light_curves(batch))
    _say(cli_summary.describe_evidence(table, rules.evidence, batch, rules.matches))
    _say(cli_summary.describe_warnings(frame["warnings"]))
    _say(used)
    _done(f"posteriors written to {out}", start)


cli_evaluate.attach(app)


@app.command(
    help="Show one object: what each piece of evidence said, what would tell most if it were measured, and "
    "with --out its light curve as a page or picture.",
    short_help="Show one object and its reasons.",
    epilog="""\b
Examples:
  bayesclass explain my-model ZTF20abc --light-curves L.parquet --objects O.csv
  bayesclass explain my-model ZTF20abc --light-curves L.parquet --objects O.csv --out ZTF20abc.html
  bayesclass explain my-model ZTF20abc --light-curves L.csv --between IIn,SLSN --out ZTF20abc.png""",
)
def explain(
    model: Model,
    object_id: Annotated[str, typer.Argument(metavar="OBJECT_ID", help="As in the tables.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Page or picture (.html or .png), beside the text."),
    ] = None,
    light_curves: LightCurvesFile = None,
    objects: ObjectsFile = None,
    between: Annotated[
        str | None,
        typer.Option(
            "--between",
            metavar="A,B",
            help="Two classes or inner nodes to set against each other; default: the two most probable.",
        ),
    ] = None,
    prior: PriorChoice = None,
) -> None:
    """Explain one object's posterior."""
    from bayesclass import cli_output, cli_read, cli_summary, tables

    start = perf_counter()
    if out is not None:
        cli_output.check_file(out, (".html", ".png"))
    from bayesclass.classifier import Classifier

    classifier = Classifier.load(model)
    asked = {} if between is None else {"between": cli_read.two_classes(between, classifier.recipe.taxonomy)}
    if prior is not None:
        from bayesclass import cli_prior

        chosen = cli_prior.choose_prior(prior, classifier)
    table = None if objects is None else tables.read_objects(objects)
    rules = classifier.recipe
    every = cli_read.light_curves(light_curves, rules, also=table)
    batch, own = cli_read.one_object(every, table, object_id)
    used = []
    if prior is not None:
        asked["prior"], used = cli_prior.for_one_object(classifier, chosen, every, table)
    from bayesclass.explain import explain_object

    explained = explain_object(classifier, batch, own, object_id, **asked)
    if out is not None:
        with cli_output.whole_file(out) as temporary:
            explained.write(temporary)
    _say([explained.text()])
    _say(cli_summary.describe_light_curves(batch))
    _say(cli_summary.describe_evidence(own, rules.evidence, batch, rules.matches))
    _say(used)
    _done("explained" if out is None else f"explanation written to {out}", start)


@app.command(
    help="Turn positions and catalogues into evidence: nearest sources, host galaxies, the sky.",
    short_help="Turn positions and catalogues into evidence.",
    epilog="""\b
Examples:
  bayesclass annotate positions.csv --catalogue gcvs=gcvs.toml --out evidence.parquet
  bayesclass annotate positions.csv --catalogue stars=gaia.vot --catalogue galaxies=openngc.toml \\
      --radius stars=20 --radius galaxies=120 --out evidence.csv""",
)
def annotate(
    positions: Annotated[
        Path,
        typer.Argument(
            metavar="POSITIONS",
            help="Table (.parquet, .csv, .csv.gz) with object_id, ra and dec in degrees; optionally mjd, "
            "position_error_arcsec.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Table to write (.parquet, .csv, .csv.gz).")
    ],
    catalogue: Annotated[
        list[str] | None,
        typer.Option(
            "--catalogue",
            metavar="NAME=PATH",
            help="A declaration (.toml) of a catalogue, or a file that states its units (VOTable, FITS, a "
            "HATS folder); "
            "may be given several times.",
        ),
    ] = None,
    radius: Annotated[
        list[str] | None,
        typer.Option(
            "--radius",
            metavar="ARCSEC",
            help="Of the search, for all catalogues or as NAME=ARCSEC for one; default: from their errors "
            "and sizes.",
        ),
    ] = None,
    alternatives: Annotated[
        int | None,
        typer.Option(
            "--alternatives", metavar="K", min=0, help="Write the K most probable hosts as rows of their own."
        ),
    ] = None,
) -> None:
    """Annotate positions and write a table of evidence."""
    from bayesclass import cli_annotate

    start = perf_counter()
    _say(cli_annotate.run(positions, catalogue or [], out, radius or [], alternatives))
    _done(f"evidence written to {out}", start)


@app.command(
    help="List the models that come with the package, or show the network of one.",
    epilog="Examples: bayesclass models, bayesclass models ztf-supernovae",
)
def models(
    model: Annotated[
        str | None, typer.Argument(metavar="[MODEL]", help="A directory that `fit` wrote, or a shipped name.")
    ] = None,
) -> None:
    """List shipped models, or show the network of one."""
    from bayesclass.storage import shipped_models

    if model is not None:
        from bayesclass.classifier import Classifier
        from bayesclass.plots_network import network_text

        typer.echo(network_text(Classifier.load(model).fitted.context.network))
        return
    names = shipped_models()
    _say(names or ["No model comes with this version; make one with `bayesclass fit`."])


@app.command(help="List the recipes that come with the package.", epilog="Example: bayesclass recipes")
def recipes() -> None:
    """List shipped recipes with their classes."""
    from bayesclass.recipe import Recipe, shipped_recipes

    names = shipped_recipes()
    for name in names:
        recipe = Recipe.load(name)
        typer.echo(f"{name.ljust(max(map(len, names)))}  {recipe.title} ({', '.join(recipe.classes.leaves)})")


def _say(lines) -> None:
    for line in lines:
        typer.echo(line)


def _done(what: str, start: float) -> None:
    typer.echo(f"{what}, {perf_counter() - start:.1f} s")


if __name__ == "__main__":
    main()
