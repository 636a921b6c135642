"""Answer plain rank requests on uvicorn's connections without its ASGI machinery.

A scope, a cycle with its events, two messages a reply and the check of every header cost more than
the whole refusal of a request. A chunk that is one whole plain request (`plain_request` says what
that is), on a connection that is idle, goes straight to the door; every other byte goes to
uvicorn's own protocol, which also keeps the connection: keep-alive, pipelining, shutdown.
"""

import asyncio
from typing import Any

import structlog
from starlette.requests import ClientDisconnect
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

from service.api.answer import Answer
from service.api.door import Door
from service.api.plain_request import PlainRequest, read_plain
from service.api.problems import surprise
from service.scoring.admission import Ticket

log = structlog.get_logger("finerank.fast_lane")

_SCOPE = {"type": "http", "method": "POST", "http_version": "1.1"}


def fast_lane(to: Door) -> type[HttpToolsProtocol]:
    """The protocol for `http=` of `uvicorn.Config`, over an application that has this door."""

    class Lane(FastLane):
        door = to

    return Lane


class FastLane(HttpToolsProtocol):
    """uvicorn's protocol, with the lane in front of its parser."""

    door: Door

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._between_messages = True  # nothing of a message is in the parser
        # What uvicorn can be told to do with every request, and this lane does not.
        asked = (self.config.access_log, self.limit_concurrency is not None, self.root_path != "")
        self._is_open = not any((*asked, getattr(self.config, "reset_contextvars", False)))

    def on_message_begin(self) -> None:
        self._between_messages = False
        super().on_message_begin()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._between_messages = not self.parser.should_upgrade()

    def data_received(self, data: bytes) -> None:
        if self._is_idle():
            request = read_plain(data, self.door.max_body_bytes)
            if request is not None:
                self._unset_keepalive_if_required()
                self._take(request)
                return
        super().data_received(data)

    def _is_idle(self) -> bool:
        """Whether the next byte begins a message that nothing comes before."""
        cycle = self.cycle
        return (
            self._between_messages
            and self._is_open
            and (cycle is None or (cycle.response_complete and cycle.keep_alive))  # type: ignore[redundant-expr]
            and not self.flow.write_paused
            and not self.transport.is_closing()
        )

    def _take(self, request: PlainRequest) -> None:
        ticket: Ticket | Answer
        try:
            ticket = self.door.let_in(request.headers, request.path)
        except Exception as err:
            ticket = surprise(err, request.path)
        if isinstance(ticket, Answer):
            self._write(ticket, keep_alive=True)
            self.on_response_complete()
            return
        # While it is in progress, uvicorn sees a request like any other of its own.
        self.cycle = cycle = RequestResponseCycle(
            scope=_SCOPE,  # type: ignore[arg-type]  # only its method is read
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=True,
            on_response=self.on_response_complete,
        )
        task = self.loop.create_task(self._rank(cycle, request, ticket))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    async def _rank(
        self, cycle: RequestResponseCycle, request: PlainRequest, ticket: Ticket
    ) -> None:
        path, headers, content = request

        async def read() -> bytes:
            if cycle.disconnected:
                raise ClientDisconnect
            return content

        try:
            try:
                answer = await self.door.rank.answer(headers, read, ticket, path)
            except Exception as err:
                answer = surprise(err, path)
            if not cycle.disconnected:
                self._write(answer, keep_alive=cycle.keep_alive)
                cycle.response_complete = True
                if not cycle.keep_alive:
                    self.transport.close()
                self.on_response_complete()
        except Exception as err:  # what of it is on its way cannot be told: nothing can follow
            log.error("answer_not_sent", path=path, exc_info=err)
            self.transport.abort()
        except asyncio.CancelledError:  # a shutdown that waits no longer
            await cycle.send_500_response()
            raise
        finally:
            ticket.leave()
            cycle.on_response = _nothing  # it holds this object, which holds it

    def _write(self, answer: Answer, *, keep_alive: bool) -> None:
        status, headers, content = answer
        parts = [STATUS_LINE[status]]
        for name, value in self.server_state.default_headers:
            parts += (name, b": ", value, b"\r\n")
        for name, value in headers:
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n" if keep_alive else b"connection: close\r\n\r\n", content)
        self.transport.write(b"".join(parts))


def _nothing() -> None:
    """Instead of a callback."""
