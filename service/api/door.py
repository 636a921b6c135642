"""Let rank requests in, or refuse them at once: before the framework and before the body is read.

A refusal takes 46 µs here and would take a millisecond behind the routes: under overload, that is
the capacity that answers the others in time.
"""

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.answer import Answer, send_answer
from service.api.problems import problem
from service.api.rank_headers import RankHeaders, read_rank_headers
from service.api.rank_route import OVERLOAD, RankRoute, too_busy
from service.api.scenes import Scenes
from service.metrics import NO_SCENE, Metrics
from service.scoring.admission import Admission, Overloaded, Ticket

PATHS = frozenset({"/rank", "/v1/rank"})


class Door:
    """Takes a ticket for each rank request, by its deadline headers or else the scenes' default.

    With its ticket a request goes on to `rank`. Bodies over `max_body_bytes` do not come this far.
    """

    def __init__(
        self,
        rank: RankRoute,
        *,
        admission: Admission,
        scenes: Scenes,
        metrics: Metrics,
        max_body_bytes: int,
    ) -> None:
        self.rank = rank
        self.max_body_bytes = max_body_bytes
        self._admission = admission
        self._scenes = scenes
        self._metrics = metrics

    def let_in(self, headers: RankHeaders, path: str) -> Ticket | Answer:
        """The ticket, which its holder leaves; or the refusal, counted."""
        timeout_ms = headers.timeout_ms  # None, too, where malformed: `rank` says what is wrong
        if timeout_ms is None:
            timeout_ms = self._scenes.longest_deadline_ms()
        try:
            return self._admission.enter(timeout_ms / 1000, headers.body_bytes)
        except Overloaded as err:
            count = self._metrics.child
            count(self._metrics.requests, NO_SCENE, "503").inc()
            count(self._metrics.refused, OVERLOAD).inc()
            return problem(too_busy(err), path)


class DoorMiddleware:
    """The door for ASGI: rank requests go through it, all others to `app`."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not asks_to_rank(scope):
            await self._app(scope, receive, send)
            return
        path, headers = scope["path"], read_rank_headers(scope["headers"])
        ticket = self._door.let_in(headers, path)
        if isinstance(ticket, Answer):
            await send_answer(ticket, send)
            return

        async def read() -> bytes:
            return await _read(receive)

        try:
            await send_answer(await self._door.rank.answer(headers, read, ticket, path), send)
        finally:
            ticket.leave()


def asks_to_rank(scope: Scope) -> bool:
    """Whether this is a rank request."""
    return scope["type"] == "http" and scope["path"] in PATHS and scope["method"] == "POST"


async def _read(receive: Receive) -> bytes:
    """The whole body.

    Raises:
        ClientDisconnect: the caller left before its end.
    """
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)
