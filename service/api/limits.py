"""Count request bodies, and end every answer so that it reaches the client. Knows no route.

A server that closes a connection while the client still sends makes the client's kernel drop the
answer (unread bytes turn the close into a reset). So an answer given before the body was read goes
out in full at once, then the rest of the body is thrown away within bounds, then the answer ends.
"""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import problem_response
from service.errors import BodyEncoded, BodyTooLarge, BodyTooSlow, ServiceError

DRAIN_BYTES = 64 * 1024 * 1024
DRAIN_S = 5.0
BODY_S = 10.0

_PLAIN = ("", "identity")


class BodyLimit:
    """Refuse encoded bodies, those over `max_bytes`, declared or counted, and those over `body_s`.

    `on_refused` is called with the scope of what is refused here, which no route sees, and why.
    """

    def __init__(
        self,
        app: ASGIApp,
        max_bytes: int,
        body_s: float = BODY_S,
        on_refused: Callable[[Scope, ServiceError], None] | None = None,
    ) -> None:
        self._app = app
        self._on_refused = on_refused
        self._max_bytes = max_bytes
        self._body_s = body_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        fields = dict(reversed(list(scope["headers"])))  # the first of a name counts
        body = _Body(receive, self._max_bytes, self._body_s, silent=b"expect" in fields)
        declared = fields.get(b"content-length", b"")
        encoding = fields.get(b"content-encoding", b"").decode("latin-1")
        why: ServiceError | None = None
        if declared.isdigit() and int(declared) > self._max_bytes:
            why = _too_large(self._max_bytes, declared.decode())
        elif encoding.strip().lower() not in _PLAIN:
            why = BodyEncoded(
                f"Content-Encoding is {encoding[:40]!r}: bodies are read as they are;"
                " send it uncompressed, without this header",
                headers={"accept-encoding": "identity"},
            )
        if why is not None:
            if self._on_refused is not None:
                self._on_refused(scope, why)
            refusal = problem_response(why, scope["path"])
            await refusal(scope, body.receive, body.ending(send))
            return
        if declared == b"0" or (not declared and b"transfer-encoding" not in fields):
            body.complete = True  # nothing will come
        await self._app(scope, body.receive, body.ending(send))


def _too_large(max_bytes: int, found: str) -> BodyTooLarge:
    return BodyTooLarge(
        f"the body has {found} bytes; at most {max_bytes} ({max_bytes / 2**20:g} MiB) are read"
    )


class _Body:
    """The body of one request: counts it on the way in, throws away what nobody read."""

    def __init__(self, receive: Receive, max_bytes: int, body_s: float, *, silent: bool) -> None:
        self._receive = receive
        self._max_bytes = max_bytes
        self._silent = silent  # nothing comes unasked: it waits for '100 Continue', or stalls
        self._read = 0
        self._body_s = body_s
        self._until = asyncio.get_running_loop().time() + body_s
        self.complete = False

    async def receive(self) -> Message:
        message = await self._next()
        if message["type"] == "http.request":
            self._silent = False
            self._read += len(message.get("body", b""))
            self.complete = not message.get("more_body", False)
            if self._read > self._max_bytes:
                raise _too_large(self._max_bytes, f"more than {self._max_bytes}")
        else:
            self.complete = True
        return message

    async def _next(self) -> Message:
        if self.complete:
            return await self._receive()  # until the client leaves
        try:
            async with asyncio.timeout_at(self._until):
                return await self._receive()
        except TimeoutError:
            self._silent = True
            raise BodyTooSlow(
                f"the body was not there after {self._body_s:g} s ({self._read} bytes were)",
                headers={"connection": "close"},
            ) from None

    def ending(self, send: Send) -> Send:
        """`send`, whose last message waits until the body is read or thrown away."""

        async def guarded(message: Message) -> None:
            last = message["type"] == "http.response.body" and not message.get("more_body", False)
            if not last or self.complete or self._silent:
                await send(message)
                return
            await send({**message, "more_body": True})
            await self._drain()
            await send({"type": "http.response.body", "body": b""})

        return guarded

    async def _drain(self) -> None:
        drained = 0
        try:
            async with asyncio.timeout(DRAIN_S):
                while drained < DRAIN_BYTES:
                    message = await self._receive()
                    drained += len(message.get("body", b""))
                    if not message.get("more_body", False):
                        return
        except TimeoutError:
            return
