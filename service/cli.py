"""`finerank`: one command. Serving's subcommands are here, others come through an entry point.

A package that offers the entry point group `finerank.commands` adds subcommands of its own
(training does). They are loaded only for a command that serving does not have, or for the list of
commands, and one that cannot be loaded is a warning.
"""

import sys
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import Annotated

import typer

from service.commands import (
    console,
    doctor,
    experiments,
    explain,
    features,
    library,
    models,
    outcomes,
    plan,
    replay,
    serve,
    shadow,
)

GROUP = "finerank.commands"
_ROOMS = (
    serve,
    doctor,
    plan,
    library,
    features,
    models,
    experiments,
    explain,
    outcomes,
    replay,
    shadow,
)


def build_cli() -> typer.Typer:
    """The command with serving's subcommands."""
    app = typer.Typer(
        help="The fine-ranking stage of a recommender: train, serve, change formulas live.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
    )
    app.callback()(root)
    for room in _ROOMS:
        room.register(app)
    return app


def root(
    _: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=lambda asked: asked and _tell_version()),
    ] = False,
) -> None:
    """The fine-ranking stage of a recommender: train, serve, change formulas live."""


def _tell_version() -> None:
    try:
        console.out.print(f"finerank {version('finerank')}", markup=False, highlight=False)
    except PackageNotFoundError:
        raise console.fail("finerank is not installed, so its version is not known") from None
    raise typer.Exit


def add_plugins(app: typer.Typer) -> None:
    """Add the subcommands of installed packages; a broken one is told, and stops nothing."""
    for entry in entry_points(group=GROUP):
        try:
            entry.load()(app)
        except Exception as error:
            console.warn(f"the commands of {entry.value} cannot be loaded: {error}")


def main() -> None:
    """The console script."""
    app = build_cli()
    if needs_plugins(app, sys.argv[1:]):
        add_plugins(app)
    app(prog_name="finerank")


def needs_plugins(app: typer.Typer, arguments: list[str]) -> bool:
    """Whether the command line asks for more than serving's own commands."""
    own = {c.name or getattr(c.callback, "__name__", "") for c in app.registered_commands}
    own |= {str(g.name) for g in app.registered_groups} - {features.GROUP}
    words = [word for word in arguments if not word.startswith("-")]
    return not words or words[0] not in own or "--help" in arguments[:1]
