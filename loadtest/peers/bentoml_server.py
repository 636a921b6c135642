"""The same work in BentoML: one worker process a core, no batching (a request already is a batch).

`python -m loadtest.peers.bentoml_server --package DIR --port N --workers N --threads N`
"""

import argparse
import os
from pathlib import Path
from typing import Any

import bentoml

from loadtest.peers.work import Work

_PACKAGE, _WORKERS, _THREADS = "BENCH_PACKAGE", "BENCH_WORKERS", "BENCH_THREADS"


@bentoml.service(workers=int(os.environ.get(_WORKERS, "1")), traffic={"timeout": 30})
class Rank:
    def __init__(self) -> None:
        self._work = Work(Path(os.environ[_PACKAGE]), threads=int(os.environ[_THREADS]))

    @bentoml.api(route="/rank")
    def rank(
        self, request_id: str, scene: str, user: dict[str, Any], items: list[dict[str, Any]]
    ) -> dict[str, Any]:
        return {"request_id": request_id, "items": self._work.rank(user, items)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", required=True)
    parser.add_argument("--port", required=True)
    parser.add_argument("--workers", default="1")
    parser.add_argument("--threads", default="1")
    options = parser.parse_args()
    # Read again by the processes that `bentoml serve` starts.
    os.environ[_PACKAGE] = options.package
    os.environ[_WORKERS], os.environ[_THREADS] = options.workers, options.threads
    os.environ["BENTOML_DO_NOT_TRACK"] = "true"
    where = ["--host", "127.0.0.1", "--port", options.port]
    os.execvp("bentoml", ["bentoml", "serve", "loadtest.peers.bentoml_server:Rank", *where])


if __name__ == "__main__":
    main()
