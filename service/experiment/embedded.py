"""A real Valkey of this machine, in the state directory, shared by every process that uses it.

The rule: a user holds a shared lock on `users.lock` while it needs the server. The first user
starts a keeper (`keeper.py`), a process of its own that runs the server and waits for the exclusive
lock. It gets that lock when the last user has gone, killed ones included, and then stops the
server. So nobody's exit takes the server from the others, and nothing is left behind. A server that
dies while it has users is started again by its keeper, with what its AOF holds. A keeper holds a
shared lock on `keeper.lock`: a server without one is ended and started anew by the next user's
keeper, and where both are gone, a user who stays starts both again (`revive`).
The server listens on a unix socket that only its user can open.
"""

import fcntl
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote

from service.experiment.errors import EmbeddedError

START_TIMEOUT_S = 30.0  # a large AOF takes a while to read
PING_TIMEOUT_S = 2.0
STOP_TIMEOUT_S = 5.0
KEEPER_LOCK = "keeper.lock"
_LONGEST_SOCKET = 100  # bytes; the system's limit is 104 … 108
_PAUSE_S = 0.02
_ROOT = Path(__file__).parents[2]  # where `service` is found, whatever the caller's directory


@dataclass
class EmbeddedStore:
    """One use of the embedded server; `close()` ends it."""

    url: str
    started: bool  # by this call; False: it was running
    _lock: IO[str] = field(repr=False)
    _socket: Path = field(repr=False)
    _directory: Path = field(repr=False)

    def revive(self) -> bool:
        """Start the server again if it is gone, and its keeper, too; whether this call did.

        Raises:
            EmbeddedError: it cannot start.
        """
        if self._lock.closed or listens(self._socket) or _is_kept(self._directory):
            return False
        return _let_run(self._directory, self._socket)

    def close(self) -> None:
        """Give the server up. Nobody else uses it: it stops, and this waits until it has."""
        if not self._lock.closed:
            self._lock.close()
            _wait(lambda: not listens(self._socket) or _is_used(self._lock.name), STOP_TIMEOUT_S)


def start_embedded(state_dir: Path) -> EmbeddedStore:
    """Use the embedded server of a state directory, starting it when it is not running.

    Raises:
        EmbeddedError: it cannot start, or one is running that does not answer.
    """
    directory = (state_dir / "valkey").absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        users = (directory / "users.lock").open("a")
    except OSError as err:
        raise EmbeddedError(f"embedded Valkey: {directory} cannot be used: {err}") from err
    try:
        # Waits while a keeper is stopping the server for want of users.
        if not _wait(lambda: _try(users, fcntl.LOCK_SH), START_TIMEOUT_S):
            raise EmbeddedError(f"embedded Valkey: the one of {directory} does not stop")
        where = _socket_of(directory)
        return EmbeddedStore(_url(where), _let_run(directory, where), users, where, directory)
    except BaseException:
        users.close()
        raise


def _let_run(directory: Path, where: Path) -> bool:
    """Let a server run, and a keeper of it; whether there was no server.

    Raises:
        EmbeddedError: see `start_embedded`.
    """
    with (directory / "start.lock").open("a") as starting:
        if not _wait(lambda: _try(starting, fcntl.LOCK_EX), START_TIMEOUT_S):
            raise EmbeddedError(f"embedded Valkey: another process is still starting {directory}")
        running = _answers(where)
        if running and _is_kept(directory):
            return False
        try:
            _start_keeper(directory, where)
        except EmbeddedError:
            if not (running and _answers(where)):
                raise
        return not running


def _is_kept(directory: Path) -> bool:
    """Whether a keeper is there, which may be about to start the server again."""
    with (directory / KEEPER_LOCK).open("a") as probe:
        return not _try(probe, fcntl.LOCK_EX)


def _start_keeper(directory: Path, where: Path) -> None:
    command = [sys.executable, "-m", "service.experiment.keeper", str(directory), str(where)]
    try:
        done = subprocess.run(
            command,
            cwd=_ROOT,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise EmbeddedError(
            f"embedded Valkey in {directory} did not start in {START_TIMEOUT_S:g} s"
        ) from None
    if done.returncode or not _answers(where):
        said = done.stderr.strip()[-1000:] or "it does not answer"
        raise EmbeddedError(f"embedded Valkey in {directory} did not start: {said}")


def _socket_of(directory: Path) -> Path:
    """The socket path: in the directory, or in a private short one where that is too long."""
    where = directory / "valkey.sock"
    if len(os.fsencode(where)) <= _LONGEST_SOCKET:
        return where
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:16]
    short = Path(tempfile.gettempdir()) / f"finerank-{os.getuid()}-{digest}"
    short.mkdir(mode=0o700, exist_ok=True)
    if short.stat().st_uid != os.getuid():
        raise EmbeddedError(f"embedded Valkey: {short} belongs to another user")
    return short / "valkey.sock"


def _answers(where: Path) -> bool:
    """Whether a server is there and ready; waits while it reads its data or dies.

    Raises:
        EmbeddedError: one is there and says nothing, or something that is no Valkey answers.
    """
    until = time.monotonic() + START_TIMEOUT_S
    while listens(where):
        reply = _ping(where)
        if reply is not None and reply.startswith(b"+PONG"):
            return True
        is_passing = reply == b"" or (reply is not None and reply.startswith(b"-LOADING"))
        if not is_passing or time.monotonic() > until:
            said = "does not answer" if reply is None else f"answers {reply[:80]!r}"
            raise EmbeddedError(
                f"embedded Valkey: the server on {where} is running but {said}", url=_url(where)
            )
        time.sleep(_PAUSE_S)
    return False


def _ping(where: Path) -> bytes | None:
    """The reply to PING: b"" when the connection ends without one, None when none comes in time."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PING_TIMEOUT_S)
        try:
            connection.connect(str(where))
            connection.sendall(b"*1\r\n$4\r\nPING\r\n")
            return connection.recv(256)
        except (TimeoutError, BlockingIOError):
            return None
        except OSError:
            return b""


def listens(where: Path) -> bool:
    """Whether somebody accepts connections; a file alone may be left from a killed server."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PING_TIMEOUT_S)
        try:
            connection.connect(str(where))
        except (TimeoutError, BlockingIOError):  # its queue is full: there, and not answering
            return True
        except OSError:
            return False
        return True


def _is_used(lock: str) -> bool:
    """Whether a user holds the lock. The keeper, which takes it to stop the server, is no user."""
    with open(lock, "a") as probe:
        return not _try(probe, fcntl.LOCK_EX) and _try(probe, fcntl.LOCK_SH)


def _try(file: IO[Any], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _wait(until: Callable[[], bool], timeout_s: float) -> bool:
    """Look again and again; False when it did not come true in time."""
    end = time.monotonic() + timeout_s
    while not until():
        if time.monotonic() > end:
            return False
        time.sleep(_PAUSE_S)
    return True


def _url(where: Path) -> str:
    return f"unix://{quote(str(where))}"
