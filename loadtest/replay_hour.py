"""`python -m loadtest.replay_hour`: serve an hour of requests with the log on, then replay them.

One request for each second of an hour, sent as quickly as they are answered: of every kind, to
several arms, some without the store, some with a short deadline; the stored items change on the
way. `finerank serve` writes the log, `finerank replay` recomputes it: against the packages that
served, where nothing may differ, and against copies with one vocabulary entry changed, which must
be found and named. Nothing here is timed.
"""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from loadtest.bench_store import store_url
from loadtest.cost_file import write_cost
from loadtest.hour_traffic import SCENE, HourTraffic, hour_plan
from loadtest.processes import free_port, running
from service.contract.golden import read_golden
from service.experiment.connection import connect
from service.features.load import load_file

_TOKEN = "replay-hour"
_SILENCE_MS = 1500  # of the store, in the middle of the hour
_CLIENTS = 4
_READY_S = 120.0
_RENAMED = "renamed"

Document = dict[str, Any]


@dataclass
class Told:
    """What the replies said, added up."""

    statuses: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    arms: Counter[str] = field(default_factory=Counter)
    degraded: Counter[str] = field(default_factory=Counter)
    candidates: int = 0
    unscored: int = 0  # requests without any score: there is nothing to replay

    def add(self, kind: str, reply: httpx.Response) -> None:
        self.statuses[str(reply.status_code)] += 1
        self.kinds[kind] += 1
        if reply.status_code == httpx.codes.OK:
            said = reply.json()
            self.arms.update(said["assignments"].values())
            self.degraded.update(said["degraded"])
            items = said.get("items")
            scores = said["scores"] if items is None else [item["score"] for item in items]
            self.candidates += len(scores)
            self.unscored += all(score is None for score in scores)


def serve_hour(models: Path, directory: Path, requests: int) -> tuple[Told, dict[str, float]]:
    """Serve, ask, stop; the replies and what became of the log's requests."""
    traffic, told = HourTraffic(models), Told()
    with (
        store_url("embedded", directory / "state") as url,
        _service(models, directory, url) as address,
        httpx.Client(base_url=address, timeout=60, trust_env=False) as client,
    ):
        headers = {"Authorization": f"Bearer {_TOKEN}", "If-Match": "*"}
        plan = client.put(f"/v1/plans/{SCENE}", json=hour_plan(models), headers=headers)
        plan.raise_for_status()
        thirds = (requests // 3, 2 * requests // 3)
        _ask(client, traffic, range(thirds[0]), told)
        _change_items(url, traffic, directory)
        _ask(client, traffic, range(*thirds), told)
        _silence(url)
        _ask(client, traffic, range(thirds[1], requests), told)
        metrics = client.get("/metrics").text
    lost = {name: count for name, count in _log_results(metrics).items() if name != "written"}
    return told, lost


@contextmanager
def _service(models: Path, directory: Path, store: str) -> Iterator[str]:
    port = free_port()
    environment = {
        "FINERANK_MODELS": str(models),
        "FINERANK_STORE": store,
        "FINERANK_STATE_DIR": str(directory / "state"),
        "FINERANK_LOG_DIR": str(directory / "log"),
        "FINERANK_LOG_ROTATE_S": "20",
        "FINERANK_LOG_QUEUE": "1000000",
        "FINERANK_ITEM_CACHE_TTL_S": "5",
        "FINERANK_TOKEN": _TOKEN,
        "FINERANK_DEMO": "1",
    }
    command = [sys.executable, "-m", "service", "serve", "--port", str(port)]
    log = directory / "service.txt"
    with running("finerank", command, port=port, log=log, environment=environment) as server:
        url = f"http://127.0.0.1:{port}"

        def is_ready() -> bool:
            try:
                return httpx.get(f"{url}/readyz", trust_env=False).is_success
            except httpx.HTTPError:
                return False

        server.wait_ready(is_ready, seconds=_READY_S)
        yield url


def _ask(client: httpx.Client, traffic: HourTraffic, numbers: range, told: Told) -> None:
    left, one_at_a_time = iter(numbers), threading.Lock()

    def ask() -> None:
        while True:
            with one_at_a_time:
                number = next(left, None)
                asked = None if number is None else traffic.request(number)
            if asked is None:
                return
            reply = client.post("/rank", json=asked.body, headers=asked.headers)
            with one_at_a_time:
                told.add(asked.kind, reply)

    threads = [threading.Thread(target=ask) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _change_items(url: str, traffic: HourTraffic, directory: Path) -> None:
    path = directory / "items.jsonl"
    path.write_text("".join(f"{json.dumps(item)}\n" for item in traffic.changed_items()))
    load_file(url, SCENE, "item", path)


def _silence(url: str) -> None:
    """The store answers nobody for a while; requests go on without it."""

    async def pause() -> None:
        redis = connect(url)
        await redis.execute_command("CLIENT", "PAUSE", _SILENCE_MS, "ALL")  # type: ignore[no-untyped-call]
        await redis.aclose()

    asyncio.run(pause())


def _log_results(metrics: str) -> dict[str, float]:
    lines = (line for line in metrics.splitlines() if line.startswith("finerank_log_requests_t"))
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


def replay(log: Path, models: Path) -> tuple[int, list[str]]:
    """Exit status and lines of `finerank replay`."""
    words = [sys.executable, "-m", "service", "replay", str(log), "--models", str(models)]
    wide = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=wide)
    lines = [*done.stdout.splitlines(), *done.stderr.splitlines()]
    return done.returncode, [line for line in lines if line.strip()]


def change_entry(models: Path, to: Path, feature: str, is_golden: bool) -> str:
    """Copy the packages and rename one vocabulary entry that stored items carry; which one.

    `is_golden`: one that a golden row has, so that the package is refused; else none has it.
    """
    shutil.copytree(models, to)
    (directory,) = (path.parent for path in to.glob(f"{SCENE}/1/manifest.json"))
    rows = read_golden(directory).raw
    golden = {str(row["item"].get("features", {}).get(feature)) for row in rows}
    document = json.loads((directory / "manifest.json").read_text())
    (found,) = (f for f in document["schema"]["features"] if f["name"] == feature)
    items = (to / SCENE / "items.jsonl").read_text().splitlines()
    carried = Counter(str(json.loads(item)[feature]) for item in items)
    entry = next(e for e, _ in carried.most_common() if (e in golden) == is_golden)
    words = found["vocabulary"]
    words[words.index(entry)] = _RENAMED
    (directory / "manifest.json").write_text(json.dumps(document))
    return entry


def _same(log: Path, models: Path, scored: int) -> Document:
    status, lines = replay(log, models)
    text = "\n".join(lines)
    if status or "were not compared" in text:
        raise RuntimeError(f"the same packages give other values, or not all are known:\n{text}")
    replayed = sum(int(n.replace(",", "")) for n in re.findall(r"([\d,]+) requests,", text))
    if replayed != scored:
        raise RuntimeError(f"{scored} requests were scored, {replayed} were replayed:\n{text}")
    return {"exit_status": status, "requests": replayed, "said": lines}


def _changed(log: Path, models: Path, to: Path, feature: str, is_golden: bool) -> Document:
    entry = change_entry(models, to, feature, is_golden)
    status, lines = replay(log, to)
    named = [line.strip() for line in lines if line.strip().startswith(f"feature {feature}:")]
    shown = [line for line in lines if f"raw value '{entry}'" in line]
    if status != 1 or len(named) != 1 or not shown:
        text = "\n".join(lines)
        raise RuntimeError(f"{feature} {entry!r} was changed and is not named:\n{text}")
    return {"feature": feature, "entry": entry, "exit_status": status, "said": lines}


def main(
    out: Annotated[Path, typer.Option(help="JSON file")],
    models: Annotated[Path, typer.Option(help="with the demo package")] = Path("models"),
    requests: Annotated[int, typer.Option(help="one for each second of an hour")] = 3_600,
    progress: Annotated[bool, typer.Option(help="say what is going on")] = True,
) -> None:
    """Serve, replay, write; fails where the same package differs or a change is not named."""
    say: Callable[[str], None] = typer.echo if progress else lambda _: None
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        log = directory / "log"
        say(f"serving {requests:,} requests")
        told, lost = serve_hour(models, directory, requests)
        say("replaying")
        same = _same(log, models, told.statuses["200"] - told.unscored)
        changed = [
            _changed(log, models, directory / feature, feature, is_golden)
            for feature, is_golden in (("brand", False), ("category", True))
        ]
    result = {
        "what": "requests served with the log on, and what finerank replay says of the log",
        "requests": requests,
        **vars(told),
        "lost_by_the_log": lost,
        "same_package": same,
        "one_vocabulary_entry_changed": changed,
    }
    write_cost(out, result)
    say("\n".join([*same["said"], *(line for one in changed for line in one["said"][:3])]))


if __name__ == "__main__":
    typer.run(main)
