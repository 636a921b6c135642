"""A whole answer as plain bytes: what every way in sends, whatever it speaks."""

from typing import NamedTuple

from starlette.types import Send

RawHeaders = list[tuple[bytes, bytes]]


class Answer(NamedTuple):
    """Status, headers with lower-case names, `content-length` among them, and the whole body.

    No name or value holds CR or LF: the fast lane writes them as they are.
    """

    status: int
    headers: RawHeaders
    content: bytes


async def send_answer(answer: Answer, send: Send) -> None:
    """Send it as ASGI does."""
    status, headers, content = answer
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
