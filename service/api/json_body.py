"""Bytes -> JSON values, with every number checked. Knows pointers and numbers, no message forms.

The last of duplicate keys wins. A number that JSON cannot hold (NaN, Infinity), that a double
cannot hold (1e400) or that no feature can mean (beyond 1e30, where float32 arithmetic starts to
overflow) is refused with its pointer, wherever it stands.
"""

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import orjson

from service.errors import Fault, InvalidRequest, MalformedJson
from service.experiment.findings import pointer

LARGEST_NUMBER = 1e30
DEEPEST = 16  # levels; the deepest legal value is a map of number lists at level 5

_SCALARS = (str, bool, type(None))
_NUMBERS = {int, float}
_PLAIN = {int, float, str, bool, type(None)}


def parse(body: bytes) -> Any:
    """The JSON value of a body.

    Raises:
        MalformedJson: no JSON (with line and column), or numbers outside a double (with pointers).
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as err:
        if faults := list(_non_finite(body, err.pos)):
            detail = f"{faults[0].pointer or 'the body'}: {faults[0].detail}"
            raise MalformedJson(detail, faults=faults[:10]) from None
        raise MalformedJson(
            f"the body is not JSON: {err}",
            faults=[Fault(err.msg, "", more={"line": err.lineno, "column": err.colno})],
        ) from None


def _non_finite(body: bytes, at: int) -> Iterator[Fault]:
    """Places of numbers that made a strict parser stop, found by a lenient one."""
    try:
        text = body.decode()
        if text[at : at + 1] not in set("-0123456789NI"):
            return
        # parse_int: Python reads 10**400 exactly, and refuses to read 10**5000 at all
        value = json.loads(text, parse_int=float)
    except (ValueError, RecursionError):
        return
    for place, number in _numbers(value, ()):
        if not math.isfinite(number):
            name = "NaN" if math.isnan(number) else "a number beyond what a double can hold"
            yield Fault(f"{name} is not allowed: numbers are finite", pointer(*place))


def require_sane_numbers(value: Any, *place: object) -> None:
    """Refuse a number beyond 1e30, or a value nested too deep, anywhere in `value` at `place`.

    Raises:
        InvalidRequest: the first such number, with its pointer.
    """
    if isinstance(value, list):
        if _are_strings(value):
            return
        types = set(map(type, value))
        if types <= _PLAIN:
            _require_sane_column(value, types, place)
            return
    for where, number in _numbers(value, place):
        if abs(number) > LARGEST_NUMBER:
            raise _too_large(number, where)


def _are_strings(column: list[Any]) -> bool:
    """Most columns are: joining them costs a third of looking at each type."""
    if not column or type(column[0]) is not str:
        return False
    try:
        "".join(column)
    except TypeError:
        return False
    return True


def _require_sane_column(column: list[Any], types: set[type], place: tuple[object, ...]) -> None:
    """The same for a list of plain values: most of a request is such lists, so it must be quick."""
    numbers = column if types <= _NUMBERS else [v for v in column if type(v) in _NUMBERS]
    # Their root of squares bounds them all; near the limit its rounding matters.
    if math.hypot(*numbers) < LARGEST_NUMBER / 2:
        return
    if min(numbers) < -LARGEST_NUMBER or max(numbers) > LARGEST_NUMBER:
        row = next(
            i for i, v in enumerate(column) if type(v) in _NUMBERS and abs(v) > LARGEST_NUMBER
        )
        raise _too_large(column[row], (*place, row))


def _too_large(number: float, place: Iterable[object]) -> InvalidRequest:
    where = pointer(*place)
    rule = f"{number:g} is absurdly large: numbers lie within ±{LARGEST_NUMBER:g}"
    return InvalidRequest(f"{where}: {rule}", faults=[Fault(rule, where)])


def _numbers(
    value: Any, place: tuple[object, ...]
) -> Iterator[tuple[tuple[object, ...], int | float]]:
    """Every number inside a JSON value with its place. No recursion: depth may be hostile."""
    stack = [(value, place)]
    while stack:
        found, where = stack.pop()
        if isinstance(found, _SCALARS):
            continue
        if isinstance(found, int | float):
            yield where, found
            continue
        if len(where) >= DEEPEST:
            rule = f"is nested deeper than {DEEPEST} levels"
            raise InvalidRequest(f"{pointer(*where)} {rule}", faults=[Fault(rule, pointer(*where))])
        entries = found.items() if isinstance(found, dict) else enumerate(found)
        stack.extend((v, (*where, k)) for k, v in reversed(list(entries)))
