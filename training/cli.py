"""Training's subcommands of `finerank`; a command imports PyTorch only when it runs."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.plainly import said_plainly
from training.tune.options import tune

Config = Annotated[Path, typer.Argument(help="TOML file of the run; the model is named after it.")]
Data = Annotated[Path, typer.Option(help="Directory of the log.")]
Models = Annotated[
    Path, typer.Option(envvar="FINERANK_MODELS", help="Directory of model packages.")
]
Runs = Annotated[Path, typer.Option(help="Directory of checkpoints.")]
Override = Annotated[
    list[str],
    typer.Option("--set", help="key=value over the file: train.epochs=2, tasks.ctr.weight=3."),
]
Promote = Annotated[bool, typer.Option("--promote", help="Set alias champion to this version.")]


def register(app: typer.Typer) -> None:
    """Add train, export, evaluate and `features build` to the command."""
    app.command()(train)
    app.command()(export)
    app.command()(evaluate)
    app.command()(compare)
    app.command()(tune)
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    features = groups.get("features")
    if features is None:
        features = typer.Typer(help="Features for serving.", no_args_is_help=True)
        app.add_typer(features, name="features")
    features.command("build")(build_features)


def train(
    config: Config,
    data: Data = Path(),
    models: Models = Path("models"),
    runs: Runs = Path("runs"),
    overrides: Override = [],  # noqa: B006 - typer reads it as the option's default
    promote: Promote = False,
    record: Annotated[
        Path | None, typer.Option(help="Append a JSON line with the run's figures to this file.")
    ] = None,
) -> None:
    """Train a model and publish it; a run that was killed continues from its checkpoint."""
    _run(config, data, models, runs, overrides, promote, record, train_further=True)


def export(
    config: Config,
    data: Data = Path(),
    models: Models = Path("models"),
    runs: Runs = Path("runs"),
    overrides: Override = [],  # noqa: B006
    promote: Promote = False,
) -> None:
    """Publish the best epoch of a run that has not ended, from its checkpoint, without training
    further.
    """
    _run(config, data, models, runs, overrides, promote, None, train_further=False)


def evaluate(
    model: Annotated[str, typer.Argument(help="name, name@alias or name/version.")],
    data: Data,
    days: Annotated[str, typer.Option(help="FIRST:LAST, days as YYYYMMDD, both included.")],
    models: Models = Path("models"),
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Write `row`, one column a head, the labels and what `finerank tune` needs to this"
            " Parquet file."
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a report with plots to this directory: index.html, report.md."),
    ] = None,
    runs: Runs = Path("runs"),
    to_json: Annotated[
        Path | None, typer.Option("--json", help="Write the metrics to this file.")
    ] = None,
) -> None:
    """Score every impression of some days with a published model, and measure it."""
    with said_plainly():
        from service.contract.repository import Repository
        from training import evaluate as evaluation
        from training.data.days import Days

        console, span = Console(), Days.parse(days)
        found = evaluation.evaluate(Repository(models), model, data, span, console)
        title = f"{found.model} on {span}, {found.log.rows:,} rows"
        evaluation.show_metrics(found.metrics, title, console)
        if warning := evaluation.seen_in_training(found, span):
            console.print(f"[yellow]warning:[/] {warning}", highlight=False)
        if predictions is not None:
            evaluation.write_predictions(found, predictions)
        if to_json is not None:
            evaluation.write_json(found, span, to_json)
        if report is not None:
            from training.report.build import recorded, report_of, write_report

            run = recorded(runs, found.model)
            known = (
                {"history": run.history, "inside": run.inside, "facts": run.facts} if run else {}
            )
            write_report(report_of(found, span, **known), report)
            console.print(f"report: {report / 'index.html'}", highlight=False)


def compare(
    runs: Annotated[
        list[Path], typer.Argument(help="Directories with a report: runs/NAME/VERSION/report …")
    ],
    out: Annotated[Path, typer.Option(help="Directory of the page.")] = Path("comparison"),
) -> None:
    """Compare the reports of several runs: a table of differences, curves overlaid."""
    with said_plainly():
        from training.report.comparison import compare as comparison

        comparison(runs).write(out)
        Console().print(f"comparison: {out / 'index.html'}", highlight=False)


def build_features(
    config: Config,
    data: Data,
    as_of: Annotated[int, typer.Option(help="The day to serve, YYYYMMDD: history ends before it.")],
    users: Annotated[Path, typer.Option(help="JSON Lines file of users to write.")],
    items: Annotated[Path, typer.Option(help="JSON Lines file of items to write.")],
    overrides: Override = [],  # noqa: B006
) -> None:
    """Write the users and items that serving needs on a day: the numbers training would see."""
    with said_plainly():
        from training.config.file import load_config
        from training.features_build import build
        from training.reading import reader_for

        reader = reader_for(load_config(config, overrides))
        build(reader, data, as_of=as_of, users=users, items=items)


def _run(
    config: Path,
    data: Path,
    models: Path,
    runs: Path,
    overrides: list[str],
    promote: bool,
    record: Path | None,
    *,
    train_further: bool,
) -> None:
    with said_plainly():
        from training.config.file import load_config
        from training.learn import Places
        from training.run import run

        console = Console()
        loaded = load_config(config, overrides)
        places = Places(data=data, models=models, runs=runs)
        published = run(loaded, places, console, promote=promote, train_further=train_further)
        if published is None:  # the first process of torchrun says and writes it all
            return
        console.print(f"published {published.name}/{published.version}", highlight=False)
        console.print(f"report: {published.report / 'index.html'}", highlight=False)
        if promote:
            # A store that has the model's aliases keeps them: the file only fills an empty one.
            console.print(
                "champion in aliases.json, which only fills an empty store; where a service has"
                f" the model already: finerank models promote {published.name}/{published.version}",
                highlight=False,
            )
        if record is not None:
            record.parent.mkdir(parents=True, exist_ok=True)
            with record.open("a") as file:
                file.write(json.dumps(published.record) + "\n")
