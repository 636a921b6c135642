"""A JSON document as a reply that no cache keeps."""

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response

NO_STORE = {"cache-control": "no-store"}


def json_reply(
    document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The reply; `headers` are added to those it always has."""
    return Response(
        orjson.dumps(document),
        status,
        media_type="application/json",
        headers={**NO_STORE, **(headers or {})},
    )
