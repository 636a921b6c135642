"""Few wait for what is done one at a time; the others get 503 and a time to come back."""

import httpx
import pytest
from fastapi import FastAPI

from service.api import problems
from service.api.places import Places
from service.api.plan_routes import plan_routes
from service.api.preview_route import preview_routes
from service.api.publishing import Publisher
from service.api.v2_routes import v2_routes
from service.errors import TooBusy
from tests.api.running import PLAN, TOKEN


def test_a_place_is_free_again_when_its_work_ends_or_fails():
    places = Places("checks", most=2)
    with places.take(), places.take():
        with pytest.raises(TooBusy, match="2 checks are under way or waiting") as refused:
            places.take().__enter__()
        assert refused.value.headers == {"retry-after": "1"}
    with pytest.raises(RuntimeError), places.take():
        raise RuntimeError
    with places.take(), places.take():
        pass


@pytest.mark.parametrize(
    ("path", "work"),
    [
        ("/v1/plans/feed/validate", "checks of plans"),
        ("/v1/plans/feed/preview", "previews"),
        ("/v2/models/tiny/infer", "runs of raw models"),
    ],
)
async def test_a_route_without_a_free_place_is_503_with_a_time_to_come_back(service, path, work):
    """Refused before the body is understood: what is too much costs little."""
    parts, full = service.runtime.parts, Places(work, most=0)
    app = FastAPI()
    problems.install(app)
    publisher = Publisher(parts.loader, parts.pool.ensure, full)
    app.include_router(plan_routes(publisher, TOKEN, parts.metrics))
    app.include_router(preview_routes(publisher, parts.remembering, TOKEN, full))
    app.include_router(v2_routes(parts.loader, parts.pool, "0", 10, full))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        answer = await client.post(path, json=PLAN)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    body = answer.json()
    assert body["detail"].startswith(f"0 {work} are under way or waiting")
    assert body.get("error", body["detail"]) == body["detail"]
