"""`finerank models list|check`: what is in the models directory, and whether it can be served."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from service.commands import console
from service.contract.errors import ContractError
from service.contract.repository import ModelRef, Repository
from service.scoring.errors import RuntimeProblem
from service.scoring.package import load_package
from service.settings import SettingsError, load_settings

Models = Annotated[Path | None, typer.Option(help="Directory of model packages.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Model packages.", no_args_is_help=True)
    group.command("list")(list_models)
    group.command("check")(check)
    app.add_typer(group, name="models", rich_help_panel="Serving")


def list_models(models: Models = None) -> None:
    """Every version of every model, with its aliases and heads."""
    with console.refusals(SettingsError):
        repository = Repository(load_settings(models=models).models)
    table = Table("model", "aliases", "heads", "created", box=None)
    for name in repository.names():
        for version in repository.versions(name):
            try:
                aliases = [a for a, v in repository.read_aliases(name).items() if v == version]
                manifest = repository.manifest(name, version)
            except ContractError as error:
                table.add_row(f"{name}/{version}", "", f"[red]{error}[/]", "")
                continue
            table.add_row(
                manifest.id,
                " ".join(sorted(aliases)),
                " ".join(manifest.head_names),
                manifest.created_at,
            )
    if table.row_count:
        console.out.print(table)
    else:
        console.out.print(f"no models in {repository.root}")


def check(
    model: Annotated[
        str | None, typer.Argument(help="name, name@alias or name/version; absent: all.")
    ] = None,
    models: Models = None,
) -> None:
    """Load packages as serving would: digests, signature, golden rows."""
    with console.refusals(SettingsError, ContractError, RuntimeProblem):
        repository = Repository(load_settings(models=models).models)
        if model is None:
            wanted = [(n, v) for n in repository.names() for v in repository.versions(n)]
        else:
            ref = ModelRef.parse(model)
            wanted = [(ref.name, repository.resolve(ref))]
        wrong = sum(not _check(repository, name, version) for name, version in wanted)
    if not wanted:
        raise console.fail(f"no models in {repository.root}")
    if wrong:
        raise typer.Exit(1)


def _check(repository: Repository, name: str, version: int) -> bool:
    try:
        loaded = load_package(repository, name, version)
    except ContractError as error:
        console.out.print(f"[red]refused[/] {name}/{version}: {error}")
        return False
    console.out.print(f"[green]ok[/]      {loaded.id}: {len(loaded.golden.raw)} golden rows")
    return True
