"""`/v1/plans/{scene}`: read, check and change the plan of a scene over HTTP.

A write is checked cheapest first: token, precondition header, live version, then body and plan.
"""

import time
from dataclasses import asdict, replace
from functools import partial

from fastapi import APIRouter, Request, Response

from service.api.access import require_token
from service.api.decoding import validated
from service.api.etags import etag, read_precondition
from service.api.json_body import parse
from service.api.json_reply import json_reply
from service.api.openapi import body_of, problems
from service.api.plan_edit import change_params
from service.api.plan_messages import (
    FreezeRequest,
    HistoryReply,
    ParamsPatch,
    PlanReply,
    PublishReply,
    ReplicasReply,
    RollbackRequest,
    ValidateReply,
)
from service.api.plan_query import read_number, read_page, read_signature, signed_by
from service.api.plan_refusals import finding_json
from service.api.published_meanwhile import telling_what_was_published
from service.api.publishing import Published, Publisher
from service.experiment.document import Plan
from service.metrics import Metrics

_READ = problems(404, 503)
_WRITE = problems(400, 401, 403, 404, 412, 413, 415, 422, 428, 503)


def plan_routes(publisher: Publisher, token: str, metrics: Metrics) -> APIRouter:
    """The plan routes of one application."""
    router = APIRouter(prefix="/v1/plans", tags=["plans"], default_response_class=Response)

    @router.get("/{scene}", responses={200: {"model": PlanReply}, **_READ})
    async def get_plan(scene: str, request: Request) -> Response:
        """The live plan, or another (`?version=`); a write names its ETag in If-Match."""
        stored = await publisher.read(scene, read_number(request, "version"))
        reply = {k: v for k, v in asdict(stored).items() if k != "signature" or v}
        return json_reply(reply, headers={"etag": etag(stored.version)})

    @router.put(
        "/{scene}",
        responses={200: {"model": PublishReply}, **_WRITE},
        openapi_extra=body_of(Plan) | signed_by(),
    )
    async def put_plan(scene: str, request: Request) -> Response:
        """Publish a plan: `If-Match: "v<live>"`; a scene's first: `If-None-Match: *`."""
        require_token(request, token)
        precondition, signature = read_precondition(request), read_signature(request)
        async with telling_what_was_published(precondition, partial(publisher.read, scene)):
            live = await publisher.live(scene)
            precondition.check(scene, live)
            document = parse(await request.body())
            published = await publisher.publish(scene, document, live, signature)
        return _published(scene, "put", published)

    @router.patch(
        "/{scene}",
        responses={200: {"model": PublishReply}, **_WRITE},
        openapi_extra=body_of(ParamsPatch) | signed_by(),
    )
    async def patch_plan(scene: str, request: Request) -> Response:
        """Change params: `{"params": {"b": 1.6}}`.

        A param is plan-wide: every formula that declares it gets the new value. The weights of the
        structured forms are `w_<head>`. An object (`{"b": {"max": 9}}`) is merged into the
        declaration. `If-Match: *` takes whatever is live.
        """
        require_token(request, token)
        precondition, signature = read_precondition(request), read_signature(request)
        async with telling_what_was_published(precondition, partial(publisher.read, scene)):
            precondition.check(scene, await publisher.live(scene))
            params = validated(ParamsPatch, parse(await request.body())).params
            published = await publisher.edit(
                scene, precondition, lambda live: change_params(dict(live.plan), params), signature
            )
        return _published(scene, "patch", published)

    @router.post(
        "/{scene}/validate",
        responses={200: {"model": ValidateReply}, **problems(400, 413, 415, 503)},
        openapi_extra=body_of(Plan),
    )
    async def validate_plan(scene: str, request: Request) -> Response:
        """What publishing this plan would say; nothing is written, no token is needed."""
        checked = await publisher.check(scene, parse(await request.body()))
        findings = [finding_json(f) for f in checked.findings]
        return json_reply({"valid": checked.snapshot is not None, "findings": findings})

    @router.get("/{scene}/history", responses={200: {"model": HistoryReply}, **_READ})
    async def history(scene: str, request: Request) -> Response:
        """Publications, newest first; `?limit=` at most 1000, 100 when absent.

        `next` of the reply, given as `?before=`, is the page of the older ones.
        """
        limit, before = read_page(request)
        live = (await publisher.read(scene)).version
        page = await publisher.history_page(scene, limit, before)
        entries = [asdict(entry) for entry in page.entries]
        return json_reply({"scene": scene, "live": live, "history": entries, "next": page.next})

    @router.get("/{scene}/replicas", responses={200: {"model": ReplicasReply}, **_READ})
    async def replicas(scene: str, request: Request) -> Response:
        """What each replica runs of this scene, or why it refuses the live version.

        A replica reports at every change and twice a minute; `live` is false without a report for
        a minute and a half.
        """
        live = (await publisher.read(scene)).version
        now_s = time.time()
        found = {
            name: {**asdict(report), "live": report.is_live(now_s)}
            for name, report in (await publisher.replicas(scene)).items()
        }
        return json_reply({"scene": scene, "live": live, "replicas": found})

    @router.post(
        "/{scene}/rollback",
        responses={200: {"model": PublishReply}, **_WRITE},
        openapi_extra=body_of(RollbackRequest, required=False) | signed_by(),
    )
    async def rollback(scene: str, request: Request) -> Response:
        """Publish `{"version": n}` again as a new version; without a body, the plan before.

        That is the last one that was not frozen and says something else than the live plan.

        If-Match is optional here: in an emergency nobody should first have to read the plan.
        """
        require_token(request, token)
        signature = read_signature(request)
        precondition = read_precondition(request, required=False)
        body = await request.body()
        asked = validated(RollbackRequest, parse(body)) if body else RollbackRequest()
        published = await publisher.rollback(scene, precondition, asked.version, signature)
        return _published(scene, "rollback", published)

    @router.post(
        "/{scene}/freeze",
        responses={200: {"model": PublishReply}, **_WRITE},
        openapi_extra=body_of(FreezeRequest) | signed_by("author"),
    )
    async def freeze(scene: str, request: Request) -> Response:
        """Serve one formula to everybody now, as a new version: `{"formula", "reason"}`.

        No experiment, holdout or forced user counts until another version is published, a rollback,
        or `{"formula": null, "reason"}`. If-Match is optional here.
        """
        require_token(request, token)
        signature = read_signature(request)
        precondition = read_precondition(request, required=False)
        asked = validated(FreezeRequest, parse(await request.body()))
        because = replace(signature, message=asked.reason)
        published = await publisher.freeze(scene, precondition, asked.formula, because)
        return _published(scene, "freeze", published)

    def _published(scene: str, action: str, published: Published) -> Response:
        metrics.plan_writes.labels(scene, action).inc()
        findings = [finding_json(f) for f in published.findings]
        return json_reply(
            {"version": published.version, "findings": findings},
            headers={"etag": etag(published.version)},
        )

    return router
