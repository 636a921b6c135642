"""The embedded Valkey is shared by the processes of a machine, and gone when the last one is."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import redis

from service.experiment import embedded
from service.experiment.embedded import start_embedded
from service.experiment.errors import EmbeddedError
from service.experiment.keeper import rest_after
from tests.pids import has_ended

USE_AND_WAIT = """
import sys
from pathlib import Path
from service.experiment.embedded import start_embedded
store = start_embedded(Path(sys.argv[1]))
print(store.url, store.started, flush=True)
sys.stdin.read()
store.close()
"""


@pytest.fixture
def state() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="finerank-") as directory:
        yield Path(directory)


def client(url: str) -> redis.Redis:
    return redis.Redis.from_url(url, socket_timeout=5)


def pid_of(url: str) -> int:
    with client(url) as server:
        return int(server.info("server")["process_id"])


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until_gone(pid: int) -> None:
    until = time.monotonic() + 20
    while not has_ended(pid):
        assert time.monotonic() < until, f"process {pid} is still there"
        time.sleep(0.02)


def wait_for_another(url: str, pid: int) -> None:
    """Until a server answers that is not `pid`."""
    until = time.monotonic() + 20
    while True:
        assert time.monotonic() < until, "it was not started again"
        with contextlib.suppress(redis.ConnectionError):
            if pid_of(url) != pid:
                return
        time.sleep(0.02)


def another_process(state: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", USE_AND_WAIT, str(state)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def said_by(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout is not None
    return process.stdout.readline().split()


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=30)


def test_it_keeps_its_data_over_a_restart(state: Path):
    store = start_embedded(state)
    assert store.started
    with client(store.url) as server:
        server.set("k", "v")
        assert server.config_get("appendonly") == {"appendonly": "yes"}
    pid = pid_of(store.url)
    store.close()
    wait_until_gone(pid)
    again = start_embedded(state)
    with client(again.url) as server:
        assert server.get("k") == b"v"
    again.close()


def test_a_second_user_finds_the_running_one(state: Path):
    first, second = start_embedded(state), start_embedded(state)
    assert (first.started, second.started) == (True, False)
    assert first.url == second.url
    pid = pid_of(first.url)
    first.close()
    assert pid_of(second.url) == pid
    second.close()
    wait_until_gone(pid)
    second.close()


def test_another_process_shares_it_and_may_outlive_the_one_that_started_it(state: Path):
    store = start_embedded(state)
    other = another_process(state)
    assert said_by(other) == [store.url, "False"]
    pid = pid_of(store.url)
    store.close()
    assert pid_of(store.url) == pid
    end(other)
    wait_until_gone(pid)


def test_processes_that_start_at_once_share_one(state: Path):
    processes = [another_process(state) for _ in range(4)]
    said = [said_by(process) for process in processes]
    assert len({url for url, _ in said}) == 1
    assert sorted(started for _, started in said) == ["False", "False", "False", "True"]
    for process in processes:
        end(process)


def test_a_killed_user_leaves_no_server_behind(state: Path):
    process = another_process(state)
    url, _ = said_by(process)
    pid = pid_of(url)
    process.kill()
    end(process)
    wait_until_gone(pid)
    store = start_embedded(state)
    assert store.started
    store.close()


def test_a_server_that_is_killed_comes_back_with_its_data_while_it_has_users(state: Path):
    store = start_embedded(state)
    with client(store.url) as server:
        server.set("k", "v")
        server.execute_command("WAITAOF", 1, 0, 5000)
    for _ in range(2):
        pid = pid_of(store.url)
        os.kill(pid, signal.SIGKILL)
        wait_for_another(store.url, pid)
        with client(store.url) as server:
            assert server.get("k") == b"v"
    pid = pid_of(store.url)
    store.close()
    wait_until_gone(pid)


def kill_with_keeper(url: str) -> None:
    """Both at once, as an administrator or a memory limit may."""
    pid = pid_of(url)
    keeper = parent_of(pid)
    os.kill(keeper, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(keeper)
    wait_until_gone(pid)


def test_a_user_starts_a_server_again_that_was_killed_with_its_keeper(state: Path):
    store = start_embedded(state)
    with client(store.url) as server:
        server.set("k", "v")
        server.execute_command("WAITAOF", 1, 0, 5000)
    assert not store.revive(), "it is there"
    kill_with_keeper(store.url)
    assert store.revive()
    assert not store.revive()
    with client(store.url) as server:
        assert server.get("k") == b"v"
    pid = pid_of(store.url)
    os.kill(pid, signal.SIGKILL)
    assert not store.revive(), "its keeper is about to start it"
    wait_for_another(store.url, pid)
    keeper = parent_of(pid_of(store.url))
    store.close()
    wait_until_gone(keeper)
    assert not store.revive(), "it was given up"


def test_users_that_start_it_again_at_once_start_one(state: Path):
    first, second = start_embedded(state), start_embedded(state)
    kill_with_keeper(first.url)
    with ThreadPoolExecutor(2) as threads:
        tried = [threads.submit(store.revive) for store in (first, second)]
        assert sum(one.result(40) for one in tried) <= 1
    assert pid_of(first.url) == pid_of(second.url)
    first.close()
    keeper = parent_of(pid_of(second.url))
    second.close()
    wait_until_gone(keeper)


def test_a_server_without_a_keeper_gets_one_and_keeps_its_data(state: Path):
    first = start_embedded(state)
    pid, keeper = pid_of(first.url), parent_of(pid_of(first.url))
    os.kill(keeper, signal.SIGKILL)
    wait_until_gone(keeper)
    with client(first.url) as server:
        server.set("k", "v")
    second = start_embedded(state)
    assert not second.started
    with client(first.url) as server:
        assert server.get("k") == b"v"
    adopted = pid_of(second.url)
    assert adopted != pid
    os.kill(adopted, signal.SIGKILL)
    wait_for_another(second.url, adopted)
    keeper = parent_of(pid_of(second.url))
    first.close()
    second.close()
    wait_until_gone(keeper)


def test_a_server_without_a_keeper_that_refuses_to_end_is_used_as_it_is(state: Path):
    first = start_embedded(state)
    pid, keeper = pid_of(first.url), parent_of(pid_of(first.url))
    os.kill(keeper, signal.SIGKILL)
    wait_until_gone(keeper)
    with client(first.url) as server:
        server.execute_command("ACL", "SETUSER", "default", "-shutdown")
        second = start_embedded(state)
        assert not second.started
        assert pid_of(second.url) == pid
        server.execute_command("ACL", "SETUSER", "default", "+shutdown")
    third = start_embedded(state)
    keeper = parent_of(pid_of(third.url))
    for store in (first, second, third):
        store.close()
    wait_until_gone(keeper)


@pytest.mark.parametrize("can_be_found", [True, False])
def test_a_server_that_was_frozen_for_a_while_is_the_same_one_afterwards(
    state: Path, can_be_found: bool
):
    store = start_embedded(state)
    where = state / "valkey" / "valkey.sock"
    with client(store.url) as server:
        server.set("k", "v")
        pid, keeper = pid_of(store.url), parent_of(pid_of(store.url))
        if not can_be_found:
            where.rename(where.with_suffix(".away"))
        os.kill(pid, signal.SIGSTOP)
        time.sleep(1)  # the keeper, were it misled, would do its worst after half of that
        os.kill(pid, signal.SIGCONT)
        assert server.get("k") == b"v"
        assert not has_ended(keeper)
        if not can_be_found:
            where.with_suffix(".away").rename(where)
    assert pid_of(store.url) == pid
    os.kill(pid, signal.SIGKILL)
    wait_for_another(store.url, pid)
    assert parent_of(pid_of(store.url)) == keeper
    store.close()
    wait_until_gone(keeper)


def test_the_rest_before_a_restart_doubles_up_to_a_longest_and_a_long_life_begins_anew():
    rests = [0.0]
    for lived_s in (3600.0, 1.0, 59.0, 2.0, 3.0, 4.0, 61.0, 5.0):
        rests.append(rest_after(lived_s, rests[-1]))
    assert rests == [0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 0.5, 1.0]


def test_a_killed_server_that_nobody_uses_any_more_stays_away(state: Path):
    store = start_embedded(state)
    pid, keeper = pid_of(store.url), parent_of(pid_of(store.url))
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    store.close()
    wait_until_gone(keeper)
    assert not embedded.listens(state / "valkey" / "valkey.sock")


def test_a_socket_left_by_a_killed_server_is_no_server(state: Path):
    store = start_embedded(state)
    pid = pid_of(store.url)
    with client(store.url) as server:
        server.set("k", "v")
        server.execute_command("WAITAOF", 1, 0, 5000)
    os.kill(parent_of(pid), signal.SIGKILL)  # the keeper, which would start it again
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    assert (state / "valkey" / "valkey.sock").exists()
    again = start_embedded(state)
    assert again.started
    with client(again.url) as server:
        assert server.get("k") == b"v"
    store.close()
    assert pid_of(again.url)
    again.close()


def test_a_frozen_server_is_an_error_that_says_where(state: Path, monkeypatch: pytest.MonkeyPatch):
    store = start_embedded(state)
    pid = pid_of(store.url)
    os.kill(pid, signal.SIGSTOP)
    monkeypatch.setattr(embedded, "PING_TIMEOUT_S", 0.2)
    with pytest.raises(EmbeddedError, match="is running but does not answer") as caught:
        start_embedded(state)
    assert caught.value.url == store.url
    os.kill(pid, signal.SIGCONT)
    store.close()
    wait_until_gone(pid)


def test_something_else_on_the_socket_is_an_error(state: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(embedded, "PING_TIMEOUT_S", 0.2)
    (state / "valkey").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(state / "valkey" / "valkey.sock"))
        listener.listen()
        with pytest.raises(EmbeddedError, match="is running but does not answer"):
            start_embedded(state)


def test_a_server_that_dies_while_it_is_asked_is_replaced(state: Path):
    (state / "valkey").mkdir()
    where = state / "valkey" / "valkey.sock"
    hangs_up = """
import socket, sys
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    print(flush=True)
    for _ in range(3):
        listener.accept()[0].close()
"""
    with subprocess.Popen(
        [sys.executable, "-c", hangs_up, str(where)], stdout=subprocess.PIPE, text=True
    ) as dying:
        said_by(dying)
        store = start_embedded(state)
    assert store.started
    store.close()


def test_a_server_that_cannot_start_says_why(state: Path):
    log = state / "valkey" / "data" / "appendonlydir" / "appendonly.aof.manifest"
    log.parent.mkdir(parents=True)
    log.write_text("this is no manifest\n")
    with pytest.raises(EmbeddedError) as caught:
        start_embedded(state)
    assert str(caught.value).startswith(f"embedded Valkey in {state}/valkey did not start: ")
    assert "manifest" in str(caught.value)


def test_a_state_directory_that_cannot_be_made_says_so(state: Path):
    (state / "file").write_text("")
    with pytest.raises(EmbeddedError, match=r"/file/valkey cannot be used: .*Not a directory"):
        start_embedded(state / "file")


def test_a_long_state_directory_works_too(state: Path):
    deep = state / ("d" * 60) / ("e" * 60)
    store = start_embedded(deep)
    with client(store.url) as server:
        assert server.ping()
    store.close()


def test_only_this_user_may_connect(state: Path):
    store = start_embedded(state)
    where = state / "valkey" / "valkey.sock"
    assert where.stat().st_mode & 0o077 == 0
    with client(store.url) as server:
        assert server.config_get("port") == {"port": "0"}
    store.close()
