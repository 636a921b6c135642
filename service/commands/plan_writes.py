"""`finerank plan set, publish, rollback, freeze, sign`: change what is live."""

import math
from contextlib import suppress
from typing import Annotated

import typer

from service.api.plan_edit import change_params, named_alone
from service.commands import console
from service.commands.plan_client import Document, PlanClient, Refused, read_document
from service.commands.plan_options import (
    URL,
    Author,
    File,
    Key,
    Message,
    Scene,
    Token,
    Url,
    Wait,
    Yes,
    show_findings,
    show_lines,
    unless_unchanged,
)
from service.commands.plan_waiting import wait_for
from service.errors import ServiceError
from service.experiment.differences import changes, unified
from service.experiment.freeze import KEY
from service.experiment.signing import PlanKey


def register(group: typer.Typer) -> None:
    """Add the commands."""
    group.command("set")(set_params)
    group.command("publish")(publish)
    group.command("rollback")(rollback)
    group.command("freeze")(freeze)
    group.command("sign")(sign)


def set_params(
    scene: Scene,
    assignments: Annotated[
        list[str], typer.Argument(help="b=1.6 or FORMULA.b=1.6; weights are w_HEAD.")
    ],
    url: Url = URL,
    token: Token = None,
    key: Key = None,
    author: Author = "",
    message: Message = "",
    yes: Yes = False,
    wait: Wait = False,
) -> None:
    """Change params of the live plan now, in every formula that has them.

    Leaves with 3 where nothing would change and nobody says --yes.

    [dim]finerank plan set feed b=1.6 c=0.2 -m "more completion"[/]
    """
    params = dict(map(_assignment, assignments))
    with console.refusals(Refused), PlanClient(url, scene, token, key) as client:
        before = client.get()
        params = {_param(before["plan"], name): value for name, value in params.items()}
        with suppress(ServiceError):  # what cannot be changed the service refuses better
            same = change_params(before["plan"], params) == before["plan"]
            unless_unchanged(before["version"], same=same, yes=yes)
        answer = client.patch(params, before, author, message or " ".join(assignments))
        after = client.get(answer["version"])
        show_lines(changes(before["plan"], after["plan"]))
        show_findings(answer["findings"])
        console.out.print(f"version {before['version']} -> {answer['version']}")
        wait_for(client, answer["version"], wanted=wait)


def publish(
    scene: Scene,
    file: File,
    url: Url = URL,
    token: Token = None,
    key: Key = None,
    author: Author = "",
    message: Message = "",
    yes: Yes = False,
    wait: Wait = False,
    over: Annotated[
        int | None, typer.Option(help="The version that FILE was made from; refused if it is old.")
    ] = None,
    signature: Annotated[
        str | None, typer.Option(help="What `plan sign` printed, where the key is elsewhere.")
    ] = None,
) -> None:
    """Make a plan document the live plan; the first one of a scene, too.

    Asks when there are warnings, or when nothing changes. Leaves with 1 where it is refused, or
    nobody answers a question about warnings; with 3 where nothing changes and nobody says --yes.
    """
    with console.refusals(Refused), PlanClient(url, scene, token, key) as client:
        document = read_document(file)
        live = client.live()
        checked = client.validate(document)
        show_findings(checked["findings"])
        if not checked["valid"]:
            raise console.fail("the plan has errors; nothing was published")
        if live is not None and over in {None, live["version"]}:
            signed = signature or client.signature(document)
            same = document == live["plan"] and signed in {"", live.get("signature", "")}
            unless_unchanged(live["version"], same=same, yes=yes)
        if checked["findings"] and not yes:
            typer.confirm("publish with these warnings?", abort=True, err=True)
        replaced = over or (None if live is None else live["version"])
        answer = client.put(document, replaced, author, message, signature)
        show_findings([f for f in answer["findings"] if f not in checked["findings"]])
        console.out.print(f"version {replaced or 'none'} -> {answer['version']}")
        wait_for(client, answer["version"], wanted=wait)


def rollback(
    scene: Scene,
    version: Annotated[
        int | None, typer.Option("--to", help="Version; absent: what was live before.")
    ] = None,
    url: Url = URL,
    token: Token = None,
    author: Author = "",
    message: Message = "",
    yes: Yes = False,
    wait: Wait = False,
) -> None:
    """Publish an old version again, as a new one.

    Without --to it is the plan before this one; a freeze, and its end, are no other plan. Leaves
    with 3 where --to says what is live and nobody says --yes.
    """
    with console.refusals(Refused), PlanClient(url, scene, token) as client:
        before = client.get()
        old = None if version is None else client.get(version)["plan"]
        unless_unchanged(before["version"], same=old == before["plan"], yes=yes)
        freeze = old and old.get(KEY)
        if freeze is not None:
            console.warn(
                f"version {version} is frozen: everybody gets formula {freeze['formula']}"
                f" ({freeze['reason']})"
            )
            if not yes:
                typer.confirm("publish it all the same?", abort=True, err=True)
        answer = client.rollback(version, author, message)
        after = client.get(answer["version"])
        show_lines(unified(before["plan"], after["plan"], "before", "now"))
        show_findings(answer["findings"])
        console.out.print(f"version {before['version']} -> {answer['version']}: {after['message']}")
        wait_for(client, answer["version"], wanted=wait)


def freeze(
    scene: Scene,
    formula: Annotated[str | None, typer.Option(help="The formula that everybody gets.")] = None,
    reason: Annotated[str, typer.Option(help="Why, for the audit.")] = "",
    off: Annotated[bool, typer.Option("--off", help="Serve the whole plan again.")] = False,
    url: Url = URL,
    token: Token = None,
    key: Key = None,
    author: Author = "",
    wait: Wait = False,
) -> None:
    """Serve one formula to everybody now, without any experiment.

    Undone by --off, by a rollback, or by another plan. [dim]finerank plan freeze feed --formula
    base --reason "likes have dropped"[/]
    """
    if off == (formula is not None):
        raise console.misused("give --formula NAME, or --off to end it")
    if not off and not reason.strip():
        raise console.misused("a freeze needs a --reason")
    with console.refusals(Refused), PlanClient(url, scene, token, key) as client:
        before = client.get()
        answer = client.freeze(before, formula, reason.strip() or "no reason given", author)
        show_findings(answer["findings"])
        what = "the whole plan" if off else f"formula {formula} for everybody"
        console.out.print(f"version {before['version']} -> {answer['version']}: {what}")
        wait_for(client, answer["version"], wanted=wait)


def sign(file: File, key: Key = None) -> None:
    """Print the signature of a plan document, for `publish --signature`; no service is asked."""
    if not key:
        raise console.misused("signing needs the key: FINERANK_PLAN_KEY")
    with console.refusals(Refused):
        console.out.print(PlanKey(key).sign(read_document(file)))


def _assignment(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        value = float(number if name.strip() else "")
    except ValueError:
        hint = "write name=number, like b=1.6"
        raise console.misused(f"{text!r}: {hint}") from None
    if not math.isfinite(value):
        raise console.misused(f"{text!r}: numbers must be finite")
    return name.strip(), value


def _param(plan: Document, name: str) -> str:
    try:
        return named_alone(plan, name)
    except ServiceError as error:
        raise Refused(error.detail) from error
