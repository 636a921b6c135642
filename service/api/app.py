"""The application: routes, errors and limits put together over parts that somebody else builds."""

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.types import Scope

from service.api import problems
from service.api.assignment_routes import assignment_routes
from service.api.door import Door, DoorMiddleware, asks_to_rank
from service.api.health_routes import health_routes
from service.api.library_routes import library_routes
from service.api.limits import BodyLimit
from service.api.models_routes import model_routes
from service.api.plan_routes import plan_routes
from service.api.preview_route import preview_routes
from service.api.promoting import Promoter
from service.api.publishing import Publisher
from service.api.rank_route import RankRoute, rank_docs
from service.api.remembering import Remembering
from service.api.scenes import Scenes
from service.api.shadow_routes import Canaries, shadow_routes
from service.api.shadowing import Shadowing
from service.api.v2_routes import v2_routes
from service.errors import ServiceError
from service.experiment.guardrails import Guard
from service.experiment.loader import PlanLoader
from service.experiment.served import Served
from service.experiment.staging import Rehearse
from service.metrics import NO_SCENE, Metrics
from service.scoring.pool import ModelPool
from service.scoring.rehearsal import RecentRequests
from service.scoring.scorer import Scorer

App = FastAPI
Lifespan = Callable[[], AbstractAsyncContextManager[None]]

_OTLP = "OTEL_EXPORTER_OTLP"  # any OTEL_EXPORTER_OTLP…ENDPOINT variable switches telemetry on
_DESCRIPTION = "The fine-ranking stage of a recommender: POST candidates, get them in order."


@dataclass(frozen=True)
class Parts:
    """What the routes need. `token` guards writes; sizes are limits of one request."""

    loader: PlanLoader
    pool: ModelPool
    scorer: Scorer
    metrics: Metrics
    token: str
    max_candidates: int
    max_body_bytes: int
    recent: RecentRequests
    rehearse: Rehearse
    guard: Guard
    shadowing: Shadowing
    remembering: Remembering


def build_app(parts: Parts, lifespan: Lifespan | None = None) -> App:
    """The ASGI application over its parts; `lifespan` starts and stops them."""
    app = FastAPI(
        title="finerank",
        version=_version(),
        description=_DESCRIPTION,
        lifespan=(lambda _: lifespan()) if lifespan is not None else None,
        telemetry=telemetry_config(os.environ),
        # Their pages load scripts from a CDN, which a closed network does not have.
        docs_url=None,
        redoc_url=None,
    )
    problems.install(app)
    scenes = Scenes(parts.loader)
    publisher = Publisher(parts.loader, parts.pool.ensure)
    served = Served()
    rank = RankRoute(
        parts.scorer,
        scenes,
        parts.metrics,
        parts.max_candidates,
        parts.recent,
        served,
        parts.guard,
        parts.shadowing,
        parts.remembering,
    )
    app.include_router(rank_docs())
    app.include_router(plan_routes(publisher, parts.token, parts.metrics))
    app.include_router(library_routes(publisher, parts.token))
    app.include_router(preview_routes(publisher, parts.remembering, parts.token))
    promoter = Promoter(parts.loader, parts.pool, parts.rehearse)
    app.include_router(model_routes(promoter, parts.token))
    app.include_router(assignment_routes(scenes, served))
    app.include_router(v2_routes(parts.loader, parts.pool, _version(), parts.max_candidates))
    canaries = Canaries(scenes, parts.guard, parts.shadowing)
    app.include_router(shadow_routes(publisher, canaries, parts.token, parts.metrics))
    app.include_router(health_routes(parts.loader, parts.pool, parts.scorer, parts.metrics, served))
    door = Door(
        rank,
        admission=parts.scorer.admission,
        scenes=scenes,
        metrics=parts.metrics,
        max_body_bytes=parts.max_body_bytes,
    )
    app.add_middleware(DoorMiddleware, door=door)
    app.state.door = door

    def count_refused(scope: Scope, why: ServiceError) -> None:
        if asks_to_rank(scope):
            parts.metrics.requests.labels(NO_SCENE, str(why.status)).inc()

    app.add_middleware(BodyLimit, max_bytes=parts.max_body_bytes, on_refused=count_refused)
    return app


def telemetry_config(environ: Mapping[str, str]) -> TelemetryConfig:
    """Off without an endpoint: FastAPI would trace every request even with nowhere to send it."""
    configured = any(
        name.startswith(_OTLP) and name.endswith("ENDPOINT") and value
        for name, value in environ.items()
    )
    if configured:
        return {"auto_configure": True}
    return {"tracing": False, "metrics": False, "logs": False}


def _version() -> str:
    try:
        return version("finerank")
    except PackageNotFoundError:  # run from a directory that nobody installed
        return "0"
