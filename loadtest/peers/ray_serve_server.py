"""The same work in Ray Serve: one replica a core behind its HTTP proxy, no batching.

`python -m loadtest.peers.ray_serve_server --package DIR --port N --workers N --threads N`
"""

import argparse
import os
import signal
from pathlib import Path
from typing import Any

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"

import ray
from ray import serve
from starlette.requests import Request

from loadtest.peers.work import Work


@serve.deployment
class Rank:
    def __init__(self, package: str, threads: int) -> None:
        self._work = Work(Path(package), threads=threads)

    async def __call__(self, request: Request) -> dict[str, Any]:
        body = await request.json()
        rows = self._work.rank(body["user"], body["items"])
        return {"request_id": body["request_id"], "items": rows}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    ray.init(num_cpus=options.workers, include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": options.port})
    deployment = Rank.options(num_replicas=options.workers, ray_actor_options={"num_cpus": 1})
    serve.run(deployment.bind(options.package, options.threads), route_prefix="/rank")
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    ray.shutdown()


if __name__ == "__main__":
    main()
