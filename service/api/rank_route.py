"""`POST /rank`: decode, rank, encode."""

import random
import re
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from starlette.requests import ClientDisconnect

from service.api.deadline import read_timeout_ms
from service.api.decoding import RankBody, decode_rank
from service.api.door import OVERLOAD, ticket_of, too_busy
from service.api.messages import ColumnReply, RankRequest, RowReply
from service.api.openapi import body_of, problems
from service.api.replies import rank_reply
from service.api.scenes import Scenes
from service.errors import Fault, InvalidRequest, NothingScored, ServiceError
from service.experiment.findings import pointer
from service.experiment.snapshot import Snapshot
from service.features.errors import InlineError
from service.metrics import NO_SCENE, Metrics
from service.scoring.admission import Overloaded
from service.scoring.errors import NotScored
from service.scoring.ranking import RankInput, RankOutput
from service.scoring.rehearsal import RecentRequests
from service.scoring.scorer import FEWER_CANDIDATES, Scorer

_REQUEST_ID = "x-request-id"
_PLAIN = re.compile(r"[!-~]{1,128}")
_UNQUOTED = "!#$&'()*+,/:;=?@[]"
_LEFT = "499"  # the caller went away while it sent; as nginx counts it
_PROBLEMS = (400, 413, 422, 503)


def rank_routes(
    scorer: Scorer,
    scenes: Scenes,
    metrics: Metrics,
    max_candidates: int,
    recent: RecentRequests,
) -> APIRouter:
    """`/v1/rank`, and `/rank` for the same."""
    router = APIRouter(tags=["rank"])

    async def rank(request: Request) -> Response:
        ticket = ticket_of(request.scope)
        arrived = ticket.arrived_at
        scene = NO_SCENE
        try:
            timeout_ms = read_timeout_ms(request.headers)
            body = decode_rank(await request.body(), max_candidates)
            decoded = time.monotonic()
            snapshot = scenes.pick(body.request.scene)
            scene = snapshot.scene
            wait_ms = snapshot.deadline_ms if timeout_ms is None else timeout_ms
            asked = _rank_input(body, snapshot, request, arrived + wait_ms / 1000)
            try:
                output = await scorer.rank(asked, snapshot, ticket)
            except InlineError as err:
                raise _refused_value(body, err) from err
            except Overloaded as err:
                metrics.refused.labels(OVERLOAD).inc()
                raise too_busy(err) from err
            except NotScored as err:
                metrics.refused.labels(err.reason).inc()
                raise NothingScored(str(err), headers={"retry-after": "1"}) from err
        except ServiceError as refusal:
            metrics.requests.labels(scene, str(refusal.status)).inc()
            raise
        except ClientDisconnect:
            metrics.requests.labels(scene, _LEFT).inc()
            raise
        except Exception:
            metrics.requests.labels(scene, "500").inc()
            raise
        recent.add(asked)
        ranked = time.monotonic()
        content = rank_reply(body, asked, snapshot, output, (ranked - arrived) * 1000)
        done = time.monotonic()
        timings_ms = {
            "parse": (decoded - arrived) * 1000,
            **output.timings_ms,
            "reply": (done - ranked) * 1000,
        }
        _count(metrics, snapshot, asked, output, timings_ms, done - arrived)
        return Response(
            content,
            media_type="application/json",
            headers={
                "cache-control": "no-store",
                "server-timing": ", ".join(f"{n};dur={ms:.3f}" for n, ms in timings_ms.items()),
                _REQUEST_ID: _echo(request, asked),
            },
        )

    documented: dict[str, Any] = {
        "summary": "Rank candidates",
        "response_class": Response,
        "responses": {200: {"model": ColumnReply | RowReply}, **problems(*_PROBLEMS)},
        "openapi_extra": body_of(RankRequest),
    }
    router.post("/v1/rank", operation_id="rank", **documented)(rank)
    router.post("/rank", operation_id="rank_unversioned", **documented)(rank)
    return router


def _rank_input(body: RankBody, snapshot: Snapshot, request: Request, deadline: float) -> RankInput:
    asked = body.request
    user = asked.user
    return RankInput(
        request_id=asked.request_id or _header_id(request) or f"{random.getrandbits(128):032x}",
        scene=snapshot.scene,
        ids=body.ids,
        deadline=deadline,
        user_id=None if user is None else user.id,
        user=(user.features or {}) if user is not None else {},
        context=asked.context or {},
        item_columns=body.columns,
        units=snapshot.context_units,
        limit=asked.limit,
        explain=asked.explain,
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


def _echo(request: Request, asked: RankInput) -> str:
    """The caller's own request id; one from the body may hold what no header can."""
    return _header_id(request) or quote(asked.request_id, safe=_UNQUOTED)


def _header_id(request: Request) -> str | None:
    given = request.headers.get(_REQUEST_ID, "")
    return given if _PLAIN.fullmatch(given) else None


def _count(
    metrics: Metrics,
    snapshot: Snapshot,
    asked: RankInput,
    output: RankOutput,
    timings_ms: Mapping[str, float],
    seconds: float,
) -> None:
    scene = snapshot.scene
    metrics.requests.labels(scene, "200").inc()
    metrics.request_seconds.labels(scene).observe(seconds)
    for stage, ms in timings_ms.items():
        metrics.stage_seconds.labels(stage).observe(ms / 1000)
    metrics.candidates.labels(scene).observe(len(asked.ids))
    metrics.count_features(scene, output.counts)
    if output.found_items is not None:
        scored = len(asked.ids) - output.degraded.get(FEWER_CANDIDATES, 0)
        metrics.item_lookups.labels(scene, "hit").inc(output.found_items)
        metrics.item_lookups.labels(scene, "miss").inc(scored - output.found_items)
    for reason in output.degraded:
        metrics.degraded.labels(scene, reason).inc()
    invalid = output.degraded.get("invalid_score", 0)
    if invalid:
        metrics.invalid_scores.labels(scene, output.treatment.formula_name).inc(invalid)
    if "feature_store" in output.degraded:
        metrics.feature_store_errors.labels(scene).inc()
