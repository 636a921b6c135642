"""`finerank features load`: fill the feature store from files."""

from pathlib import Path
from typing import Annotated

import typer

from service.commands import console
from service.commands.stores import open_store
from service.contract.errors import ContractError
from service.contract.features import FeatureSchema
from service.contract.repository import ModelRef, Repository
from service.experiment.errors import EmbeddedError
from service.features.errors import LoadError
from service.features.load import LoadReport, load_file
from service.features.store import Kind
from service.settings import Settings, SettingsError, load_settings

GROUP = "features"


def register(app: typer.Typer) -> None:
    """Add the group; training adds `build` to it."""
    group = typer.Typer(help="User and item features for serving.", no_args_is_help=True)
    group.command("load")(load)
    app.add_typer(group, name=GROUP, rich_help_panel="Serving")


def load(
    scene: Annotated[str, typer.Argument(help="Scene whose requests read these features.")],
    users: Annotated[Path | None, typer.Option(help="JSONL, CSV or Parquet of users.")] = None,
    items: Annotated[Path | None, typer.Option(help="JSONL, CSV or Parquet of items.")] = None,
    id_column: Annotated[str, typer.Option(help="Column that holds the id.")] = "id",
    model: Annotated[
        str | None, typer.Option(help="Refuse rows with values this model cannot take.")
    ] = None,
    models: Annotated[Path | None, typer.Option(help="Directory of model packages.")] = None,
    store: Annotated[str | None, typer.Option(help="redis://… or embedded.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Of the embedded store.")] = None,
) -> None:
    """Write user and item records where requests find them.

    A record replaces what is there. `finerank features build` writes such files with the numbers
    that training saw.
    """
    files: dict[Kind, Path | None] = {"user": users, "item": items}
    if users is None and items is None:
        raise console.misused("name a file: --users FILE, --items FILE, or both")
    with console.refusals(SettingsError, LoadError, ContractError, EmbeddedError):
        settings = load_settings(models=models, store=store, state_dir=state_dir)
        schema = None if model is None else _schema(settings, model)
        refused = 0
        with open_store(settings) as url:
            for kind, path in files.items():
                if path is None:
                    continue
                report = load_file(
                    url, scene, kind, path, id_column=id_column, schema=schema, console=console.err
                )
                _tell(kind, path, report)
                refused += report.refused
    if refused:
        raise typer.Exit(1)


def _schema(settings: Settings, model: str) -> FeatureSchema:
    repository, ref = Repository(settings.models), ModelRef.parse(model)
    return repository.manifest(ref.name, repository.resolve(ref)).schema_


def _tell(kind: Kind, path: Path, report: LoadReport) -> None:
    console.out.print(f"{path}: {report.written} {kind} records written", markup=False)
    for problem in report.problems:
        console.warn(problem)
    if report.refused:
        console.warn(f"{path}: {report.refused} rows refused")
