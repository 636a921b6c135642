"""Read a plan document: bytes or a mapping in, a `Plan` or the list of what is wrong out."""

import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from service.experiment.document import Plan
from service.experiment.errors import PlanInvalid
from service.experiment.findings import Finding, did_you_mean, errors, pointer
from service.experiment.rules import agree

RESERVED = frozenset({"input"})


def parse_plan(document: Mapping[str, Any] | bytes) -> Plan:
    """The plan, if its shape is right and its parts agree; what needs models is `check_plan`'s.

    Raises:
        PlanInvalid: every finding, each with its JSON pointer.
    """
    if isinstance(document, bytes):
        try:
            document = json.loads(document, parse_constant=_no_constant)
        except (ValueError, RecursionError) as err:
            raise PlanInvalid([Finding("error", "", f"the plan is not JSON: {err}")]) from err
    if not isinstance(document, Mapping):
        raise PlanInvalid([Finding("error", "", "the plan is not a JSON object")])
    try:
        plan = Plan.model_validate_json(json.dumps(document))
    except ValidationError as err:
        details = err.errors(include_url=False)
        raise PlanInvalid([_shape_finding(detail) for detail in details]) from err
    findings = agree(plan)
    if errors(findings):
        raise PlanInvalid(findings)
    return plan


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON number")


def _shape_finding(detail: ErrorDetails) -> Finding:
    path = detail["loc"]
    key = str(path[-1]) if path else ""
    match detail["type"]:
        case "extra_forbidden" if key in RESERVED:
            message = f"the key {key!r} is reserved and not supported by this version"
        case "extra_forbidden":
            message = f"unknown key {key!r}{did_you_mean(key, _keys_at(path[:-1]))}"
        case "missing":
            message = f"the key {key!r} is missing"
        case _:
            what = detail["msg"].removeprefix("Value error, ")
            message = f"{what[0].lower()}{what[1:]}, not {_shown(detail['input'])}"
    return Finding("error", pointer(*(p for p in path if p != "[key]")), message)


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _keys_at(path: Iterable[str | int]) -> list[str]:
    """The keys that the document may have at a path, by walking the types."""
    annotation: Any = Plan
    for step in path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(step)].annotation
        else:
            annotation = get_args(annotation)[-1 if get_origin(annotation) is dict else 0]
        annotation = _unwrapped(annotation)
    return list(annotation.model_fields)


def _unwrapped(annotation: Any) -> Any:
    """Without Annotated and "| None"."""
    while get_origin(annotation) is Annotated or type(None) in get_args(annotation):
        annotation = get_args(annotation)[0]
    return annotation
