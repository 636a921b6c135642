"""Let rank requests in, or refuse them at once: before the framework and before the body is read.

What takes 0.1 ms here would take a millisecond behind the routes: under overload, that is the
capacity that answers the others in time.
"""

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.deadline import read_timeout_ms
from service.api.problems import problem_response
from service.api.scenes import Scenes
from service.errors import MalformedHeader, TooBusy
from service.metrics import NO_SCENE, Metrics
from service.scoring.admission import Admission, Overloaded, Ticket

PATHS = frozenset({"/rank", "/v1/rank"})
OVERLOAD = "overload"  # the reason under which refusals are counted

_TICKET = "finerank.ticket"


class Door:
    """Takes a ticket for each rank request, by its deadline headers or else the scenes' default.

    With its ticket a request goes to `rank`; all others go to `app`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        rank: ASGIApp,
        admission: Admission,
        scenes: Scenes,
        metrics: Metrics,
    ) -> None:
        self._app = app
        self._rank = rank
        self._admission = admission
        self._scenes = scenes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not asks_to_rank(scope):
            await self._app(scope, receive, send)
            return
        try:
            ticket = self._let_in(Headers(scope=scope))
        except Overloaded as err:
            self._metrics.requests.labels(NO_SCENE, "503").inc()
            self._metrics.refused.labels(OVERLOAD).inc()
            await problem_response(too_busy(err), scope["path"])(scope, receive, send)
            return
        scope[_TICKET] = ticket
        try:
            await self._rank(scope, receive, send)
        finally:
            ticket.leave()

    def _let_in(self, headers: Headers) -> Ticket:
        try:
            timeout_ms = read_timeout_ms(headers)
        except MalformedHeader:
            timeout_ms = None  # the route says what is wrong with it
        if timeout_ms is None:
            timeout_ms = self._scenes.longest_deadline_ms()
        length = headers.get("content-length", "")
        return self._admission.enter(timeout_ms / 1000, int(length) if length.isdigit() else None)


def asks_to_rank(scope: Scope) -> bool:
    """Whether this is a rank request."""
    return scope["type"] == "http" and scope["path"] in PATHS and scope["method"] == "POST"


def ticket_of(scope: Scope) -> Ticket:
    """The ticket that the door took for this request."""
    ticket: Ticket = scope[_TICKET]
    return ticket


def too_busy(error: Overloaded) -> TooBusy:
    return TooBusy(str(error), headers={"retry-after": str(error.retry_after_s)})
