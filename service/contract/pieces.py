"""Read a large JSON document in pieces, so that other threads run between two of them.

A parser that is one call into C holds the interpreter lock until its end: 100 ms for a manifest of
10 MB, in which no request is answered.
"""

import json
import re
from collections.abc import Callable
from typing import Any

_SPACE = re.compile(r"[ \t\n\r]*")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


_decode = json.JSONDecoder(parse_constant=_refuse).raw_decode

Path = tuple[str, ...]


def read_pieces(text: str, large: Path, read: Callable[[int, Any], Any]) -> Any:
    """The document, with each element of the array at `large` replaced by `read(index, element)`.

    Objects on the way to `large` are walked, everything else is decoded at once; a document that
    has no such array is read all the same. The last of equal keys wins.

    Raises:
        ValueError: not JSON.
    """
    value, end = _value(text, _skip(text, 0), large, read)
    if _skip(text, end) != len(text):
        raise ValueError(f"more after the end of the document, at character {end}")
    return value


def _value(text: str, at: int, large: Path, read: Callable[[int, Any], Any]) -> tuple[Any, int]:
    if large and text.startswith("{", at):
        return _object(text, at, large, read)
    if not large and text.startswith("[", at):
        return _array(text, at, read)
    return _decode(text, at)


def _object(
    text: str, at: int, large: Path, read: Callable[[int, Any], Any]
) -> tuple[dict[str, Any], int]:
    found: dict[str, Any] = {}
    at = _skip(text, at + 1)
    if text.startswith("}", at):
        return found, at + 1
    while True:
        key, at = _decode(text, at)
        if not isinstance(key, str):
            raise ValueError(f"a key that is no text, before character {at}")
        at = _skip(text, _expect(text, _skip(text, at), ":"))
        if key == large[0]:
            found[key], at = _value(text, at, large[1:], read)
        else:
            found[key], at = _decode(text, at)
        at = _skip(text, at)
        if text.startswith("}", at):
            return found, at + 1
        at = _skip(text, _expect(text, at, ","))


def _array(text: str, at: int, read: Callable[[int, Any], Any]) -> tuple[list[Any], int]:
    found: list[Any] = []
    at = _skip(text, at + 1)
    if text.startswith("]", at):
        return found, at + 1
    while True:
        element, at = _decode(text, at)
        found.append(read(len(found), element))
        at = _skip(text, at)
        if text.startswith("]", at):
            return found, at + 1
        at = _skip(text, _expect(text, at, ","))


def _expect(text: str, at: int, sign: str) -> int:
    if not text.startswith(sign, at):
        raise ValueError(f"{sign!r} expected at character {at}")
    return at + len(sign)


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return at if match is None else match.end()
