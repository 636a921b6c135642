"""`finerank plan …`: read, check, change and roll back the plan of a scene over HTTP."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from service.commands import console
from service.commands.plan_client import Findings, PlanClient, Refused, read_document
from service.commands.plan_diff import diff_lines, param_changes

Scene = Annotated[str, typer.Argument(help="Scene of the plan.")]
File = Annotated[Path, typer.Argument(help="Plan document, JSON; - reads stdin.")]
Url = Annotated[str, typer.Option(envvar="FINERANK_URL", help="Where the service is.")]
Token = Annotated[
    str | None,
    typer.Option(envvar="FINERANK_TOKEN", show_envvar=True, help="Write token of the service."),
]
Author = Annotated[str, typer.Option(envvar="USER", help="Who, for the audit.")]
Message = Annotated[str, typer.Option("--message", "-m", help="Why, for the audit.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Publish over warnings without asking.")]
Version = Annotated[int | None, typer.Option(help="This version instead of the live one.")]

_URL = "http://127.0.0.1:8000"


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Plans: who gets which formula and model.", no_args_is_help=True)
    group.command("get")(get)
    group.command("set")(set_params)
    group.command("validate")(validate)
    group.command("publish")(publish)
    group.command("diff")(diff)
    group.command("history")(history)
    group.command("rollback")(rollback)
    app.add_typer(group, name="plan", rich_help_panel="Serving")


def get(scene: Scene, url: Url = _URL, version: Version = None) -> None:
    """Print the live plan as JSON, ready to be edited and published."""
    with console.refusals(Refused), PlanClient(url, scene) as client:
        stored = client.get(version)
    console.err.print(
        f"version {stored['version']} by {stored['author'] or 'nobody'}"
        f" at {stored['published_at']}: {stored['message']}",
        markup=False,
    )
    console.out.print(json.dumps(stored["plan"], indent=1, ensure_ascii=False), markup=False)


def set_params(
    scene: Scene,
    assignments: Annotated[list[str], typer.Argument(help="b=1.6 c=0.2; weights are w_HEAD.")],
    url: Url = _URL,
    token: Token = None,
    author: Author = "",
    message: Message = "",
) -> None:
    """Change params of the live plan now, in every formula that has them.

    [dim]finerank plan set feed b=1.6 c=0.2 -m "more completion"[/]
    """
    params = dict(map(_assignment, assignments))
    with console.refusals(Refused), PlanClient(url, scene, token) as client:
        before = client.get()
        answer = client.patch(params, before["version"], author, message or " ".join(assignments))
        after = client.get(answer["version"])
    for line in param_changes(before["plan"], after["plan"]):
        console.out.print(line, markup=False)
    _show_findings(answer["findings"])
    console.out.print(f"version {before['version']} -> {answer['version']}")


def validate(scene: Scene, file: File, url: Url = _URL) -> None:
    """Say what publishing this plan would say; nothing changes."""
    with console.refusals(Refused), PlanClient(url, scene) as client:
        answer = client.validate(read_document(file))
    _show_findings(answer["findings"])
    if not answer["valid"]:
        raise typer.Exit(1)
    console.out.print("the plan can be published")


def publish(
    scene: Scene,
    file: File,
    url: Url = _URL,
    token: Token = None,
    author: Author = "",
    message: Message = "",
    yes: Yes = False,
) -> None:
    """Make a plan document the live plan; the first one of a scene, too."""
    with console.refusals(Refused), PlanClient(url, scene, token) as client:
        document = read_document(file)
        live = client.live()
        checked = client.validate(document)
        _show_findings(checked["findings"])
        if not checked["valid"]:
            raise console.fail("the plan has errors; nothing was published")
        if checked["findings"] and not yes:
            typer.confirm("publish with these warnings?", abort=True, err=True)
        answer = client.put(document, live, author, message)
    console.out.print(f"version {live or 'none'} -> {answer['version']}")


def diff(scene: Scene, file: File, url: Url = _URL, version: Version = None) -> None:
    """Show what a plan document would change in the live plan."""
    with console.refusals(Refused), PlanClient(url, scene) as client:
        stored = client.get(version)
        document = read_document(file)
    for line in diff_lines(stored["plan"], document, f"version {stored['version']}", str(file)):
        console.out.print(line, style=_COLOURS.get(line[:1]), markup=False)


def history(
    scene: Scene,
    url: Url = _URL,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
) -> None:
    """List who published what, newest first."""
    with console.refusals(Refused), PlanClient(url, scene) as client:
        answer = client.history(limit)
    table = Table("version", "published", "author", "message", box=None)
    for entry in answer["history"]:
        live = " *" if entry["version"] == answer["live"] else ""
        row = (f"{entry['version']}{live}", *(entry[k] for k in ("published_at", "author")))
        table.add_row(*row, entry["message"])
    console.out.print(table)


def rollback(
    scene: Scene,
    version: Annotated[
        int | None, typer.Option("--to", help="Version; absent: what was live before.")
    ] = None,
    url: Url = _URL,
    token: Token = None,
    author: Author = "",
    message: Message = "",
) -> None:
    """Publish an old version again, as a new one."""
    with console.refusals(Refused), PlanClient(url, scene, token) as client:
        before = client.get()
        answer = client.rollback(version, author, message)
        after = client.get(answer["version"])
    for line in diff_lines(before["plan"], after["plan"], "before", "now"):
        console.out.print(line, style=_COLOURS.get(line[:1]), markup=False)
    console.out.print(f"version {before['version']} -> {answer['version']}: {after['message']}")


_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


def _assignment(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return name.strip(), float(number)
    except ValueError:
        hint = "write name=number, like b=1.6"
        raise console.fail(f"{text!r}: {hint}") from None


def _show_findings(findings: Findings) -> None:
    for finding in findings:
        colour = "red" if finding["severity"] == "error" else "yellow"
        console.err.print(finding["severity"], style=colour, end=" ")
        console.err.print(f"{finding['pointer'] or '/'}: {finding['message']}", markup=False)
        if "caret" in finding:
            console.err.print(finding["caret"], markup=False)
