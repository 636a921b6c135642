"""A real uvicorn on a free port, in a thread of its own, for as long as a `with` block lasts."""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import uvicorn


@contextlib.contextmanager
def serving(app: Any, **config: Any) -> Iterator[str]:
    """Serve an ASGI application; gives its base URL once it answers."""
    with server_of(app, **config) as server:
        yield f"http://127.0.0.1:{port_of(server)}"


@contextlib.contextmanager
def server_of(app: Any, **config: Any) -> Iterator[uvicorn.Server]:
    """The same, for those who end it themselves; `config` is uvicorn's."""
    fixed = {"port": 0, "log_level": "warning", "timeout_graceful_shutdown": 2}
    server = uvicorn.Server(uvicorn.Config(app, **(fixed | config)))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.005)
        yield server
    finally:
        server.should_exit = True
        thread.join(10)


def port_of(server: uvicorn.Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port
