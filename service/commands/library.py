"""`finerank library …`: functions and formulas that several scenes share."""

import json
from typing import Annotated

import typer

from service.commands import console
from service.commands.plan_client import PlanClient, Refused, read_document
from service.commands.plan_options import URL, Author, File, Key, Message, Token, Url, Version
from service.experiment.differences import unified

_ROOT = "/v1/libraries"

Library = Annotated[str, typer.Argument(help="Name of the library.")]


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="Libraries: functions and formulas that plans share, pinned by version.",
        no_args_is_help=True,
    )
    group.command("list")(list_libraries)
    group.command("get")(get)
    group.command("publish")(publish)
    app.add_typer(group, name="library", rich_help_panel="Serving")


def list_libraries(url: Url = URL) -> None:
    """List the libraries with their newest versions."""
    with console.refusals(Refused), PlanClient(url, "", root=_ROOT) as client:
        for name, version in client.every()["libraries"].items():
            console.out.print(f"{name}/{version}", markup=False)


def get(name: Library, url: Url = URL, version: Version = None) -> None:
    """Print a library as JSON, ready to be edited and published."""
    with console.refusals(Refused), PlanClient(url, name, root=_ROOT) as client:
        stored = client.get(version)
    console.err.print(f"version {stored['version']}: {stored['message']}", markup=False)
    console.out.print(json.dumps(stored["library"], indent=1, ensure_ascii=False), markup=False)


def publish(
    name: Library,
    file: File,
    url: Url = URL,
    token: Token = None,
    key: Key = None,
    author: Author = "",
    message: Message = "",
) -> None:
    """Publish a version of a library; a plan gets it when it pins it."""
    with console.refusals(Refused), PlanClient(url, name, token, key, root=_ROOT) as client:
        document = read_document(file)
        newest = client.live()
        answer = client.put(document, newest, author, message)
        if newest is not None:
            before = client.get(newest)["library"]
            for line in unified(before, document, f"{name}/{newest}", str(file)):
                console.out.print(line, markup=False)
    console.out.print(f"{name}/{answer['version']}")
