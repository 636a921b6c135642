"""`finerank models …`: look at packages in a directory, move the aliases of a running service."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from service.commands import console
from service.commands.model_client import ModelClient
from service.commands.plan_client import Document, Refused
from service.commands.plan_options import URL
from service.contract.errors import ContractError
from service.contract.repository import CHAMPION, ModelRef, Repository
from service.scoring.errors import RuntimeProblem
from service.scoring.package import load_package
from service.settings import SettingsError, load_settings

Url = Annotated[str, typer.Option(envvar="FINERANK_URL", help="Where the service is.")]
Token = Annotated[
    str | None,
    typer.Option(envvar="FINERANK_TOKEN", show_envvar=True, help="Write token of the service."),
]
Author = Annotated[str, typer.Option(envvar="USER", help="Who, for the audit.")]
Models = Annotated[Path | None, typer.Option(help="Directory of model packages.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Model packages.", no_args_is_help=True)
    group.command("list")(list_models)
    group.command("check")(check)
    group.command("promote")(promote)
    group.command("demote")(demote)
    app.add_typer(group, name="models", rich_help_panel="Serving")


def list_models(
    models: Models = None,
    url: Annotated[str | None, typer.Option(help="Of a service: list what it knows.")] = None,
) -> None:
    """Every version of every model: aliases and heads, or with --url its state in that service."""
    if url is not None:
        _list_served(url)
        return
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
        console.show(table)
    else:
        console.out.print(f"no models in {repository.root}")


def promote(
    model: Annotated[str, typer.Argument(help="name/version, or name@alias for where it points.")],
    alias: Annotated[str, typer.Option(help="The alias to move.")] = CHAMPION,
    url: Url = URL,
    token: Token = None,
    author: Author = "",
) -> None:
    """Let an alias point at a version, once the service has proved and rehearsed it.

    [dim]finerank models promote kuairand-ple/8[/]
    """
    with console.refusals(Refused, ContractError), ModelClient(url, token) as client:
        ref = ModelRef.parse(model)
        if ref.variant is not None:
            raise Refused(f"{ref}: an alias points at a version; plans add +{ref.variant} to it")
        version = ref.version or _pointed_at(client.get(ref.name), ref)
        _say(client.promote(ref.name, version, alias, author))


def demote(
    name: Annotated[str, typer.Argument(help="Model name.")],
    alias: Annotated[str, typer.Option(help="The alias to move back.")] = CHAMPION,
    url: Url = URL,
    token: Token = None,
    author: Author = "",
) -> None:
    """Let an alias point again where it pointed before the last promotion."""
    with console.refusals(Refused), ModelClient(url, token) as client:
        _say(client.demote(name, alias, author))


def _pointed_at(model: Document, ref: ModelRef) -> int:
    aliases: dict[str, int] = model["aliases"]
    if ref.alias not in aliases:
        known = ", ".join(sorted(aliases)) or "none"
        raise Refused(f"model {ref.name!r} has no alias {ref.alias!r} (known: {known})")
    return aliases[ref.alias]


def _say(moved: Document) -> None:
    if not moved["moved"]:
        console.out.print(f"{moved['name']}/{moved['version']} is {moved['alias']} already")
        return
    was = f"version {moved['replaced']}" if moved["replaced"] else "nothing"
    scenes = ", ".join(moved["scenes"]) or "no scene"
    console.out.print(
        f"{moved['name']}@{moved['alias']}: {was} -> version {moved['version']} ({scenes})"
    )


def _list_served(url: str) -> None:
    with console.refusals(Refused), ModelClient(url) as client:
        found = client.list()
    table = Table("model", "state", "aliases", "scenes", "", box=None)
    for model in found["models"]:
        for version in model["versions"]:
            table.add_row(
                version["model"],
                version["state"],
                " ".join(version["aliases"]),
                " ".join(version["scenes"]),
                version.get("reason", ""),
            )
    console.show(table)


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
            wanted = [
                ModelRef(n, version=v) for n in repository.names() for v in repository.versions(n)
            ]
        else:
            ref = ModelRef.parse(model)
            wanted = [ref.at(repository.resolve(ref))]
        wrong = sum(not _check(repository, ref, ref.version or 0) for ref in wanted)
    if not wanted:
        raise console.fail(f"no models in {repository.root}")
    if wrong:
        raise typer.Exit(1)


def _check(repository: Repository, ref: ModelRef, version: int) -> bool:
    """A package; unless a variant is asked for, all that it publishes."""
    try:
        loaded = load_package(repository, ref.name, version, variant=ref.variant)
    except ContractError as error:
        console.out.print(f"[red]refused[/] {ref}: {error}")
        return False
    console.out.print(f"[green]ok[/]      {loaded.id}: {len(loaded.golden.raw)} golden rows")
    forms = loaded.manifest.variants if ref.variant is None else {}
    published = [replace(ref, variant=name) for name, form in forms.items() if form.files]
    return sum(not _check(repository, form, version) for form in published) == 0
