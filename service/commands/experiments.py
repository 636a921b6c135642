"""`finerank assign` and `finerank experiments`: who gets what, and what was served, over HTTP."""

from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from service.commands import console
from service.commands.plan_client import TIMEOUT_S, NoAnswer, Refused, accepted, with_scheme
from service.commands.plan_options import URL
from service.experiment.sample_ratio import MISMATCH

Scene = Annotated[str, typer.Argument(help="Scene of the plan.")]
Url = Annotated[str, typer.Option(envvar="FINERANK_URL", help="Where the service is.")]
Values = Annotated[
    list[str] | None, typer.Argument(help="context.tab=1 user.is_new=1: values of the request.")
]

_STEPS = {
    "forced": "forced to {}",
    "asked": "the caller's own: {}",
    "held_out": "held out",
    "percent": "ramp at {:g} %",
    "when": "when {}",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("assign", rich_help_panel="Serving")(assign)
    app.command("experiments", rich_help_panel="Serving")(experiments)


def assign(
    scene: Scene,
    values: Values = None,
    user: Annotated[str | None, typer.Option(help="User id.")] = None,
    request: Annotated[str | None, typer.Option(help="Request id.")] = None,
    at: Annotated[str | None, typer.Option(help="Instant, like 2026-11-22T08:00:00Z.")] = None,
    url: Url = URL,
) -> None:
    """Show the treatment that a request gets, and every step to it.

    [dim]finerank assign feed context.tab=1 --user 712[/]
    """
    query = {"scene": scene, "user_id": user, "request_id": request, "at": at}
    asked = {name: text for name, text in query.items() if text is not None}
    for text in values or ():
        name, sign, value = text.partition("=")
        if not sign:
            raise console.misused(f"{text!r}: write name=value, like context.tab=1")
        asked[name] = value
    answer = _get(url, "/v1/assignments", asked)
    params = " ".join(f"{name}={value:g}" for name, value in answer["params"].items())
    _line(f"{answer['exp_id'] or 'no experiment'}")
    _line(f"formula {answer['formula']} {params}, model {answer['model']}, plan {answer['plan']}")
    for layer in answer["buckets"]:
        _line(_story(layer))


def experiments(scene: Scene, url: Url = URL) -> None:
    """List the experiments of a scene; leave with 1 where arms are not served as planned.

    Each replica counts and checks its own traffic: ask each, or sum finerank_served_total.
    """
    answer = _get(url, "/v1/experiments", {"scene": scene})
    table = Table("layer", "experiment", "traffic", "arm", box=None)
    for heading in ("planned", "requests", "units", "expected"):
        table.add_column(heading, justify="right")
    table.add_column("verdict")
    for found in answer["experiments"]:
        wrong = found["verdict"] == MISMATCH
        verdict = f"[red]{MISMATCH}[/], p = {found['p_value']:.2g}" if wrong else found["verdict"]
        head = (found["layer"], found["experiment"], f"{found['percent']:g} %")
        for place, arm in enumerate(found["arms"]):
            table.add_row(
                *(head if place == 0 else ("", "", "")),
                arm["arm"],
                f"{arm['planned']:.2%}",
                str(arm["requests"]),
                str(arm["units"]),
                f"{arm['expected']:g}",
                verdict if place == 0 else "",
            )
    console.show(table)
    if answer["experiments"]:
        _line(
            f"counted by {answer['replica']} alone, since it has served them; others count theirs"
        )
    if any(found["verdict"] == MISMATCH for found in answer["experiments"]):
        raise typer.Exit(1)


def _story(layer: dict[str, Any]) -> str:
    """What happened in a layer, in the order in which it happened."""
    parts = [f"layer {layer['layer']}: {layer['unit']} {layer['value'] or 'is not given'}"]
    if "bucket" in layer:
        parts.append(f"bucket {layer['bucket']}")
    if "experiment" in layer:
        parts.append(f"in {layer['experiment']}, arm slot {layer['arm_slot']}")
    for name, words in _STEPS.items():
        if layer.get(name) is not None:
            parts.append(words.format(layer[name]))
    if layer.get("in_ramp") is False:
        parts.append("not in yet")
    if layer.get("met") is False:
        parts.append("not met")
    for name, sign in layer.get("signs", {}).items():
        parts.append(f"{name} {'up' if sign > 0 else 'down'}")
    return ", ".join(parts)


def _line(text: str) -> None:
    console.out.print(text, markup=False)


def _get(url: str, path: str, query: dict[str, str]) -> dict[str, Any]:
    with console.refusals(Refused):
        try:
            answer = httpx.get(f"{with_scheme(url)}{path}", params=query, timeout=TIMEOUT_S)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise NoAnswer(url, error) from error
        return accepted(answer)
