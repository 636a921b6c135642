"""`/livez` `/readyz` `/healthz` `/metrics`: what orchestrators, people and Prometheus ask.

Ready means that a scene can rank, never that the store is up: a store that is away must not take
replicas out of the load balancer that still hold their plans.
"""

import time
from typing import Any

from fastapi import APIRouter, Response

from service.api.json_reply import NO_STORE, json_reply
from service.experiment.loader import PlanLoader
from service.experiment.sample_ratio import TOO_FEW
from service.experiment.served import Served
from service.metrics import MEDIA_TYPE, Metrics
from service.scoring.pool import ModelPool
from service.scoring.scorer import Scorer

NO_PLAN = "no scene has a plan yet; publish one: finerank plan publish SCENE plan.json"
_USUAL_CANDIDATES = 500


def health_routes(
    loader: PlanLoader, pool: ModelPool, scorer: Scorer, metrics: Metrics, served: Served
) -> APIRouter:
    """The health routes of one application."""
    router = APIRouter(tags=["health"], default_response_class=Response)

    @router.get("/livez", summary="The process answers")
    async def livez() -> Response:
        return json_reply({"status": "live"})

    @router.get("/readyz", summary="At least one scene can rank")
    async def readyz() -> Response:
        why = why_nothing_ranks(loader, pool)
        if why is None:
            return json_reply({"status": "ready", "scenes": _ranking(loader, pool)})
        return json_reply({"status": "not ready", "reason": why}, 503)

    @router.get("/healthz", summary="Every scene, plan and model, and what is wrong with it")
    async def healthz() -> Response:
        report = health_report(loader, pool)
        return json_reply(report, 503 if report["status"] == "not ready" else 200)

    @router.get("/metrics", summary="Prometheus metrics")
    async def metrics_() -> Response:
        set_gauges(metrics, loader, pool)
        set_work_gauges(metrics, scorer)
        set_ratio_gauges(metrics, loader, served)
        return Response(metrics.exposition(), media_type=MEDIA_TYPE, headers=NO_STORE)

    return router


def health_report(loader: PlanLoader, pool: ModelPool) -> dict[str, Any]:
    """What `/healthz` says."""
    ranking, problems = _ranking(loader, pool), loader.problems()
    scenes: dict[str, Any] = {}
    for name in sorted({*loader.scenes(), *problems}):
        snapshot = loader.snapshot(name)
        scenes[name] = {"ranks": name in ranking}
        if snapshot is not None:
            scenes[name] |= {"plan": snapshot.version, "models": sorted(snapshot.models)}
        if name in problems:
            scenes[name]["problem"] = problems[name]
    store: dict[str, Any] = {"status": "ok"}
    if loader.store_problem is not None:
        store = {"status": "lost", "problem": loader.store_problem}
    if loader.synced_at is not None:
        store["synced_s_ago"] = round(time.monotonic() - loader.synced_at, 1)
    why = why_nothing_ranks(loader, pool)
    wrong = problems or pool.problems or loader.store_problem is not None
    return {
        "status": "not ready" if why else "degraded" if wrong else "ok",
        **({"reason": why} if why else {}),
        "scenes": scenes,
        "models": {"loaded": list(pool.ids), "problems": dict(pool.problems)},
        "store": store,
    }


def why_nothing_ranks(loader: PlanLoader, pool: ModelPool) -> str | None:
    """The reason, and what to do about it; None when a scene ranks."""
    if _ranking(loader, pool):
        return None
    reasons = loader.problems()
    for scene in loader.scenes():
        if scene not in reasons and (snapshot := loader.snapshot(scene)):
            absent = ", ".join(sorted(id_ for id_ in snapshot.models if pool.get(id_) is None))
            reasons[scene] = f"not loaded: {absent}; see finerank models check"
    if reasons:
        return "; ".join(f"scene {scene}: {why}" for scene, why in sorted(reasons.items()))
    if loader.store_problem is not None:
        return f"no plan was saved here, and {loader.store_problem}"
    return NO_PLAN


def set_gauges(metrics: Metrics, loader: PlanLoader, pool: ModelPool) -> None:
    """Bring the gauges up to now; they are read only when somebody scrapes."""
    versions = {s: loader.snapshot(s) for s in loader.scenes()}
    metrics.replace(metrics.plan_version, {s: v.version for s, v in versions.items() if v})
    metrics.replace(metrics.plan_refused, dict.fromkeys(loader.problems(), 1))
    metrics.replace(metrics.model_loaded, dict.fromkeys(pool.ids, 1))
    metrics.replace(metrics.model_refused, dict.fromkeys(pool.problems, 1))
    metrics.store_up.set(loader.store_problem is None)


def set_work_gauges(metrics: Metrics, scorer: Scorer) -> None:
    """The same for the work in progress and what it is expected to cost."""
    metrics.in_progress.set(scorer.admission.in_progress)
    if scorer.items is not None:
        metrics.replace(metrics.item_bytes, scorer.items.bytes())
    metrics.backlog_seconds.set(scorer.admission.backlog_s())
    metrics.replace(metrics.predicted_seconds, scorer.costs.predictions(_USUAL_CANDIDATES))


def set_ratio_gauges(metrics: Metrics, loader: PlanLoader, served: Served) -> None:
    """The same for the sample ratio of every live experiment that has units enough."""
    metrics.sample_ratio_p.clear()
    for scene in loader.scenes():
        if (snapshot := loader.snapshot(scene)) is None:
            continue
        for (layer, experiment), tally in served.tallies(snapshot).items():
            if (ratio := tally.ratio()).verdict != TOO_FEW:
                metrics.sample_ratio_p.labels(scene, layer, experiment).set(ratio.p_value)


def _ranking(loader: PlanLoader, pool: ModelPool) -> list[str]:
    """Scenes with a snapshot whose models are all loaded."""
    found = ((name, loader.snapshot(name)) for name in loader.scenes())
    return [name for name, s in found if s and all(pool.get(id_) for id_ in s.models)]
