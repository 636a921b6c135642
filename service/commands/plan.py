"""`finerank plan …`: read, compare and check the plan of a scene over HTTP; writes are apart."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from service.commands import console, plan_writes, preview
from service.commands.plan_client import UNNAMED, PlanClient, Refused, read_document
from service.commands.plan_options import (
    URL,
    File,
    Scene,
    Url,
    Version,
    show_findings,
    show_lines,
)
from service.experiment.differences import changes, unified
from service.experiment.errors import PlanInvalid
from service.experiment.plan import parse_plan
from service.experiment.structure import structured as to_structured
from service.experiment.structure import textual as to_text

_PAGE = 1_000


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(help="Plans: who gets which formula and model.", no_args_is_help=True)
    group.command("get")(get)
    group.command("validate")(validate)
    group.command("diff")(diff)
    group.command("history")(history)
    group.command("form")(form)
    group.command("preview")(preview.preview)
    plan_writes.register(group)
    app.add_typer(group, name="plan", rich_help_panel="Serving")


def get(
    scene: Scene,
    url: Url = URL,
    version: Version = None,
    out: Annotated[
        Path | None, typer.Option(help="Write DIR/SCENE.json, for review in git.")
    ] = None,
) -> None:
    """Print the live plan as JSON, ready to be edited and published."""
    with console.refusals(Refused, OSError), PlanClient(url, scene) as client:
        stored = client.get(version)
        text = json.dumps(stored["plan"], indent=1, ensure_ascii=False)
        console.err.print(
            f"version {stored['version']} by {stored['author'] or UNNAMED}"
            f" at {stored['published_at']}: {stored['message']}",
            markup=False,
        )
        if out is None:
            console.out.print(text, markup=False)
            return
        out.mkdir(parents=True, exist_ok=True)
        file = out / f"{scene}.json"
        file.write_text(text + "\n")
    over = f"--over {stored['version']}"
    console.err.print(f"edit {file}, then: finerank plan publish {scene} {file} {over}")


def validate(scene: Scene, file: File, url: Url = URL) -> None:
    """Say what publishing this plan would say; nothing changes."""
    with console.refusals(Refused), PlanClient(url, scene) as client:
        answer = client.validate(read_document(file))
    show_findings(answer["findings"])
    if not answer["valid"]:
        raise typer.Exit(1)
    console.out.print("the plan can be published")


def diff(
    scene: Scene,
    file: File,
    url: Url = URL,
    version: Version = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Leave with 1 where anything differs.")
    ] = False,
) -> None:
    """Show what a plan document would change: weights with Δ %, texts, and the whole document.

    Leaves with 0 whether or not anything differs, unless --exit-code asks for 1.
    """
    with console.refusals(Refused), PlanClient(url, scene) as client:
        stored = client.get(version)
        document = read_document(file)
    show_lines(changes(stored["plan"], document))
    show_lines(unified(stored["plan"], document, f"version {stored['version']}", str(file)))
    if stored["plan"] == document:
        console.err.print(f"nothing changes against version {stored['version']}")
    elif exit_code:
        raise typer.Exit(1)


def form(
    file: File,
    formula: Annotated[str, typer.Option(help="Name of the formula.")],
    structured: Annotated[
        bool, typer.Option("--structured/--text", help="To the structured form, or to text.")
    ] = False,
) -> None:
    """Print the plan document with one formula in its other form; no service is asked."""
    with console.refusals(Refused, PlanInvalid):
        document = read_document(file)
        formulas = parse_plan(document).formulas
    spec = formulas.get(formula)
    if spec is None:
        known = ", ".join(formulas)
        raise console.fail(f"there is no formula {formula!r} in {file} (known: {known})")
    other = to_structured(spec) if structured else to_text(spec)
    if other is None:
        raise console.fail(f"formula {formula!r} says more than a structured form can")
    document["formulas"][formula] = other.model_dump(exclude_defaults=True)
    console.out.print(json.dumps(document, indent=1, ensure_ascii=False), markup=False)


def history(
    scene: Scene,
    url: Url = URL,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 20,
) -> None:
    """List who published what, newest first."""
    entries: list[dict[str, object]] = []
    before = None
    with console.refusals(Refused), PlanClient(url, scene) as client:
        while len(entries) < limit:
            page = client.history(min(limit - len(entries), _PAGE), before)
            entries += page["history"]
            before = page["next"]
            if before is None:
                break
    table = Table("version", "published", "author", "message", box=None)
    for entry in entries:
        live = " *" if entry["version"] == page["live"] else ""
        who = str(entry["author"] or UNNAMED)
        version, at = f"{entry['version']}{live}", str(entry["published_at"])
        table.add_row(version, at, who, str(entry["message"]))
    console.show(table)
