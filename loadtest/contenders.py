"""Who is measured: how each server starts, which request forms it takes, where it answers."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from loadtest.bench_store import bench_plan, publish_plan, store_url
from loadtest.catalogue import SCENE
from loadtest.http_client import Target
from loadtest.machine import ROOT
from loadtest.processes import Server, free_port, running
from loadtest.traffic import Body, Form

PEER_ENVIRONMENTS = ROOT / "build" / "peers"
_READY_S = 120.0  # Ray brings up a cluster first


@dataclass(frozen=True)
class Place:
    """Where the bench model lives: `models/`, `state/` (embedded store, last good plans), logs."""

    root: Path

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def package(self) -> Path:
        return self.models / SCENE / "1"


@dataclass(frozen=True)
class Contender:
    """A server that ranks the bench model.

    Attributes:
        peer: its module in `loadtest.peers`; None is finerank.
        environment: its virtual environment in `build/peers`.
        workers: a peer's processes; None is one a core.
        options: further options of `finerank serve`.
        variant: of the bench model; its scores differ a little from the exact ones.
    """

    name: str
    peer: str | None = None
    environment: str = ""
    forms: tuple[Form, ...] = ("rows",)
    workers: int | None = None
    options: tuple[str, ...] = ()
    variant: str = ""

    @property
    def python(self) -> Path:
        if self.peer is None:
            return Path(sys.executable)
        return PEER_ENVIRONMENTS / self.environment / "bin" / "python"

    @property
    def is_installed(self) -> bool:
        return self.python.exists()

    def command(self, place: Place, port: int) -> list[str]:
        python, where = str(self.python), ["--port", str(port)]
        if self.peer is None:
            where += ["--models", str(place.models)]
            return [python, "-m", "service", "serve", *where, *self.options]
        workers = self.workers or len(os.sched_getaffinity(0))
        where += ["--package", str(place.package), "--workers", str(workers), "--threads", "1"]
        return [python, "-m", f"loadtest.peers.{self.peer}", *where]

    def versions(self) -> dict[str, str]:
        """The peer's own packages, as its environment lists them; {} for finerank."""
        if self.peer is None:
            return {}
        listed = subprocess.run(
            [self.python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        pairs = dict(line.split("==", 1) for line in listed.splitlines() if "==" in line)
        wanted = ("bentoml", "fastapi", "litserve", "numpy", "onnxruntime", "pydantic", "ray")
        return {name: pairs[name] for name in wanted if name in pairs}


CONTENDERS: Mapping[str, Contender] = {
    c.name: c
    for c in (
        Contender("finerank", forms=("ids", "columns", "new-columns", "rows")),
        Contender("finerank-int8", forms=("ids", "columns"), variant="int8"),
        Contender("plain-fastapi", "plain_fastapi", "plain_fastapi"),
        # One process whose thread pool runs the requests: no unevenness between sockets.
        Contender("plain-fastapi-1p", "plain_fastapi", "plain_fastapi", workers=1),
        Contender("litserve", "litserve_server", "litserve"),
        Contender("bentoml", "bentoml_server", "bentoml"),
        Contender("ray-serve", "ray_serve_server", "ray_serve"),
    )
}
BASELINE = "plain-fastapi"


@contextmanager
def serving(
    contender: Contender, place: Place, probe: Body, *, cores: frozenset[int] | None = None
) -> Iterator[tuple[Server, Target]]:
    """Start a contender and hand it over once it has answered `probe`."""
    if contender.peer is None:
        with store_url("embedded", place.state) as url:
            publish_plan(url, bench_plan(SCENE, contender.variant))
    port = free_port()
    environment = {
        "PATH": f"{contender.python.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "FINERANK_STATE_DIR": str(place.state),
    }
    log = place.root / "logs" / f"{contender.name}.log"
    command = contender.command(place, port)
    with running(
        contender.name, command, port=port, log=log, environment=environment, cores=cores
    ) as server:
        target = Target(port)
        server.wait_ready(lambda: _answers(target, probe), seconds=_READY_S)
        yield server, target


def ask(target: Target, body: Body) -> dict[str, Any]:
    """One reply, decoded.

    Raises:
        httpx.HTTPStatusError: the reply is no 200.
    """
    reply = httpx.post(
        f"http://{target.host}:{target.port}{target.path}",
        content=body.content,
        headers={"Content-Type": "application/json", "X-Request-Timeout-Ms": "5000"},
        timeout=30,
    )
    reply.raise_for_status()
    answer: dict[str, Any] = reply.json()
    return answer


def _answers(target: Target, probe: Body) -> bool:
    try:
        return bool(ask(target, probe))
    except httpx.HTTPError:
        return False
