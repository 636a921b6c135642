"""`POST /v1/plans/{scene}/preview`: what a draft would change in the last answered requests."""

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response

from service.api.access import has_token
from service.api.drafts import batches_of_log, preview
from service.api.json_body import parse
from service.api.json_reply import json_reply
from service.api.openapi import body_of, problems
from service.api.places import Places
from service.api.plan_messages import PreviewReply
from service.api.plan_refusals import finding_json, refusal_of
from service.api.publishing import Publisher
from service.api.remembering import Remembering
from service.errors import MalformedQuery
from service.experiment.document import Plan
from service.experiment.snapshot import Snapshot
from service.traffic.batch import ItemNames, stack
from service.traffic.errors import TrafficError

LAST, MOST_LAST = 200, 10_000
_FILES_S = 5.0  # longest wait until the open log files can be read


def preview_routes(
    publisher: Publisher, remembering: Remembering, token: str, places: Places | None = None
) -> APIRouter:
    """The preview of one application; `places`: of previews under way and waiting."""
    router = APIRouter(prefix="/v1/plans", tags=["plans"], default_response_class=Response)
    places, one_at_a_time = places or Places("previews"), asyncio.Lock()

    @router.post(
        "/{scene}/preview",
        responses={200: {"model": PreviewReply}, **problems(400, 413, 415, 422, 503)},
        openapi_extra=body_of(Plan),
    )
    async def preview_plan(scene: str, request: Request) -> Response:
        """Compare the order that was served with the draft's, on the last `?last=` requests.

        No model runs: the heads are those of the requests. From memory; from the serving log, where
        there is one, when that holds more of those asked for. No token is needed; who has it also
        sees what stands in log files that are not finished: they are finished for that.
        """
        last, may_finish = _last(request), has_token(request, token)
        with places.take():
            checked = await publisher.check(scene, parse(await request.body()))
            if checked.snapshot is None:
                raise refusal_of(checked.findings)
            async with one_at_a_time:
                report = await asyncio.to_thread(
                    _report, remembering, checked.snapshot, scene, last, may_finish
                )
        findings = [finding_json(finding) for finding in checked.findings]
        return json_reply({"scene": scene, **report, "findings": findings})

    return router


def _report(
    remembering: Remembering, snapshot: Snapshot, scene: str, last: int, may_finish: bool
) -> dict[str, Any]:
    names = ItemNames()
    recent = remembering.recent.last(scene, last)
    log, directory = remembering.log, remembering.log_dir
    if len(recent) < last and log is not None and directory is not None:
        if may_finish:
            log.finish_files(_FILES_S)
        try:
            logged, batches = batches_of_log(directory, scene, last, names)
        except TrafficError:
            logged = 0  # nothing is sampled, or no file finished yet
        if logged > len(recent):
            return {"source": "log", **preview(snapshot, batches, names, gives_way=True)}
    return {"source": "memory", **preview(snapshot, stack(recent, names), names, gives_way=True)}


def _last(request: Request) -> int:
    text = request.query_params.get("last", str(LAST))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= MOST_LAST):
        raise MalformedQuery(f"?last={text[:40]} is no number from 1 to {MOST_LAST}")
    return int(text[:9])
