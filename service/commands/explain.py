"""`finerank explain`: rank one request and say why its items are where they are."""

import json
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from service.commands import console
from service.commands.plan_client import (
    TIMEOUT_S,
    NoAnswer,
    Refused,
    accepted,
    read_document,
    with_scheme,
)
from service.commands.plan_options import URL

_DEADLINE_MS = "5000"  # explaining takes longer than ranking, and nobody waits for it in a feed

Answer = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("explain", rich_help_panel="Serving")(explain)


def explain(
    request: Annotated[Path, typer.Argument(help="A rank request, JSON; - reads stdin.")],
    compare: Annotated[
        tuple[str, str] | None, typer.Option(help="Two item ids: why is one above the other?")
    ] = None,
    item: Annotated[list[str] | None, typer.Option(help="Only these items.")] = None,
    top: Annotated[int, typer.Option(min=1, help="So many items, best first.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="The whole reply as JSON.")] = False,
    url: Annotated[str, typer.Option(envvar="FINERANK_URL", help="Where the service is.")] = URL,
) -> None:
    """Rank a request and say why: terms, arms and what they changed, two items compared.

    With --compare, a share is of all that the terms add to the lead and take from it: without their
    signs the shares make 100 %, also where large terms nearly cancel.

    [dim]finerank explain request.json --compare 6831 5239[/]
    """
    with console.refusals(Refused):
        document = read_document(request)
        document["explain"] = {"compare": list(compare)} if compare else True
        answer = _rank(url, document)
    if as_json:
        console.out.print(json.dumps(answer, indent=1, ensure_ascii=False), markup=False)
        return
    _show_request(answer)
    if compare is not None:
        _show_comparison(answer)
    else:
        _show_items(_items(answer), item or [], top)


def _rank(url: str, document: Answer) -> Answer:
    headers = {"x-request-timeout-ms": _DEADLINE_MS}
    try:
        answer = httpx.post(
            f"{with_scheme(url)}/v1/rank", json=document, headers=headers, timeout=TIMEOUT_S
        )
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NoAnswer(url, error) from error
    except ValueError as error:  # a number that JSON does not have
        raise Refused(f"the request cannot be sent: {error}") from error
    found = accepted(answer)
    told = found.get("explain_request", {})
    if "formula" not in told:
        raise Refused(told.get("note", "nothing was scored, so there is nothing to explain"))
    return found


def _items(answer: Answer) -> list[Answer]:
    """The items of either form: id, score, explain."""
    if "items" in answer:
        return list(answer["items"])
    columns = zip(answer["ids"], answer["scores"], answer["explain"], strict=True)
    return [{"id": id_, "score": score, "explain": told} for id_, score, told in columns]


def _show_request(answer: Answer) -> None:
    why = answer["explain_request"]
    _line(f"plan {answer['plan']}, model {answer['model']}, formula {answer['formula']}:")
    _line(f"  {why['formula']}")
    _line(f"  {', '.join(f'{name} = {value:g}' for name, value in why['params'].items())}")
    for layer in why["buckets"]:
        where = f"bucket {layer['bucket']}" if "bucket" in layer else "no bucket: no unit"
        arm = answer["assignments"].get(layer["layer"], "in no experiment")
        _line(f"  layer {layer['layer']}: {where}, {arm}")
    control = why["control"]
    if control is not None:
        _line("the experiments changed:")
        params = control.get("params", {}) | control.get("let", {})
        texts = {n: control[n] for n in ("formula", "score", "model") if n in control}
        for name, (before, after) in {**texts, **params}.items():
            _line(f"  {name}: {before} -> {after}")
        if "note" in control:
            _line(f"  {control['note']}")


def _show_items(items: list[Answer], named: list[str], top: int) -> None:
    known = {item["id"] for item in items}
    if unknown := [id_ for id_ in named if id_ not in known]:
        raise console.fail(f"{unknown[0]!r} is not in the answer")
    shown = [i for i in items if i["id"] in named] if named else items[:top]
    for place, item in enumerate(shown):
        told = item["explain"]
        control = told.get("control")
        without = ""
        if control is not None:
            without = (
                f"; in no experiment {_number(control['score'])}, place {control['position']:g}"
            )
        if place:
            _line("")
        _line(f"{item['id']}: place {told['position']}, score {_number(item['score'])}{without}")
        table = Table("term", "value", _CONTRIBUTION[told["mode"]], box=None, pad_edge=False)
        for term in told["terms"]:
            table.add_row(term["text"], _number(term["value"]), _number(term["contribution"]))
        console.show(table, markup=False)
        heads = {**told["heads"], **told["attributes"]}
        _line(", ".join(f"{name} = {_number(value)}" for name, value in heads.items()))
        if told["note"]:
            _line(told["note"])
        if told["missing"]:
            _line(f"missing: {', '.join(told['missing'])}")


def _show_comparison(answer: Answer) -> None:
    found = answer["explain_request"]["compare"]
    above, below = found["above"], found["below"]
    _line(
        f"{above['id']} ({_number(above['score'])}) is above"
        f" {below['id']} ({_number(below['score'])}), because:"
    )
    table = Table("term", above["id"], below["id"], "lead", "share", box=None, pad_edge=False)
    for term in found["terms"]:
        share = "" if term["share"] is None else f"{term['share']:+.0%}"
        table.add_row(
            term["text"],
            *(_number(term[side]) for side in ("above", "below", "gap")),
            share,
        )
    console.show(table, markup=False)
    gaps = [term["gap"] for term in found["terms"] if term["gap"] is not None]
    if found["lead"] is not None and len(gaps) == len(found["terms"]) > 1:
        of = " of log score" if found["mode"] == "product" else ""
        adds, takes = sum(g for g in gaps if g > 0), -sum(g for g in gaps if g < 0)
        _line(f"lead{of}: {_number(adds)} - {_number(takes)} = {_number(found['lead'])}")
    if found["note"]:
        _line(found["note"])
    for flip in found["flips"]:
        _line(_flip_sentence(flip))


def _flip_sentence(flip: Answer) -> str:
    name, bounds = flip["param"], "[{:g}, {:g}]".format(*flip["bounds"])
    if flip["needs"] is not None:
        return (
            f"{name} {flip['value']:g} -> {flip['needs']:.12g} ({flip['change']:+.4g}) would flip"
            f" them ({flip['method']})"
        )
    if flip["crossing"] is not None:
        return f"{name} would have to be {flip['crossing']:g}, outside its bounds {bounds}"
    return f"{name} flips them nowhere within its bounds {bounds}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"


def _line(text: str) -> None:
    console.out.print(text, markup=False)


_CONTRIBUTION = {"product": "log share", "sum": "share", "single": "share"}
