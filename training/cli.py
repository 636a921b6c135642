"""Training's subcommands of `finerank`; a command imports PyTorch only when it runs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

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

_TRAIN_EXTRA = {
    "matplotlib",
    "onnx",
    "onnxscript",
    "optuna",
    "polars",
    "pyarrow",
    "safetensors",
    "torch",
}


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
    with _said_plainly():
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
    with _said_plainly():
        from training.report.comparison import compare as comparison

        comparison(runs).write(out)
        Console().print(f"comparison: {out / 'index.html'}", highlight=False)


def tune(
    plan: Annotated[Path, typer.Argument(help="Plan document, JSON, as `plan get` prints it.")],
    maximize: Annotated[
        list[str],
        typer.Option(
            help="LABEL.auc, LABEL.gauc, LABEL.xauc, LABEL.ndcg@K, or NAME@K: the mean of a label"
            " or attribute among the first K of a list. Several give a Pareto front."
        ),
    ],
    formula: Annotated[str | None, typer.Option(help="Default: the plan's default.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Parquet of `finerank evaluate --predictions`.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Instead: the log, scored with the plan's model.")
    ] = None,
    days: Annotated[str | None, typer.Option(help="FIRST:LAST of the log.")] = None,
    models: Models = Path("models"),
    keep: Annotated[
        list[str],
        typer.Option(help="A bound, relative to the plan's own params: videolen_s@10>=0.98."),
    ] = [],  # noqa: B006
    only: Annotated[
        list[str], typer.Option(help="Search this param alone (repeat for more).")
    ] = [],  # noqa: B006
    define: Annotated[
        list[str], typer.Option(help="A label made of others: watch=vcr*videolen_s.")
    ] = [],  # noqa: B006
    list_by: Annotated[
        list[str],
        typer.Option(help="Columns that make a list; default request_id, or user_id and day."),
    ] = [],  # noqa: B006
    propensity: Annotated[
        str | None,
        typer.Option(help="Column of the chance with which a row was shown, if not `propensity`."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1)] = 200,
    seed: int = 1,
    check: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of users held out to check the result.")
    ] = 0.3,
    choose: Annotated[
        int | None, typer.Option(help="Draft this trial instead of the chosen one.")
    ] = None,
    storage: Annotated[
        Path | None, typer.Option(help="Keep trials in this file and continue from it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the plan with the found params.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page to this directory.")] = None,
) -> None:
    """Search the params of a formula on logged rows, and draft a plan with them.

    [dim]finerank tune plan.json --predictions p.parquet --maximize like.auc --maximize vcr@10
    --keep "videolen_s@10>=0.98" --out draft.json[/]
    """
    with _said_plainly():
        from training.tune import command

        console = Console()
        wanted = command.Wanted(
            formula=formula,
            maximize=maximize,
            keep=keep,
            only=only,
            define=define,
            list_by=list_by,
            propensity=propensity,
            trials=trials,
            seed=seed,
            check=check,
            choose=choose,
            storage=storage,
        )
        if (predictions is None) == (data is None) or (data is None) != (days is None):
            raise ValueError("give either --predictions, or --data and --days")
        rows = predictions or command.score_log(plan, data, days, models, console)
        search, found, held_out = command.tune(plan, rows, wanted, console)
        if out is not None:
            command.write_draft(search, found, out)
            console.print(f"draft: {out}", highlight=False)
        if report is not None:
            command.write_page(search, found, held_out, report)
            console.print(f"report: {report / 'index.html'}", highlight=False)


def build_features(
    config: Config,
    data: Data,
    as_of: Annotated[int, typer.Option(help="The day to serve, YYYYMMDD: history ends before it.")],
    users: Annotated[Path, typer.Option(help="JSON Lines file of users to write.")],
    items: Annotated[Path, typer.Option(help="JSON Lines file of items to write.")],
    overrides: Override = [],  # noqa: B006
) -> None:
    """Write the users and items that serving needs on a day: the numbers training would see."""
    with _said_plainly():
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
    with _said_plainly():
        from training.config.file import load_config
        from training.run import Places, run

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


@contextmanager
def _said_plainly() -> Iterator[None]:
    """Errors of configuration, data and packages are sentences, not tracebacks."""
    try:
        yield
    except ModuleNotFoundError as err:
        if (err.name or "").partition(".")[0] not in _TRAIN_EXTRA:
            raise
        typer.echo(
            f'error: this command needs {err.name}; install it with pip install ".[cpu,train]"',
            err=True,
        )
        raise typer.Exit(1) from err
    except (ValueError, FloatingPointError, OSError) as err:
        typer.echo(f"error: {err}", err=True)
        raise typer.Exit(1) from err
