"""A server process is started pinned, watched with its children, and gone afterwards."""

import os
import sys
from pathlib import Path

import pytest

from loadtest.processes import (
    ServerFailed,
    descendants,
    free_port,
    is_alive,
    pinned,
    running,
    usage,
)

# A child of a child: both sleep until they are stopped.
FAMILY = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(sorted(os.sched_getaffinity(0)), child.pid, flush=True)
time.sleep(60)
"""


def start(code: str, log: Path, **options: object):
    command = [sys.executable, "-c", code]
    return running("family", command, port=free_port(), log=log, environment={}, **options)


def said(log: Path) -> list[str]:
    return log.read_text().split()


def test_everything_started_is_gone_afterwards(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "family.log"
    with start(FAMILY, log) as server:
        server.wait_ready(lambda: bool(said(log)), seconds=20)
        child = int(said(log)[-1])
        assert is_alive(child)
        assert child in descendants(os.getpid())
        assert server.usage().rss_mib > usage([child]).rss_mib > 1
    assert not is_alive(child)
    assert usage([child]).rss_mib == 0


def test_a_server_runs_on_its_cores_and_the_caller_keeps_its_own(tmp_path: Path) -> None:
    before = os.sched_getaffinity(0)
    core = frozenset({min(before)})
    log = tmp_path / "family.log"
    with start(FAMILY, log, cores=core) as server:
        server.wait_ready(lambda: bool(said(log)), seconds=20)
        assert said(log)[0] == f"[{min(before)}]"
        assert os.sched_getaffinity(0) == before


def test_pinning_ends_with_its_block() -> None:
    before = os.sched_getaffinity(0)
    with pinned(frozenset({min(before)})):
        assert os.sched_getaffinity(0) == {min(before)}
    assert os.sched_getaffinity(0) == before


def test_a_server_that_ends_is_reported_with_its_last_words(tmp_path: Path) -> None:
    ended = start("import sys; sys.exit('no such model')", tmp_path / "family.log")
    with ended as server, pytest.raises(ServerFailed, match="ended with code 1:\nno such model"):
        server.wait_ready(lambda: False, seconds=20)


def test_a_server_that_is_never_ready_is_reported(tmp_path: Path) -> None:
    with (
        start(FAMILY, tmp_path / "family.log") as server,
        pytest.raises(ServerFailed, match=r"family was not ready within 0\.1 s"),
    ):
        server.wait_ready(lambda: False, seconds=0.1)
