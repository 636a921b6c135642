"""`POST /rank`: decode, rank, encode."""

import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Response
from starlette.requests import ClientDisconnect

from service.api.answer import Answer
from service.api.decoding import RankBody, decode_rank
from service.api.explanations import compared_rows
from service.api.guarding import guard_ranked, guard_unscored
from service.api.messages import ColumnReply, RankRequest, RowReply
from service.api.openapi import body_of, problems
from service.api.problems import problem
from service.api.rank_headers import REQUEST_ID, RankHeaders
from service.api.rank_metrics import count_ranked
from service.api.remembering import Remembering
from service.api.replies import rank_reply
from service.api.scenes import Scenes
from service.api.shadowing import Shadowing
from service.errors import Fault, InvalidRequest, NothingScored, ServiceError, TooBusy
from service.experiment.findings import pointer
from service.experiment.guardrails import Guard
from service.experiment.served import Served
from service.experiment.snapshot import Asked, Snapshot
from service.features.errors import InlineError
from service.metrics import NO_SCENE, Metrics
from service.scoring.admission import Overloaded, Ticket
from service.scoring.errors import NotScored
from service.scoring.ranking import RankInput
from service.scoring.rehearsal import RecentRequests
from service.scoring.scorer import Scorer

# The caller's own assignment names a layer or an arm that the plan does not have (any more).
UNKNOWN_ASSIGNMENT = "unknown_assignment"
OVERLOAD = "overload"  # the reason under which refusals are counted

_UNQUOTED = "!#$&'()*+,/:;=?@[]"
_LEFT = "499"  # the caller went away while it sent; as nginx counts it
_PROBLEMS = (400, 413, 415, 422, 503)


class RankRoute:
    """Answers rank requests that the door let in, whichever way they came in."""

    def __init__(
        self,
        scorer: Scorer,
        scenes: Scenes,
        metrics: Metrics,
        max_candidates: int,
        recent: RecentRequests,
        served: Served,
        guard: Guard,
        shadowing: Shadowing,
        remembering: Remembering | None = None,
    ) -> None:
        self._scorer = scorer
        self._scenes = scenes
        self._metrics = metrics
        self._max_candidates = max_candidates
        self._recent = recent
        self._served = served
        self._guard = guard
        self._shadowing = shadowing
        self._remembering = remembering

    async def answer(
        self,
        headers: RankHeaders,
        read: Callable[[], Awaitable[bytes]],
        ticket: Ticket,
        path: str,
    ) -> Answer:
        """The answer to the request whose body `read` gives; every way out is counted."""
        try:
            return await self._answer(headers, read, ticket)
        except ServiceError as refusal:
            return problem(refusal, path)
        except ClientDisconnect:
            return Answer(400, [(b"content-length", b"0")], b"")  # nobody reads it

    async def _answer(
        self, headers: RankHeaders, read: Callable[[], Awaitable[bytes]], ticket: Ticket
    ) -> Answer:
        arrived = ticket.arrived_at
        scene, count, metrics = NO_SCENE, self._metrics.child, self._metrics
        timeout_ms, named = headers.timeout_ms, headers.request_id
        try:
            if headers.malformed is not None:
                raise headers.malformed
            body = decode_rank(await read(), self._max_candidates)
            decoded = time.monotonic()
            snapshot = self._scenes.pick(body.request.scene)
            scene = snapshot.scene
            wait_ms = snapshot.deadline_ms if timeout_ms is None else timeout_ms
            own, unknown = snapshot.read_asked(body.request.bucket)
            asked = _rank_input(body, snapshot, own, named, arrived + wait_ms / 1000)
            try:
                output = await self._scorer.rank(asked, snapshot, ticket)
            except InlineError as err:
                raise _refused_value(body, err) from err
            except Overloaded as err:
                count(metrics.refused, OVERLOAD).inc()
                raise too_busy(err) from err
            except NotScored as err:
                count(metrics.refused, err.reason).inc()
                guard_unscored(self._guard, snapshot, err, time.monotonic() - arrived)
                raise NothingScored(str(err), headers={"retry-after": "1"}) from err
        except ServiceError as refusal:
            count(metrics.requests, scene, str(refusal.status)).inc()
            raise
        except ClientDisconnect:
            count(metrics.requests, scene, _LEFT).inc()
            raise
        except Exception:
            count(metrics.requests, scene, "500").inc()
            raise
        self._recent.add(asked)
        treatment = output.treatment
        if treatment.assignments:
            self._served.add(snapshot, treatment.assignments, asked)
        if unknown:
            detail = {**output.degraded, UNKNOWN_ASSIGNMENT: len(unknown)}
            output = replace(output, degraded=detail)
        ranked = time.monotonic()
        content = rank_reply(body, asked, snapshot, output, (ranked - arrived) * 1000)
        done = time.monotonic()
        timings_ms = {
            "parse": (decoded - arrived) * 1000,
            **output.timings_ms,
            "reply": (done - ranked) * 1000,
        }
        count_ranked(metrics, asked, output, timings_ms, done - arrived)
        guard_ranked(self._guard, snapshot, asked, output, done - arrived)
        self._shadowing.add(snapshot, asked, output)
        if self._remembering is not None:
            self._remembering.add(asked, output, (done - arrived) * 1000)
        timing = ", ".join([f"{name};dur={ms:.3f}" for name, ms in timings_ms.items()])
        # The caller's own request id; one from the body may hold what no header can.
        echo = named or quote(asked.request_id, safe=_UNQUOTED)
        raw = [
            (b"content-length", b"%d" % len(content)),
            (b"content-type", b"application/json"),
            (b"cache-control", b"no-store"),
            (b"server-timing", timing.encode()),
            (REQUEST_ID, echo.encode()),
        ]
        return Answer(200, raw, content)


def too_busy(error: Overloaded) -> TooBusy:
    return TooBusy(str(error), headers={"retry-after": str(error.retry_after_s)})


def rank_docs() -> APIRouter:
    """`/v1/rank`, and `/rank` for the same, in the OpenAPI document; the door answers them."""
    router = APIRouter(tags=["rank"])

    async def rank() -> Response:
        raise AssertionError("rank requests never come as far as the routes")

    documented: dict[str, Any] = {
        "summary": "Rank candidates",
        "response_class": Response,
        "responses": {200: {"model": ColumnReply | RowReply}, **problems(*_PROBLEMS)},
        "openapi_extra": body_of(RankRequest),
    }
    router.post("/v1/rank", operation_id="rank", **documented)(rank)
    router.post("/rank", operation_id="rank_unversioned", **documented)(rank)
    return router


def _rank_input(
    body: RankBody, snapshot: Snapshot, own: Asked, named: str | None, deadline: float
) -> RankInput:
    asked = body.request
    user = asked.user
    return RankInput(
        request_id=asked.request_id or named or f"{random.getrandbits(128):032x}",
        scene=snapshot.scene,
        ids=body.ids,
        deadline=deadline,
        user_id=None if user is None else user.id,
        user=(user.features or {}) if user is not None else {},
        context=asked.context or {},
        item_columns=body.columns,
        asked=own,
        units=snapshot.context_units,
        user_units=snapshot.user_names,
        limit=asked.limit,
        explain=bool(asked.explain),
        compare=compared_rows(asked, body.ids) if asked.explain else None,
        heads=asked.heads,
    )


def _refused_value(body: RankBody, error: InlineError) -> InvalidRequest:
    """A raw value that its feature cannot take, at its place in the form it came in."""
    if error.side == "item":
        place = body.place_of(error.feature, error.row)
    elif error.side == "user":
        place = pointer("user", "features", error.feature)
    else:
        place = pointer("context", error.feature)
    detail = f"{str(error.value)[:40]!r} {error.rule} (feature {error.feature!r})"
    return InvalidRequest(f"{place}: {detail}", faults=[Fault(detail, place)])
