"""The serving log of a real service: what it writes, and what a full disk does to replies."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import httpx
import pyarrow.parquet as parquet
import pytest
import redis

from service.traffic.shelves import Rotation, Shelves
from service.traffic.stream import stream_key
from tests.api.running import AUTH, PLAN, TOKEN, running

LIMIT_BYTES = 400_000  # the package fits, a group of logged requests does not

REQUEST = {
    "scene": "feed",
    "user": {"id": "forced"},
    "candidates": {"ids": [f"i{n}" for n in range(40)]},
}


def results(text):
    lines = (line for line in text.splitlines() if line.startswith("finerank_log_requests_total{"))
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


@pytest.fixture
def store(valkey):
    with redis.Redis.from_url(valkey) as client:
        client.flushall()
        yield client


def test_a_line_of_the_log_is_what_was_replied(models, valkey, store, tmp_path):
    with running(
        models, valkey, tmp_path / "s", log_dir=tmp_path / "log", log_stream=50
    ) as service:
        service.publish(PLAN)
        replies = [service.rank({**REQUEST, "request_id": f"r{n}"}).json() for n in range(20)]
        assert service.runtime.parts.remembering.log.finish_files(20)
        assert results(service.client.get("/metrics").text) == {"written": 20}
    (file,) = (tmp_path / "log" / "feed" / "tiny" / "1").glob("requests-*.parquet")
    for reply, row in zip(replies, parquet.read_table(file).to_pylist(), strict=True):
        assert (row["request_id"], row["user_id"]) == (reply["request_id"], "forced")
        assert (row["plan"], row["formula"], row["exp_id"]) == tuple(
            reply[key] for key in ("plan", "formula", "exp_id")
        )
        assert [row["ids"][at] for at in row["order"]] == reply["ids"]
        assert [row["scores"][at] for at in row["order"]] == reply["scores"]
        for head, values in reply["heads"].items():
            assert [row[f"head.{head}"][at] for at in row["order"]] == values
    assert store.xlen(stream_key("feed")) == 20


def test_the_log_ends_with_the_service_and_keeps_what_it_took(models, valkey, store, tmp_path):
    with running(models, valkey, tmp_path / "s", log_dir=tmp_path / "log") as service:
        service.publish(PLAN)
        for _ in range(5):
            service.rank(REQUEST)
    files = list((tmp_path / "log").rglob("requests-*.parquet"))
    assert sum(parquet.read_table(file).num_rows for file in files) == 5
    assert not list((tmp_path / "log").rglob("*.part"))


def test_a_sampled_log_holds_the_requests_whose_ids_say_so(models, valkey, store, tmp_path):
    settings = {"log_dir": tmp_path / "log", "log_sample": 0.2}
    with running(models, valkey, tmp_path / "s", **settings) as service:
        service.publish(PLAN)
        for number in range(30):
            service.rank({**REQUEST, "request_id": f"r{number}"})
    (file,) = (tmp_path / "log").rglob("requests-*.parquet")
    found = parquet.read_table(file)["request_id"].to_pylist()
    assert found == [f"r{n}" for n in (1, 5, 9, 19, 21, 25, 29)]


def previewed(service, last, **headers):
    address = "/v1/plans/feed/preview"
    answer = service.client.post(address, json=PLAN, params={"last": last}, headers=headers).json()
    assert answer["unchanged"] == (1 if answer["requests"] else 0)
    return answer["source"], answer["requests"]


def test_a_preview_of_more_than_memory_keeps_reads_the_log(models, valkey, store, tmp_path):
    settings = {"log_dir": tmp_path / "log", "recent_requests": 5}
    with running(models, valkey, tmp_path / "s", **settings) as service:
        service.publish(PLAN)
        for _ in range(12):
            service.rank(REQUEST)
        for last, source, requests in ((5, "memory", 5), (10, "log", 10), (100, "log", 12)):
            assert previewed(service, last, **AUTH) == (source, requests)


def test_only_who_has_the_token_can_have_log_files_finished(models, valkey, store, tmp_path):
    settings = {"log_dir": tmp_path / "log", "recent_requests": 5}
    with running(models, valkey, tmp_path / "s", **settings) as service:
        service.publish(PLAN)
        for _ in range(12):
            service.rank(REQUEST)
        assert previewed(service, 100) == ("memory", 5)
        assert previewed(service, 100, Authorization="Bearer wrong") == ("memory", 5)
        assert not list((tmp_path / "log").rglob("*.parquet"))
        assert previewed(service, 100, **AUTH) == ("log", 12)
        service.rank(REQUEST)
        assert previewed(service, 100) == ("log", 12)  # what is finished by now


def test_old_files_are_removed_and_counted(models, valkey, store, tmp_path):
    directory = tmp_path / "log" / "feed" / "tiny" / "1"
    directory.mkdir(parents=True)
    (directory / "requests-old.parquet").write_bytes(b"x")
    os.utime(directory / "requests-old.parquet", (0, 0))
    settings = {"log_dir": tmp_path / "log", "log_keep_days": 1}
    with running(models, valkey, tmp_path / "s", **settings) as service:
        service.publish(PLAN)
        service.rank(REQUEST)
        assert service.runtime.parts.remembering.log.finish_files(20)
        line = 'finerank_log_files_removed_total{why="age"} 1.0'
        until = time.monotonic() + 20
        while line not in service.client.get("/metrics").text:
            assert time.monotonic() < until
            time.sleep(0.05)
        (left,) = directory.glob("requests-*.parquet")
        assert left.name != "requests-old.parquet"


def limited():
    """No file of this process grows beyond this: the kernel refuses, as a full disk does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT_BYTES, LIMIT_BYTES))


def test_a_full_disk_is_counted_and_slows_no_reply(models, valkey, store, tmp_path):
    words = ("-m", "service", "serve", "--port", "0", "--token", TOKEN)
    environment = {
        "FINERANK_MODELS": str(models),
        "FINERANK_STORE": valkey,
        "FINERANK_STATE_DIR": str(tmp_path / "state"),
        "FINERANK_LOG_DIR": str(tmp_path / "log"),
        "FINERANK_FEATURE_TIMEOUT_MS": "2000",
        "PYTHONDONTWRITEBYTECODE": "1",
        "COLUMNS": "200",
    }
    process = subprocess.Popen(
        [sys.executable, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=limited,
    )
    try:
        url = next(line.split()[-1] for line in process.stdout if "finerank serves" in line)
        with httpx.Client(base_url=url, timeout=30, trust_env=False) as client:
            plan = client.put("/v1/plans/feed", json=PLAN, headers={**AUTH, "If-None-Match": "*"})
            assert plan.status_code == 200, plan.text
            found, large = {}, {**REQUEST, "candidates": {"ids": [f"i{n}" for n in range(2000)]}}
            deadline = time.monotonic() + 40
            while "write_failed" not in found and time.monotonic() < deadline:
                reply = client.post("/rank", json=large)
                assert reply.status_code == 200
                assert reply.json()["degraded"] == []
                found = results(client.get("/metrics").text)
            assert found["write_failed"] > 0
            assert client.post("/rank", json=REQUEST).json()["degraded"] == []
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()
    assert not list((tmp_path / "log").rglob("*.part"))


def ask_until(service, is_enough: Callable[[dict[str, float]], bool]) -> dict[str, float]:
    """Rank until the counts of the log are enough; every reply is whole."""
    large = {**REQUEST, "candidates": {"ids": [f"i{n}" for n in range(2000)]}}
    until = time.monotonic() + 60
    while time.monotonic() < until:
        reply = service.rank(large)
        assert reply.status_code == 200
        assert reply.json()["degraded"] == []
        found = results(service.client.get("/metrics").text)
        if is_enough(found):
            return found
    raise AssertionError(f"the log never came to it: {found}")


@pytest.fixture
def small_disk(tmp_path):
    """A real disk of 1 MB, and a way to make it larger."""

    def mount(*words: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", *words, "tmpfs", disk], check=True)

    disk = tmp_path / "disk"
    disk.mkdir()
    try:
        mount("-o", "size=1m")
    except (OSError, subprocess.CalledProcessError) as err:
        pytest.skip(f"mounting a tmpfs is not permitted here: {err}")
    yield disk, lambda: mount("-o", "remount,size=64m")
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_full_disk_drops_and_counts_until_there_is_room_again(
    models, valkey, store, tmp_path, small_disk
):
    disk, make_room = small_disk
    with running(models, valkey, tmp_path / "s", log_dir=disk, log_rotate_s=1) as service:
        service.publish(PLAN)
        full = ask_until(service, lambda found: found.get("write_failed", 0) > 0)
        assert not list(disk.rglob("*.part"))
        make_room()
        again = ask_until(service, lambda found: found.get("written", 0) > full.get("written", 0))
    files = list(disk.rglob("requests-*.parquet"))
    assert sum(parquet.read_table(file).num_rows for file in files) >= again["written"]


def test_a_disk_that_hangs_drops_and_counts_and_every_reply_is_whole(
    models, valkey, store, tmp_path
):
    """The file is a FIFO that nobody reads: the kernel itself keeps the log's thread waiting."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
    hangs = Rotation(1 << 30, 0.1, "x", open_file=lambda path: fifo.open("wb", buffering=0))
    settings = {"log_dir": tmp_path / "log", "log_queue": 10_000}
    with running(models, valkey, tmp_path / "s", **settings) as service:
        service.runtime.parts.remembering.log._files = Shelves(tmp_path / "log", hangs)
        service.publish(PLAN)
        found = ask_until(service, lambda found: found.get("queue_full", 0) >= 20)
        assert "written" not in found
        text = service.client.get("/metrics").text
        (waiting,) = (
            float(line.rsplit(" ", 1)[1])
            for line in text.splitlines()
            if line.startswith("finerank_log_waiting_candidates ")
        )
        assert 0 < waiting <= 10_000
        os.close(reader)  # the write ends with EPIPE
