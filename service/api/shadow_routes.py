"""`/v1/plans/{scene}/shadow` and `/guardrails`: try something beside the answers, watch arms."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from service.api.access import require_token
from service.api.decoding import validated
from service.api.etags import etag, read_precondition
from service.api.json_body import parse
from service.api.json_reply import json_reply
from service.api.openapi import body_of, problems
from service.api.plan_messages import PublishReply
from service.api.plan_query import read_signature, signed_by
from service.api.plan_refusals import finding_json
from service.api.publishing import Change, Publisher
from service.api.scenes import Scenes
from service.api.shadow_edit import promote_shadow, start_shadow, stop_shadow
from service.api.shadowing import Shadowing
from service.experiment.document import Shadow
from service.experiment.guardrails import Guard
from service.experiment.snapshot import Snapshot
from service.metrics import Metrics

_READ = problems(400, 503)
_WRITE = problems(400, 401, 403, 404, 412, 422, 428, 503)


@dataclass(frozen=True)
class Canaries:
    """What this replica knows of the shadows and guarded arms of its scenes."""

    scenes: Scenes
    guard: Guard
    shadowing: Shadowing

    def shadow(self, snapshot: Snapshot) -> dict[str, Any]:
        """The shadow of a scene, and how its rankings differ from the answers so far."""
        about = {
            "scene": snapshot.scene,
            "plan": snapshot.version,
            "replica": self.scenes.replica,
            "shadow": None,
        }
        if (shadow := snapshot.plan.shadow) is None:
            return about
        tally = self.shadowing.tally(snapshot)
        since = datetime.fromtimestamp(tally.since_s, UTC).isoformat(timespec="seconds")
        return about | {
            "shadow": {
                "formula": shadow.formula,
                "model": shadow_model(snapshot),
                "share": shadow.share_taken,
            },
            "since": since,
            "requests": dict(tally.results),
            "candidates": tally.candidates,
            **tally.means(),
        }

    def guardrails(self, snapshot: Snapshot) -> dict[str, Any]:
        """The limits of a scene, and where its arms stand."""
        limits = snapshot.plan.guardrails
        return {
            "scene": snapshot.scene,
            "plan": snapshot.version,
            "replica": self.scenes.replica,
            "guardrails": None if limits is None else limits.model_dump(),
            "arms": [
                {
                    "layer": layer,
                    "arm": arm,
                    "requests": figures.requests,
                    "degraded_share": figures.degraded_share,
                    "invalid_share": figures.invalid_share,
                    "p99_ms": round(figures.p99_ms, 2),
                }
                for (layer, arm), figures in self.guard.figures(snapshot).items()
            ],
        }


def shadow_model(snapshot: Snapshot) -> str | None:
    """The model in shadow as "name/version"; None when a formula alone is."""
    shadow = snapshot.plan.shadow
    if shadow is None or shadow.model is None:
        return None
    found = next(iter(snapshot.treatments.values())).shadow
    return None if found is None else found.model


def shadow_routes(
    publisher: Publisher, canaries: Canaries, token: str, metrics: Metrics
) -> APIRouter:
    """The routes of one application."""
    router = APIRouter(prefix="/v1/plans/{scene}", tags=["plans"], default_response_class=Response)

    @router.get("/guardrails", responses=_READ)
    async def guardrails(scene: str) -> Response:
        """The last seconds of every watched arm, as this replica served them."""
        return json_reply(canaries.guardrails(canaries.scenes.pick(scene)))

    @router.get("/shadow", responses=_READ)
    async def shadow(scene: str) -> Response:
        """How the shadow's rankings differ from the answers of this replica, so far.

        `overlap@k`: mean share of the best k that both have; `tau`: mean Kendall's tau-b of the
        best 50 as served. A difference of order, not of outcomes.
        """
        return json_reply(canaries.shadow(canaries.scenes.pick(scene)))

    @router.put(
        "/shadow",
        responses={200: {"model": PublishReply}, **_WRITE},
        openapi_extra=body_of(Shadow) | signed_by(),
    )
    async def start(scene: str, request: Request) -> Response:
        """Score this beside the answers from now on: `{"formula": "draft"}`."""
        require_token(request, token)
        given = validated(Shadow, parse(await request.body()))
        document = given.model_dump(exclude_none=True)
        return await _edit(scene, request, "shadow", lambda live: start_shadow(live.plan, document))

    @router.delete(
        "/shadow",
        responses={200: {"model": PublishReply}, **_WRITE},
        openapi_extra=signed_by(),
    )
    async def stop(scene: str, request: Request) -> Response:
        """Score nothing beside the answers any more."""
        require_token(request, token)
        return await _edit(scene, request, "shadow_stop", lambda live: stop_shadow(live.plan))

    @router.post(
        "/shadow/promote",
        responses={200: {"model": PublishReply}, **_WRITE},
        openapi_extra=signed_by(),
    )
    async def promote(scene: str, request: Request) -> Response:
        """Serve what is in shadow: the formula becomes the default, the model the plan's.

        The model is the version that this replica has in shadow, not what its alias points to when
        the plan is read. A rollback of the plan takes both back.
        """
        require_token(request, token)
        model = shadow_model(canaries.scenes.pick(scene))
        return await _edit(scene, request, "promote", lambda live: promote_shadow(live.plan, model))

    async def _edit(scene: str, request: Request, action: str, change: Change) -> Response:
        precondition = read_precondition(request, required=False)
        published = await publisher.edit(scene, precondition, change, read_signature(request))
        metrics.plan_writes.labels(scene, action).inc()
        findings = [finding_json(f) for f in published.findings]
        return json_reply(
            {"version": published.version, "findings": findings},
            headers={"etag": etag(published.version)},
        )

    return router
