"""A ranking service as FastAPI's tutorial leads to: one pydantic model a candidate, in and out.

`python -m loadtest.peers.plain_fastapi --package DIR --port N --workers N --threads N`
"""

import argparse
import os
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from loadtest.peers.work import Work

_PACKAGE, _THREADS = "BENCH_PACKAGE", "BENCH_THREADS"


class User(BaseModel):
    id: str
    features: dict[str, str]


class Item(BaseModel):
    id: str
    features: dict[str, str | float]


class RankRequest(BaseModel):
    request_id: str
    scene: str
    user: User
    items: list[Item]


class RankedItem(BaseModel):
    id: str
    rank: int
    score: float
    heads: dict[str, float]


class RankReply(BaseModel):
    request_id: str
    items: list[RankedItem]


def make_app() -> FastAPI:
    """The app of one worker process; uvicorn calls this by name."""
    work = Work(Path(os.environ[_PACKAGE]), threads=int(os.environ[_THREADS]))
    app = FastAPI()

    # Not async: FastAPI then runs it in its thread pool, and the event loop goes on reading.
    @app.post("/rank")
    def rank(request: RankRequest) -> RankReply:
        items: list[dict[str, Any]] = [item.model_dump() for item in request.items]
        rows = work.rank(request.user.model_dump(), items)
        return RankReply(request_id=request.request_id, items=[RankedItem(**row) for row in rows])

    return app


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--package", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    os.environ[_PACKAGE], os.environ[_THREADS] = options.package, str(options.threads)
    uvicorn.run(
        "loadtest.peers.plain_fastapi:make_app",
        factory=True,
        host="127.0.0.1",
        port=options.port,
        workers=options.workers,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
