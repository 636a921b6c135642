"""What the query and headers of a plan's routes say: author and message, numbers, pages."""

import re
from typing import Any

from fastapi import Request

from service.api.publishing import Signature
from service.errors import MalformedQuery
from service.experiment.signing import SIGNATURE_HEADER

_LONGEST = {"author": 200, "message": 2_000}
_WHAT = {
    "author": 'who writes, for the history; "" there where it is absent',
    "message": "why, for the history",
}
_MOST_HISTORY = 1_000
_CURSOR = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


def signed_by(*names: str) -> dict[str, Any]:
    """What `read_signature` reads, for the OpenAPI document of a route; all of it, or `names`."""
    return {
        "parameters": [
            {
                "name": name,
                "in": "query",
                "required": False,
                "description": _WHAT[name],
                "schema": {"type": "string", "maxLength": _LONGEST[name], "default": ""},
            }
            for name in names or _LONGEST
        ]
    }


def read_signature(request: Request) -> Signature:
    """`?author=&message=`, for the audit, and the signature of what is written."""
    given = {name: request.query_params.get(name, "") for name in _LONGEST}
    for name, text in given.items():
        if len(text) > _LONGEST[name]:
            raise MalformedQuery(f"?{name}= has {len(text)} characters; at most {_LONGEST[name]}")
    return Signature(**given, signed=request.headers.get(SIGNATURE_HEADER, ""))


def read_number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text[:19]) < 2**53):
        raise MalformedQuery(f"?{name}={text[:40]}: must be a whole number from 1")
    return int(text)


def read_page(request: Request) -> tuple[int, str | None]:
    """`?limit=` (at most 1000, 100 when absent) and `?before=`, the `next` of another page."""
    before = request.query_params.get("before")
    if before is not None and not _CURSOR.fullmatch(before):
        raise MalformedQuery(f"?before={before[:40]}: give the `next` of another page")
    return min(read_number(request, "limit") or 100, _MOST_HISTORY), before
