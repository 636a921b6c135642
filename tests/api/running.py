"""The whole service as `finerank serve` builds it, over a real Valkey, behind a real uvicorn."""

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import structlog

from service.api.http_server import http_protocol
from service.commands.runtime import Runtime, build_runtime
from service.settings import load_settings
from tests.api.server import serving

# The service runs in a thread here: its log lines stay out of what a command prints.
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))

TOKEN = "test-token"
AUTH = {"Authorization": f"Bearer {TOKEN}"}

PLAN: dict[str, Any] = {
    "format": 1,
    "scene": "feed",
    "model": "tiny@champion",
    "deadline_ms": 5000,
    "formulas": {
        "base": {
            "score": "ctr^a * (1 + vcr)^b * ctcvr^c * f(videolen_s)",
            "let": {"f(x)": "1 / (1 + log1p(x / 30))"},
            "params": {
                "a": {"value": 0.3, "min": 0, "max": 2},
                "b": {"value": 1.2, "min": 0, "max": 5},
                "c": {"value": 0.5, "min": 0, "max": 2},
            },
        },
        "sum": {"additive": {"ctr": 1.0, "like": 4.0, "vcr": {"weight": 0.5}}},
    },
    "default": {"formula": "base"},
    "layers": [
        {
            "name": "fusion",
            "salt": "fusion-1",
            "unit": "user_id",
            "experiments": [
                {
                    "name": "vcr-up",
                    "buckets": [[0, 999]],
                    "arms": [
                        {"name": "control", "share": 50},
                        {"name": "treatment", "share": 50, "set": {"params": {"b": 1.6}}},
                    ],
                }
            ],
        }
    ],
    "force": {"forced": {"fusion": "vcr-up/treatment"}},
}


@dataclass(frozen=True)
class Running:
    """A running service and a client of it."""

    url: str
    client: httpx.Client
    runtime: Runtime

    def rank(self, document: Any, **headers: str) -> httpx.Response:
        return self.client.post("/rank", json=document, headers=headers)

    def put(self, plan: Any, scene: str = "feed", **headers: str) -> httpx.Response:
        """PUT with the right token and precondition, unless `headers` say otherwise."""
        if not headers:
            live = self.client.get(f"/v1/plans/{scene}")
            fresh = live.status_code == 404
            headers = {"If-None-Match": "*"} if fresh else {"If-Match": live.headers["etag"]}
        return self.client.put(f"/v1/plans/{scene}", json=plan, headers={**AUTH, **headers})

    def publish(self, plan: Any, scene: str = "feed") -> int:
        answer = self.put(plan, scene)
        assert answer.status_code == 200, answer.text
        version: int = answer.json()["version"]
        return version


@contextlib.contextmanager
def running(
    models: Path, store: str, state_dir: Path, *, with_lane: bool = True, **settings: Any
) -> Iterator[Running]:
    """Serve until the block ends, over the protocol of `finerank serve` or uvicorn's own."""
    fixed = {"models": models, "store": store, "state_dir": state_dir, "token": TOKEN, "threads": 2}
    patient = {"feature_timeout_ms": 2000}  # a busy test machine is no outage
    chosen = load_settings(**(patient | fixed | settings))
    runtime = build_runtime(chosen)
    http = http_protocol(runtime.app) if with_lane else "auto"
    with (
        serving(runtime.app, http=http, access_log=False) as url,
        httpx.Client(base_url=url, timeout=30, trust_env=False) as client,
    ):
        yield Running(url, client, runtime)
