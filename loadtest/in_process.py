"""Serve an application in this process, whose CPU time can then be read beside the requests."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from service.api.http_server import http_protocol


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[int]:
    """The port on which `app` answers, behind the HTTP server and the settings of `serve`.

    Raises:
        RuntimeError: it did not start.
    """
    config = uvicorn.Config(
        app,
        http=http_protocol(app),
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.05)
        if running.done():
            raise RuntimeError("the service did not start")
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running
