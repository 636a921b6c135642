"""Post to an ASGI application in this process: no socket, no client, no HTTP parsing in between."""

from typing import Any


async def post(app: Any, body: bytes, path: str = "/v1/rank") -> bytes:
    """The body of the answer.

    Raises:
        RuntimeError: it is not 200.
    """
    parts: list[bytes] = []
    status = 0

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)
        parts.append(message.get("body", b""))

    length = str(len(body)).encode()
    headers = [(b"content-length", length), (b"x-request-timeout-ms", b"5000")]
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "asgi": {"version": "3.0"},
    }
    await app(scope, receive, send)
    answer = b"".join(parts)
    if status != 200:
        raise RuntimeError(f"{status}: {answer.decode()}")
    return answer
