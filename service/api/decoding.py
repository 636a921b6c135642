"""JSON -> one checked rank request, whichever of the two forms it came in. Knows no scenes."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from service.api.json_body import parse, require_sane_numbers
from service.api.messages import Candidates, Form, Item, RankRequest, User
from service.errors import Fault, InvalidRequest
from service.experiment.findings import pointer
from service.experiment.shape import WANTED, shape_fault

MOST_FEATURES = 1_000
_MOST_FAULTS = 10

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class RankBody:
    """A rank request with its candidates as columns; `form` remembers how they came."""

    request: RankRequest
    form: Form
    ids: list[str]
    columns: dict[str, list[Any]]  # feature -> one raw value per candidate, None where absent

    def place_of(self, feature: str, row: int) -> str:
        """The JSON pointer of one candidate's raw value."""
        if self.form is Form.COLUMNS:
            return pointer("candidates", "features", feature, row)
        return pointer("items", row, "features", feature)


def decode_rank(body: bytes, max_candidates: int) -> RankBody:
    """Parse and check the body of a rank request.

    Raises:
        MalformedJson: it is no JSON.
        InvalidRequest: it breaks a rule; every fault has its pointer.
    """
    document = parse(body)
    _require_one_form(document)
    _require_few(document, max_candidates)
    request = validated(RankRequest, document)
    if request.context:
        require_sane_numbers(document["context"], "context")
    if request.user is not None and request.user.features:
        require_sane_numbers(request.user.features, "user", "features")
    if request.candidates is not None:
        form, ids, columns = Form.COLUMNS, request.candidates.ids, _columns(request.candidates)
    else:
        items = request.items or []
        form, ids, columns = Form.ROWS, [item["id"] for item in items], _transposed(items)
    _require_unique(ids, form)
    return RankBody(request, form, ids, columns)


def validated(model: type[M], document: Any) -> M:
    """`document` as a message.

    Raises:
        InvalidRequest: what the message's rules say, each fault with its pointer.
    """
    try:
        return model.model_validate(document)
    except ValidationError as err:
        # A misspelt key first: it explains the missing one.
        errors = sorted(err.errors(include_url=False), key=lambda e: e["type"] != "extra_forbidden")
        faults = _merged(_fault(model, document, dict(e)) for e in errors[:_MOST_FAULTS])
        first = faults[0]
        raise InvalidRequest(
            f"{first.pointer or 'the body'}: {first.detail}", faults=faults
        ) from None


def _require_one_form(document: Any) -> None:
    if not isinstance(document, dict):
        rule = f"the body must be a JSON object, not {_json_type(document)}"
        raise InvalidRequest(rule, faults=[Fault(rule, "")])
    has_columns = document.get("candidates") is not None
    has_rows = document.get("items") is not None
    if has_columns and has_rows:
        rule = "give either candidates (columns) or items (rows), not both"
        raise InvalidRequest(rule, faults=[Fault(rule, pointer(form.value)) for form in Form])
    if not has_columns and not has_rows:
        rule = "give the candidates, as candidates (columns) or as items (rows)"
        raise InvalidRequest(rule, faults=[Fault(rule, "")])


def _require_few(document: Mapping[str, Any], most: int) -> None:
    """Before the candidates are looked at one by one, so that a huge list costs nothing."""
    candidates, items = document.get("candidates"), document.get("items")
    ids = candidates.get("ids") if isinstance(candidates, dict) else None
    for found, place in ((ids, ("candidates", "ids")), (items, ("items",))):
        if isinstance(found, list) and len(found) > most:
            rule = f"{len(found)} candidates are too many: at most {most} are ranked at once"
            raise InvalidRequest(rule, faults=[Fault(rule, pointer(*place))])


def _columns(candidates: Candidates) -> dict[str, list[Any]]:
    columns, rows = candidates.features, len(candidates.ids)
    if not columns:
        return {}
    _require_few_features(len(columns), "candidates", "features")
    ragged = [
        Fault(f"has {len(column)} values for {rows} ids", pointer("candidates", "features", name))
        for name, column in columns.items()
        if len(column) != rows
    ]
    if ragged:
        raise InvalidRequest(
            f"{ragged[0].pointer} {ragged[0].detail}", faults=ragged[:_MOST_FAULTS]
        )
    for name, column in columns.items():
        require_sane_numbers(column, "candidates", "features", name)
    return columns


def _transposed(items: Sequence[Item]) -> dict[str, list[Any]]:
    rows = [item.get("features") or {} for item in items]
    names = dict.fromkeys(chain.from_iterable(rows))
    _require_few_features(len(names), "items")
    try:  # mostly every row has every feature
        columns = {name: list(map(itemgetter(name), rows)) for name in names}
    except KeyError:
        columns = {name: [row.get(name) for row in rows] for name in names}
    for name, column in columns.items():
        try:
            require_sane_numbers(column, name)
        except InvalidRequest:
            # once more by rows, for the pointer that this form's caller can follow
            for row, value in enumerate(column):
                require_sane_numbers(value, "items", row, "features", name)
            raise
    return columns


def _require_few_features(found: int, *place: str) -> None:
    if found > MOST_FEATURES:
        rule = f"{found} features are too many: at most {MOST_FEATURES} are read"
        raise InvalidRequest(rule, faults=[Fault(rule, pointer(*place))])


def _require_unique(ids: Sequence[str], form: Form) -> None:
    if len(set(ids)) == len(ids):
        return
    first: dict[str, int] = {}
    faults = []
    for row, item_id in enumerate(ids):
        if (before := first.setdefault(item_id, row)) != row:
            at = _id_place(form, row)
            faults.append(Fault(f"{item_id!r} is already at {_id_place(form, before)}", at))
    raise InvalidRequest(
        f"candidate ids are unique: {faults[0].pointer}: {faults[0].detail}",
        faults=faults[:_MOST_FAULTS],
    )


def _id_place(form: Form, row: int) -> str:
    if form is Form.COLUMNS:
        return pointer("candidates", "ids", row)
    return pointer("items", row, "id")


# where an unknown key may stand -> the keys known there
_KEYS: dict[str, tuple[str, ...]] = {
    "user": tuple(User.model_fields),
    "candidates": tuple(Candidates.model_fields),
    "items": tuple(Item.__annotations__),
}


def _fault(model: type[BaseModel], document: Any, error: Mapping[str, Any]) -> Fault:
    place = _steps(document, error["loc"], missing=error["type"] == "missing")
    if error["type"] == "extra_forbidden":
        known = tuple(model.model_fields) if len(place) == 1 else _KEYS.get(str(place[0]), ())
        near = difflib.get_close_matches(str(place[-1]), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
        detail = f"unknown key {str(place[-1])[:40]!r} ({hint})"
    elif error["type"] == "missing":
        detail = f"{place[-1]!r} is missing"
    else:
        shown = _json_type if error["type"] in WANTED else _shown
        detail = shape_fault(error, shown)
    return Fault(detail, pointer(*place))


def _merged(faults: Iterable[Fault]) -> list[Fault]:
    """One fault a place: a value that may be of several types has one for each."""
    found: dict[str | None, Fault] = {}
    for fault in faults:
        before = found.setdefault(fault.pointer, fault)
        wanted, _, got = fault.detail.removeprefix(_MUST_BE).rpartition(", not ")
        first, _, same = before.detail.rpartition(", not ")
        if before is not fault and got == same and before.detail.startswith(_MUST_BE):
            found[fault.pointer] = Fault(f"{first} or {wanted}, not {got}", fault.pointer)
    # Where an object may stand, and does, what is wrong in it says more.
    return [f for f in found.values() if not any(_is_within(p, f.pointer) for p in found)]


def _is_within(place: str | None, other: str | None) -> bool:
    return place is not None and place.startswith(f"{other}/")


def _steps(document: Any, loc: Sequence[int | str], *, missing: bool) -> tuple[int | str, ...]:
    """The steps of a validation error's place that are in the document, and the missing key.

    Where a value may be of several types, the place also names the one that was tried.
    """
    steps: list[int | str] = []
    value = document
    for step in loc:
        try:
            value = value[step]
        except (LookupError, TypeError):
            continue
        steps.append(step)
    return (*steps, loc[-1]) if missing else tuple(steps)


_MUST_BE = "must be "

_JSON_TYPES: dict[type, str] = {
    str: "a string",
    int: "an integer",
    float: "a number",
    bool: "a boolean",
    list: "a list",
    dict: "an object",
    type(None): "null",
}


def _shown(value: Any) -> str:
    return repr(value)[:40]


def _json_type(value: Any) -> str:
    return _JSON_TYPES.get(type(value), type(value).__name__)
