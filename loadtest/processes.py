"""A server process: started pinned, watched through /proc, stopped with all its children."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_STOP_S = 15.0
_POLL_S = 0.1
_LOG_LINES = 20


class ServerFailed(Exception):
    """A server ended, or did not get ready in time; the sentence carries the end of its log."""


@dataclass(frozen=True)
class Usage:
    """CPU seconds that processes have used since they started, and MiB resident now."""

    cpu_s: float
    rss_mib: float


class Server:
    """A running server process. `port` is free when it starts."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.name, self.port = name, port
        self._process, self._log = process, log

    def wait_ready(self, is_ready: Callable[[], bool], *, seconds: float) -> None:
        """Ask until `is_ready`.

        Raises:
            ServerFailed: it ended, or the time is over.
        """
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._process.poll() is not None:
                raise ServerFailed(
                    f"{self.name} ended with code {self._process.returncode}:\n{self._tail()}"
                )
            if is_ready():
                return
            time.sleep(_POLL_S)
        raise ServerFailed(f"{self.name} was not ready within {seconds:g} s:\n{self._tail()}")

    def signal(self, number: int) -> None:
        """Send the process a signal, not its children."""
        self._process.send_signal(number)

    def usage(self, *, children: bool = True) -> Usage:
        return usage(self.pids() if children else [self._process.pid])

    def pids(self) -> list[int]:
        """The process and its descendants; looking through /proc for them takes milliseconds."""
        return [self._process.pid, *descendants(self._process.pid)]

    def stop(self) -> None:
        """Ask the process to end, then kill what is left of it and its descendants."""
        everyone = self.pids()
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        # What stays alive would take CPU from the next server; most have ended already.
        for pid in everyone[1:]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        while any(map(is_alive, everyone)):
            time.sleep(_POLL_S)

    def _tail(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-_LOG_LINES:])


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    *,
    port: int,
    log: Path,
    environment: Mapping[str, str],
    cores: frozenset[int] | None = None,
) -> Iterator[Server]:
    """Start `command` (on `cores` only, when given) and stop it at the end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    own_cores = os.sched_getaffinity(0)
    with log.open("wb") as output:
        # A child inherits its parent's affinity: set before it exists, no thread of it escapes.
        os.sched_setaffinity(0, cores or own_cores)
        try:
            process = subprocess.Popen(
                command, env=os.environ | environment, stdout=output, stderr=subprocess.STDOUT
            )
        finally:
            os.sched_setaffinity(0, own_cores)
    server = Server(name, process, port, log)
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def pinned(cores: frozenset[int] | None) -> Iterator[None]:
    """Keep this process on `cores` for a while."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores or before)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def usage(pids: Sequence[int]) -> Usage:
    """Together; a process that has ended counts nothing but what its parent collected of it."""
    ticks = pages = 0
    for pid in pids:
        if fields := _stat(pid):
            # utime, stime, and those of children already waited for; see proc(5).
            ticks += sum(int(fields[at]) for at in (11, 12, 13, 14))
            pages += int(fields[21])
    return Usage(cpu_s=ticks / _TICKS, rss_mib=pages * _PAGE / 2**20)


def descendants(pid: int) -> list[int]:
    """Children, their children and so on; a grandchild whose parent has ended is not found."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and (fields := _stat(int(entry.name))):
            children.setdefault(int(fields[1]), []).append(int(entry.name))
    found, todo = [], [pid]
    while todo:
        born = children.get(todo.pop(), [])
        found += born
        todo += born
    return found


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and was not waited for does not."""
    return (_stat(pid) or ["Z"])[0] not in "ZX"


def _stat(pid: int) -> list[str]:
    """/proc/<pid>/stat after the name (it may hold spaces): state, parent id, …; [] if gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
