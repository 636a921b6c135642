"""Arguments and options that the `finerank plan` commands share, and how findings are shown."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from service.commands import console
from service.commands.plan_client import Findings

Scene = Annotated[str, typer.Argument(help="Scene of the plan.")]
File = Annotated[Path, typer.Argument(help="Plan document, JSON; - reads stdin.")]
Url = Annotated[str, typer.Option(envvar="FINERANK_URL", help="Where the service is.")]
Token = Annotated[
    str | None,
    typer.Option(envvar="FINERANK_TOKEN", show_envvar=True, help="Write token of the service."),
]
Key = Annotated[
    str | None,
    typer.Option(envvar="FINERANK_PLAN_KEY", help="Key to sign the plan with, if there is one."),
]
Author = Annotated[str, typer.Option(envvar="USER", help="Who, for the audit.")]
Message = Annotated[str, typer.Option("--message", "-m", help="Why, for the audit.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask, whatever the warnings.")]
Version = Annotated[int | None, typer.Option(help="This version instead of the live one.")]
Wait = Annotated[
    bool, typer.Option("--wait", help="Return when every live replica runs it, or says why not.")
]

UNCHANGED = 3  # status of a command that would change nothing, where nobody says --yes

URL = "http://127.0.0.1:8000"

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def show_findings(findings: Findings) -> None:
    """Findings on stderr, with the caret of those about formulas."""
    for finding in findings:
        colour = "red" if finding["severity"] == "error" else "yellow"
        console.err.print(finding["severity"], style=colour, end=" ")
        console.err.print(f"{finding['pointer'] or '/'}: {finding['message']}", markup=False)
        if "caret" in finding:
            console.err.print(finding["caret"], markup=False)


def unless_unchanged(version: int, *, same: bool, yes: bool) -> None:
    """Ask before what is live as `version` is published again.

    Raises:
        Exit: status 3, the answer is no.
    """
    if not same:
        return
    console.warn(f"nothing changes against version {version}")
    if not (yes or console.ask("publish the same again, as a new version?")):
        console.err.print("nothing was published; --yes publishes it without asking")
        raise typer.Exit(UNCHANGED)


def show_lines(lines: Iterable[str]) -> None:
    """Lines of a diff on stdout."""
    for line in lines:
        console.out.print(line, style=_COLOURS.get(line[:1]), markup=False)
