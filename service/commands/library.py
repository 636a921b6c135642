"""`finerank library …`: functions and formulas that several scenes share."""

import json
from typing import Annotated

import typer

from service.commands import console
from service.commands.plan_client import PlanClient, Refused, read_document
from service.commands.plan_options import (
    URL,
    Author,
    File,
    Key,
    Message,
    Token,
    Url,
    Version,
    Yes,
    show_lines,
    unless_unchanged,
)
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
        found = client.every()["libraries"]
    for name, version in found.items():
        console.out.print(f"{name}/{version}", markup=False)
    if not found:
        console.err.print(
            "no library yet; publish one: finerank library publish NAME FILE (docs/publishing.md)"
        )


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
    yes: Yes = False,
) -> None:
    """Publish a version of a library; a plan gets it when it pins it.

    Leaves with 3 where it says what the newest version says, and nobody says --yes.
    """
    with console.refusals(Refused), PlanClient(url, name, token, key, root=_ROOT) as client:
        document = read_document(file)
        newest, replaced = client.live(), None
        if newest is not None:
            replaced = newest["version"]
            signed = client.signature(document)
            same = document == newest["library"] and signed in {"", newest.get("signature", "")}
            unless_unchanged(replaced, same=same, yes=yes)
        answer = client.put(document, replaced, author, message)
        if newest is not None:
            show_lines(unified(newest["library"], document, f"{name}/{replaced}", str(file)))
    console.out.print(f"{name}/{answer['version']}")
