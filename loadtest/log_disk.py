"""`python -m loadtest.log_disk`: reply times beside a serving log on a slow and on a full disk.

One service of the demo package logs every request to nothing, to a disk as it is, to one that takes
a tenth of a second for each 16 KiB, and to a full one, in turns, so that all see the same machine.
Of each kind the median and the 99th percentile of the reply times, and their ratios to no log and
to a log on a disk as it is; what the log could not keep must have been counted. The full disk is a
tmpfs of 1 MB, which takes the right to mount; without it that kind is left out, and the result says
so.
"""

import json
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any

import numpy as np
import typer
import uvloop

from loadtest.asgi_client import post
from loadtest.cost_file import write_cost
from loadtest.machine import describe_machine
from service.commands.runtime import Runtime, build_runtime
from service.settings import load_settings
from service.traffic.parquet_file import Open, open_new
from service.traffic.sampling import Sample
from service.traffic.serving_log import FAILED, QUEUE_FULL, ServingLog
from service.traffic.shelves import Rotation, Shelves

NO_LOG, PLAIN, SLOW, FULL = "no log", "a disk as it is", "a slow disk", "a full disk"

_WARM_UP = 100
_WRITE_S, _WRITE_BYTES = 0.1, 1 << 14
_QUEUE = 60_000  # candidates: a slow disk has it full soon
_ROTATE_S = 5.0
_DISK_BYTES = 1_000_000

_over = threading.Event()  # the disk is quick again, so that the log can be closed

Milliseconds = dict[str, list[float]]


class SlowFile:
    """A file that takes long to write, while the interpreter is free, as in the kernel."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        _over.wait(_WRITE_S * memoryview(data).nbytes / _WRITE_BYTES)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def open_slow(path: Path) -> Any:
    """See `service.traffic.parquet_file.Open`."""
    return SlowFile(path.open("xb", buffering=0))


@dataclass
class Logged:
    """A log of one kind, and what became of the requests that it was offered."""

    log: ServingLog
    counts: Counter[str] = field(default_factory=Counter)

    @classmethod
    def on(cls, directory: Path, open_file: Open) -> "Logged":
        counts: Counter[str] = Counter()

        def count(result: str, requests: int) -> None:
            counts[result] += requests

        files = Shelves(directory, Rotation(64_000_000, _ROTATE_S, "disk", open_file=open_file))
        log = ServingLog(files, Sample(1.0), most_candidates=_QUEUE, count=count)
        log.start()
        return cls(log, counts)


@contextmanager
def full_disk(directory: Path) -> Iterator[bool]:
    """A small tmpfs; whether there is one."""
    directory.mkdir()
    words = ("mount", "-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "tmpfs", str(directory))
    try:
        mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0
    except OSError:
        mounted = False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(("umount", "--lazy", str(directory)), check=True)


async def measure(
    runtime: Runtime, logs: dict[str, Logged | None], body: bytes, turns: int, requests: int
) -> Milliseconds:
    """Reply times of each kind."""
    found: Milliseconds = {kind: [] for kind in logs}
    remembering = runtime.parts.remembering
    async with runtime.app.router.lifespan_context(runtime.app):
        for _ in range(_WARM_UP):
            await post(runtime.app, body)
        for turn in range(turns):
            kinds = list(logs)[turn % len(logs) :] + list(logs)[: turn % len(logs)]
            for kind in kinds:
                logged = logs[kind]
                # frozen: nothing else may ever do this
                object.__setattr__(remembering, "log", None if logged is None else logged.log)
                for _ in range(requests):
                    began = time.perf_counter()
                    await post(runtime.app, body)
                    found[kind].append((time.perf_counter() - began) * 1000)
        object.__setattr__(remembering, "log", None)
    return found


def summary(found: Milliseconds) -> dict[str, dict[str, float]]:
    """Quantiles of each kind, and how many times those without a log and those of a plain one."""
    rows: dict[str, dict[str, float]] = {}
    for name, at in (("median", 0.5), ("p99", 0.99)):
        ms = {kind: float(np.quantile(times, at)) for kind, times in found.items()}
        for kind, value in ms.items():
            rows.setdefault(kind, {})[f"{name}_ms"] = round(value, 3)
            rows[kind][f"{name}_to_no_log"] = round(value / ms[NO_LOG], 3)
            rows[kind][f"{name}_to_a_plain_disk"] = round(value / ms[PLAIN], 3)
    return rows


def main(
    out: Annotated[Path, typer.Option(help="JSON file")],
    models: Annotated[Path, typer.Option(help="with the demo package")] = Path("models"),
    candidates: Annotated[int, typer.Option(help="of a request, at most 300")] = 300,
    turns: Annotated[int, typer.Option(help="of each kind")] = 25,
    requests: Annotated[int, typer.Option(help="a turn")] = 200,
) -> None:
    """Measure and write."""
    ids = [f"i{n}" for n in range(candidates)]
    body = json.dumps({"scene": "demo", "user": {"id": "u1"}, "candidates": {"ids": ids}}).encode()
    machine = describe_machine()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logs: dict[str, Logged | None] = {
            NO_LOG: None,
            PLAIN: Logged.on(directory / "plain", open_new),
            SLOW: Logged.on(directory / "slow", open_slow),
        }
        if stack.enter_context(full_disk(directory / "full")):
            logs[FULL] = Logged.on(directory / "full", open_new)
        settings = load_settings(
            models=models,
            state_dir=directory / "state",
            threads=1,
            token="unused",
            demo=True,
            feature_timeout_ms=1000,
        )
        found = uvloop.run(measure(build_runtime(settings), logs, body, turns, requests))
        _over.set()
        for logged in logs.values():
            if logged is not None:
                logged.log.close()
        counts = {kind: dict(of.counts) for kind, of in logs.items() if of is not None}
    if not counts[SLOW].get(QUEUE_FULL) or (FULL in counts and not counts[FULL].get(FAILED)):
        raise RuntimeError(f"the disks were not slow or full enough to lose requests: {counts}")
    result = {
        "what": "reply times through the ASGI application, every request logged; demo package",
        "candidates": candidates,
        "requests_of_each_kind": turns * requests,
        "slow_disk_s_for_16_kib": _WRITE_S,
        "full_disk": "tmpfs of 1 MB" if FULL in counts else "left out: mounting is not permitted",
        "kinds": summary(found),
        "what_became_of_the_requests": counts,
    }
    write_cost(out, result, machine=machine)
    typer.echo(json.dumps({"kinds": result["kinds"], "counts": counts}, indent=1))


if __name__ == "__main__":
    typer.run(main)
