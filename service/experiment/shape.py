"""What is wrong with the shape of a document, in sentences: what is expected, and what is there."""

import json
from collections.abc import Callable, Iterable, Mapping, Sized
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from service.experiment.findings import Finding, did_you_mean, pointer

RESERVED = frozenset({"input"})

WANTED: Mapping[str, str] = {
    "string_type": "a string",
    "int_type": "an integer",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
}
_SIZES: Mapping[str, str] = {
    "string_too_short": "at least {min_length} characters",
    "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} entries",
    "too_long": "at most {max_length} entries",
}
# how a pattern begins -> what it takes
_PATTERNS: Mapping[str, str] = {
    "^[A-Za-z0-9_][": "1 to 64 of a-z, A-Z, 0-9, '_', '.' and '-', beginning with no '.' or '-'",
    "^[A-Za-z_][A-Za-z0-9_]{0,63}$": "1 to 64 of a-z, A-Z, 0-9 and '_', beginning with no digit",
    "^[a-z][a-z0-9_-]{0,31}$": "1 to 32 of a-z, 0-9, '_' and '-', beginning with a letter",
    "^[A-Za-z_][A-Za-z0-9_]{0,63}(": "a name, or a function of names like f(x)",
    "^(user_id|request_id|time|": "user_id, request_id, time or context.NAME",
    "^(user_id|request_id|context": "user_id, request_id or context.NAME",
}


def shape_findings(error: ValidationError, root: type[BaseModel]) -> list[Finding]:
    """Everything that is wrong, each at its place in a document of the type `root`."""
    return [_finding(dict(detail), root) for detail in error.errors(include_url=False)]


def shape_fault(error: Mapping[str, Any], shown: Callable[[Any], str]) -> str:
    """What is expected in place of the value of one of pydantic's errors.

    `shown` writes the value down.
    """
    kind, value, limits = error["type"], error["input"], error.get("ctx", {})
    if kind in WANTED:
        return f"must be {WANTED[kind]}, not {shown(value)}"
    if kind in _SIZES:
        found = len(value) if isinstance(value, Sized) else shown(value)
        if limits.get("min_length") == 1:
            return "must not be empty"
        return f"must have {_SIZES[kind].format(**limits)}, not {found}"
    if kind == "string_pattern_mismatch":
        patterns = (p for p in _PATTERNS if limits["pattern"].startswith(p))
        if (known := next(patterns, None)) is not None:
            return f"must be {_PATTERNS[known]}, not {shown(value)}"
    what = error["msg"].removeprefix("Value error, ")
    for own in ("Input should", "String should"):
        what = what.replace(own, "must")
    return f"{what[0].lower()}{what[1:]}, not {shown(value)}"


def _finding(detail: Mapping[str, Any], root: type[BaseModel]) -> Finding:
    path = detail["loc"]
    key = str(path[-1]) if path else ""
    match detail["type"]:
        case "extra_forbidden" if key in RESERVED:
            message = f"the key {key!r} is reserved and not supported by this version"
        case "extra_forbidden":
            message = f"unknown key {key!r}{did_you_mean(key, _keys_at(root, path[:-1]))}"
        case "missing" if isinstance(path[-1], int):
            message = f"entry {path[-1] + 1} of the list is missing"
        case "missing":
            message = f"the key {key!r} is missing"
        case _:
            message = shape_fault(detail, _shown)
    return Finding("error", pointer(*(p for p in path if p != "[key]")), message)


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _keys_at(root: type[BaseModel], path: Iterable[str | int]) -> list[str]:
    """The keys that the document may have at a path, by walking the types."""
    annotation: Any = root
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
