"""`/v1/assignments`: what a request would get, and why. `/v1/experiments`: what was served."""

import time
from typing import Any

from fastapi import APIRouter, Request, Response

from service.api.json_reply import json_reply
from service.api.openapi import problems
from service.api.plan_messages import AssignmentReply, ExperimentsReply
from service.api.scenes import Scenes
from service.errors import MalformedQuery
from service.experiment.arithmetic import bucket_arithmetic
from service.experiment.assignment import LayerSlots
from service.experiment.document import Experiment, read_instant
from service.experiment.served import Served, Tally, percent_now

_PLAIN = ("scene", "user_id", "request_id", "at")
_SIDES = ("context", "user")
_READ = problems(400, 422, 503)


def assignment_routes(scenes: Scenes, served: Served) -> APIRouter:
    """The routes of one application that look at assignments; none of them changes anything."""
    router = APIRouter(prefix="/v1", tags=["experiments"], default_response_class=Response)

    @router.get("/assignments", responses={200: {"model": AssignmentReply}, **_READ})
    async def assignments(request: Request) -> Response:
        """The treatment of a request, with every step of the arithmetic.

        `?scene=&user_id=&request_id=&context.tab=1&user.is_new=1&at=2026-11-22T08:00:00Z`; `at` is
        now when absent.
        """
        given = dict(request.query_params)
        values: dict[str, dict[str, str]] = {side: {} for side in _SIDES}
        for key, text in given.items():
            side, dot, name = key.partition(".")
            if dot and side in values:
                values[side][name] = text
            elif key not in _PLAIN:
                known = ", ".join([*_PLAIN, *(f"{s}.<name>" for s in _SIDES)])
                raise MalformedQuery(f"unknown parameter {key[:80]!r} (known: {known})")
        snapshot = scenes.pick(given.get("scene"))
        now_s = _instant(given.get("at"))
        who = (given.get("user_id"), given.get("request_id"), values["context"], values["user"])
        found = snapshot.assign(*who, now_s=now_s)
        return json_reply(
            {
                "scene": snapshot.scene,
                "plan": snapshot.version,
                "model": found.model,
                "formula": found.formula_name,
                "params": {name: found.params[name] for name in sorted(found.formula.params)},
                "assignments": found.assignments,
                "exp_id": found.exp_id,
                "signs": found.signs,
                "buckets": bucket_arithmetic(snapshot, *who, now_s=now_s),
            }
        )

    @router.get("/experiments", responses={200: {"model": ExperimentsReply}, **_READ})
    async def experiments(request: Request) -> Response:
        """The experiments of a scene, and whether this replica served their arms as planned.

        Every replica counts and checks what it served itself; `replica` is the one that answers.
        Requests are counted all, units in a sample that is uniform and bounded (`one_in`). Forced
        users and callers' own assignments are left out.
        """
        snapshot = scenes.pick(request.query_params.get("scene"))
        tallies, now_s = served.tallies(snapshot), time.time()
        found = [
            _described(slots, experiment, tallies[slots.name, experiment.name], now_s)
            for layer, slots in zip(snapshot.plan.layers, snapshot.layers, strict=True)
            for experiment in layer.experiments
        ]
        about = {"scene": snapshot.scene, "plan": snapshot.version, "replica": scenes.replica}
        return json_reply({**about, "experiments": found})

    return router


def _instant(text: str | None) -> float:
    if text is None:
        return time.time()
    try:
        return read_instant(text).timestamp()
    except ValueError as err:
        raise MalformedQuery(f"?at={text[:40]}: {err}") from None


def _described(
    slots: LayerSlots, experiment: Experiment, tally: Tally, now_s: float
) -> dict[str, Any]:
    ratio, units = tally.ratio(), tally.units()
    whole = sum(tally.sizes) or 1
    return {
        "layer": slots.name,
        "experiment": experiment.name,
        "percent": percent_now(slots, experiment, now_s),
        "when": experiment.when,
        "since": tally.since.isoformat(timespec="seconds"),
        "one_in": tally.one_in,
        "arms": [
            {
                "arm": arm.name,
                "planned": size / whole,
                "requests": requests,
                "units": count,
                "expected": round(expected, 1),
                "stopped": arm.stopped,
            }
            for arm, size, requests, count, expected in zip(
                experiment.arms, tally.sizes, tally.requests, units, ratio.expected, strict=True
            )
        ],
        "chi_square": ratio.statistic,
        "p_value": ratio.p_value,
        "verdict": ratio.verdict,
    }
