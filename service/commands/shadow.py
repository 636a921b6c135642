"""`finerank shadow …`: try a formula or a model beside the answers, then promote or stop it."""

from typing import Annotated, Any

import typer
from rich.table import Table

from service.commands import console
from service.commands.plan_client import PlanClient, Refused
from service.commands.plan_options import (
    URL,
    Author,
    Key,
    Message,
    Scene,
    Token,
    Url,
    show_findings,
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    group = typer.Typer(
        help="Shadows: scored beside the answers, seen by nobody.", no_args_is_help=True
    )
    group.command("start")(start)
    group.command("status")(status)
    group.command("promote")(promote)
    group.command("stop")(stop)
    app.add_typer(group, name="shadow", rich_help_panel="Serving")


def start(
    scene: Scene,
    formula: Annotated[str | None, typer.Option(help="Formula of the live plan.")] = None,
    model: Annotated[str | None, typer.Option(help="name@alias or name/version.")] = None,
    share: Annotated[
        float | None,
        typer.Option(help="Of the requests; absent: all, with a model 0.05."),
    ] = None,
    url: Url = URL,
    token: Token = None,
    key: Key = None,
    author: Author = "",
    message: Message = "",
) -> None:
    """Score a formula, a model or both beside the answers from now on.

    [dim]finerank shadow start feed --model kuairand-ple@challenger[/]
    """
    asked = {"formula": formula, "model": model, "share": share}
    shadow = {name: value for name, value in asked.items() if value is not None}
    if formula is None and model is None:
        raise console.misused("name a formula, a model, or both: --formula, --model")
    with console.refusals(Refused), PlanClient(url, scene, token, key) as client:
        answer = client.start_shadow(shadow, author, message or f"shadow {shadow}")
    _published(answer)


def status(scene: Scene, url: Url = URL) -> None:
    """Show how the shadow differs from the answers of one replica, so far."""
    with console.refusals(Refused), PlanClient(url, scene) as client:
        answer = client.shadow_report()
    if answer["shadow"] is None:
        console.out.print("no shadow")
        console.err.print(
            f"start one: finerank shadow start {scene} --formula NAME, or --model REF"
        )
        return
    about = {key: value for key, value in answer["shadow"].items() if value is not None}
    results = answer["requests"]
    table = Table("what", "value", box=None)
    table.add_row("shadow", " ".join(f"{key}={value}" for key, value in about.items()))
    table.add_row("since", answer["since"])
    table.add_row("requests", ", ".join(f"{n} {what}" for what, n in results.items()) or "none")
    for name in ("overlap@1", "overlap@10", "overlap@50", "tau", "invalid_share"):
        table.add_row(name, "-" if answer[name] is None else f"{answer[name]:.4f}")
    console.show(table)
    console.out.print("a difference of order, not of outcomes")


def promote(
    scene: Scene,
    url: Url = URL,
    token: Token = None,
    key: Key = None,
    author: Author = "",
    message: Message = "",
) -> None:
    """Serve what is in shadow: its formula as the default, its model version as the plan's."""
    with console.refusals(Refused), PlanClient(url, scene, token, key) as client:
        before = client.get()["plan"]
        answer = client.promote_shadow(author, message or "promote the shadow")
        after = client.get(answer["version"])["plan"]
    for what, old, new in (
        ("default formula", before["default"]["formula"], after["default"]["formula"]),
        ("model", before["model"], after["model"]),
    ):
        if old != new:
            console.out.print(f"{what} {old} -> {new}", markup=False)
    _published(answer)


def stop(
    scene: Scene,
    url: Url = URL,
    token: Token = None,
    key: Key = None,
    author: Author = "",
    message: Message = "",
) -> None:
    """Score nothing beside the answers any more."""
    with console.refusals(Refused), PlanClient(url, scene, token, key) as client:
        answer = client.stop_shadow(author, message or "stop the shadow")
    _published(answer)


def _published(answer: dict[str, Any]) -> None:
    show_findings(answer["findings"])
    console.out.print(f"version {answer['version']}")
