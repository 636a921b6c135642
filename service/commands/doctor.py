"""`finerank doctor`: is everything here that serving needs, and what to do about what is not?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from service.commands import console
from service.settings import SettingsError, load_settings

if TYPE_CHECKING:
    from service.commands.checks import Finding


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(rich_help_panel="Serving")(doctor)


def doctor(
    models: Annotated[Path | None, typer.Option(help="Directory of model packages.")] = None,
    store: Annotated[str | None, typer.Option(help="redis://… or embedded.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="State of this service.")] = None,
) -> None:
    """Check runtime, store, models and thread budget, and say what to do."""
    from service.commands.checks import CHECKS  # slow: it loads what serving loads

    with console.refusals(SettingsError):
        settings = load_settings(models=models, store=store, state_dir=state_dir)
    stopped = False
    for check in CHECKS:
        for finding in check(settings):
            stopped |= bool(finding.remedy) and finding.stops
            _tell(finding)
    if stopped:
        raise typer.Exit(1)


def _tell(finding: "Finding") -> None:
    if not finding.remedy:
        console.out.print("[green]ok   [/]", end=" ")
    elif finding.stops:
        console.out.print("[red]wrong[/]", end=" ")
    else:
        console.out.print("[yellow]hint [/]", end=" ")
    console.out.print(f"{finding.what}: {finding.found}", markup=False)
    if finding.remedy:
        console.out.print(f"      {finding.remedy}", markup=False)
