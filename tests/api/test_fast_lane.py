"""The lane answers as the framework does, byte for byte, and keeps what uvicorn promises."""

import asyncio
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from fastapi import FastAPI, Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import ClientDisconnect
from structlog.testing import capture_logs

from service.api.answer import Answer
from service.api.door import DoorMiddleware
from service.api.fast_lane import FastLane
from service.api.limits import BodyLimit
from service.api.plain_request import PlainRequest
from service.api.problems import install
from tests.api.running import Running, running
from tests.api.server import port_of, server_of
from tests.api.test_door import overloaded
from tests.api.test_plain_request import ELSEWHERE, request

TINY = b'{"request_id":"r","scene":"feed","items":[{"id":"i20"}]}'


def rank(*lines: bytes, body: bytes = TINY, path: bytes = b"/rank") -> bytes:
    length = b"Content-Length: %d" % len(body)
    return request(b"Host: x", *lines, length, start=b"POST %s HTTP/1.1" % path, body=body)


LIVE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
END = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.fixture(scope="module")
def plain(models, service, valkey, tmp_path_factory) -> Iterator[Running]:
    """A second service on the same store, behind uvicorn's own protocol."""
    state_dir = tmp_path_factory.mktemp("plain")
    with running(models, valkey, state_dir, with_lane=False) as other:
        yield other


@dataclass(frozen=True)
class Reply:
    """One reply, without what differs between two of the same request."""

    status: bytes
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Client:
    """A connection that sends bytes as they are, and reads replies."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = b""

    @classmethod
    def of(cls, service: Running) -> "Client":
        return cls(urlsplit(service.url).port or 0)

    def send(self, chunk: bytes) -> None:
        self._socket.sendall(chunk)

    def reply(self) -> Reply:
        while b"\r\n\r\n" not in self._unread:
            self._receive()
        head, _, rest = self._unread.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        headers = [tuple(line.split(b": ", 1)) for line in lines]
        length = int(dict(headers).get(b"content-length", b"0"))
        while len(rest) < length:
            self._receive()
            rest = self._unread.partition(b"\r\n\r\n")[2]
        self._unread = rest[length:]
        return Reply(status, tuple(map(_timeless, headers)), _without_time(rest[:length]))

    def rest(self) -> bytes:
        """What comes until the server closes."""
        while more := self._socket.recv(65536):
            self._unread += more
        return self._unread

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> None:
        more = self._socket.recv(1 << 20)
        if not more:
            raise EOFError(f"the connection ended after {self._unread!r}")
        self._unread += more


def _timeless(header: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    name, value = header
    if name in {b"date", b"content-length"}:  # `took_ms` has as many digits as it needs
        return name, b""
    return name, re.sub(rb"dur=[0-9.]+", b"dur=", value)


def _without_time(body: bytes) -> bytes:
    return re.sub(rb'"took_ms":[0-9.e-]+', b'"took_ms":0', body)


def exchanged(service: Running, chunks: list[bytes], replies: int) -> list[Reply | bytes]:
    """The replies to `chunks`; then what the connection still answers, up to its end."""
    with closing(Client.of(service)) as client:
        for chunk in chunks:
            client.send(chunk)
        found: list[Reply | bytes] = [client.reply() for _ in range(replies)]
        ends = b"HTTP/1.0" in chunks[0]
        last = found[-1]
        assert isinstance(last, Reply)
        if not ends and (b"connection", b"close") not in last.headers:
            client.send(END)
            found.append(client.reply())
        return [*found, client.rest()]


SAME: dict[str, tuple[list[bytes], int]] = {
    "plain": ([rank()], 1),
    "the versioned path": ([rank(path=b"/v1/rank")], 1),
    "an id of the caller": ([rank(b"X-Request-Id: from-header", body=TINY[:1] + TINY[18:])], 1),
    "two ids of the caller": ([rank(b"X-Request-Id: a", b"x-request-id: b")], 1),
    "an id that is none": ([rank(b"X-Request-Id: a b")], 1),
    "an id that no header can hold": (
        [rank(body=rb'{"request_id":"a\r\nset-cookie: x","scene":"feed","items":[]}')],
        1,
    ),
    "a deadline": ([rank(b"X-Request-Timeout-Ms: 900")], 1),
    "a deadline that cannot be met": ([rank(b"x-request-timeout-ms: 1")], 1),
    "two deadlines": ([rank(b"grpc-timeout: 1S", b"x-envoy-expected-rq-timeout-ms: 1")], 1),
    "a malformed deadline": ([rank(b"grpc-timeout: 40")], 1),
    "an empty deadline": ([rank(b"X-Request-Timeout-Ms:")], 1),
    "no JSON": ([rank(body=b'{"items":')], 1),
    "no UTF-8": ([rank(body=b'{"scene":"\xff"}')], 1),
    "an empty body": ([rank(body=b"")], 1),
    "a broken rule": ([rank(body=b'{"scene":"feed","items":[{"id":"a"},{"id":"a"}]}')], 1),
    "an unknown scene": ([rank(body=b'{"scene":"fed","items":[]}', path=b"/v1/rank")], 1),
    "a value its feature cannot take": (
        [rank(body=b'{"items":[{"id":"a","features":{"videolen_s":"long"}}]}')],
        1,
    ),
    "names in capitals": ([rank().replace(b"Content-Length", b"CONTENT-LENGTH")], 1),
    "names in small letters": ([rank().replace(b"Content-Length", b"content-length")], 1),
    "keep-alive": ([rank(b"Connection: keep-alive")], 1),
    "close": ([rank(b"Connection: close")], 1),
    "HTTP/1.0": ([rank().replace(b"HTTP/1.1", b"HTTP/1.0")], 1),
    "GET": ([rank().replace(b"POST", b"GET", 1)], 1),
    "two in one chunk": ([rank() + rank(b"X-Request-Timeout-Ms: 1")], 2),
    "three in one chunk": ([rank() + LIVE + rank()], 3),
    "two chunks": ([rank(), rank(b"X-Request-Timeout-Ms: 1")], 2),
    "head and body": ([rank()[: -len(TINY)], TINY], 1),
    "a line end between": ([rank(), b"\r\n" + rank(), b"\r", b"\n", rank()], 3),
    "too little, then the rest": ([rank()[:-3], rank()[-3:] + rank()], 2),
}


@pytest.mark.parametrize(("chunks", "replies"), SAME.values(), ids=SAME)
def test_the_same_bytes_have_the_same_answers_with_the_lane_and_without(
    service, plain, chunks, replies
):
    ours, theirs = (exchanged(s, chunks, replies) for s in (service, plain))
    assert ours == theirs


INCOMPLETE = {"a body that is not all there", "a head without its end", "an upgrade"}
ODD = {name: chunk for name, chunk in ELSEWHERE.items() if name not in INCOMPLETE} | {
    "HEAD": rank().replace(b"POST", b"HEAD", 1),
    "garbage behind the body": rank() + b"GARBAGE",
}


@pytest.mark.parametrize("chunk", ODD.values(), ids=ODD)
def test_odd_requests_have_the_same_answers_with_the_lane_and_without(service, plain, chunk):
    """Each after a plain one, so that the lane was used before; END makes the server close."""
    found = []
    for of in (service, plain):
        with closing(Client.of(of)) as client:
            client.send(rank())
            first = client.reply()
            client.send(chunk + END)
            found.append((first, _anonymous(client.rest())))
    assert found[0] == found[1]


def _anonymous(replies: bytes) -> bytes:
    """Without times, lengths that follow from them, and ids that were made for the request."""
    without = re.sub(rb"(date|content-length): [^\r]*", rb"\1", _without_time(replies))
    return re.sub(rb"dur=[0-9.]+|[0-9a-f]{32}", b"", without)


def test_what_is_compared_is_a_ranking_by_the_lane_with_one_without(service, plain, monkeypatch):
    taken, take = [], FastLane._take

    def watched(self: FastLane, request: PlainRequest) -> None:
        taken.append(self.server)
        take(self, request)

    monkeypatch.setattr(FastLane, "_take", watched)
    for of in (service, plain):
        reply = exchanged(of, [rank()], 1)[0]
        assert isinstance(reply, Reply)
        assert reply.status == b"HTTP/1.1 200 OK"
        assert json.loads(reply.body)["formula"] == "base"
    assert taken == [("127.0.0.1", urlsplit(service.url).port)]


def test_a_request_is_answered_wherever_it_is_cut(service, plain):
    whole = rank(b"X-Request-Timeout-Ms: 1")
    with closing(Client.of(service)) as ours, closing(Client.of(plain)) as theirs:
        for at in range(1, len(whole)):
            for client in (ours, theirs):
                client.send(whole[:at])
            for client in (ours, theirs):
                client.send(whole[at:] + (rank() if at % 3 == 0 else b""))
            for _ in range(2 if at % 3 == 0 else 1):
                assert ours.reply() == theirs.reply()


def test_the_refusal_of_overload_is_the_same_bytes_and_counted_the_same(service, plain):
    found = []
    for of in (service, plain):
        parts = of.runtime.parts
        before = _refused(of)
        with overloaded(of), closing(Client.of(of)) as client:
            for path in (b"/rank", b"/v1/rank"):
                client.send(rank(b"X-Request-Timeout-Ms: 40", path=path))
                reply = client.reply()
                detail = json.loads(reply.body).pop("detail")
                assert re.fullmatch(
                    r"the work accepted so far takes \d+ ms and one more request \d+ ms"
                    r" \(±\d+ ms\); \d+ ms are left",
                    detail,
                )
                found.append(Reply(reply.status, reply.headers, _undetailed(reply.body)))
        client = Client.of(of)
        assert parts.scorer.admission.in_progress == 0
        assert _refused(of) == {name: count + 2 for name, count in before.items()}
        client.close()
    assert found[:2] == found[2:]
    assert found[0] == Reply(
        b"HTTP/1.1 503 Service Unavailable",
        (
            (b"date", b""),
            (b"server", b"uvicorn"),
            (b"cache-control", b"no-store"),
            (b"retry-after", b"1"),
            (b"content-length", b""),
            (b"content-type", b"application/problem+json"),
        ),
        b'{"type":"urn:finerank:problem:overloaded",'
        b'"title":"The service has as much work as it can do in time","status":503,'
        b'"detail":"","instance":"/rank"}',
    )


def _undetailed(body: bytes) -> bytes:
    return re.sub(rb'"detail":"[^"]*"', b'"detail":""', body)


def _refused(service: Running) -> dict[str, float]:
    metrics = service.runtime.parts.metrics
    value = metrics.registry.get_sample_value
    return {
        "requests": value("finerank_requests_total", {"scene": "", "status": "503"}) or 0.0,
        "refused": value("finerank_refused_total", {"reason": "overload"}) or 0.0,
    }


def test_a_body_over_the_limit_is_refused_and_counted_though_it_came_in_one_chunk(
    models, valkey, service, tmp_path
):
    with running(models, valkey, tmp_path, max_body_bytes=1024) as small:
        with closing(Client.of(small)) as client:
            client.send(rank(body=b" " * 1025))
            reply = client.reply()
        assert reply.status.startswith(b"HTTP/1.1 413 ")
        value = small.runtime.parts.metrics.registry.get_sample_value
        assert value("finerank_requests_total", {"scene": "", "status": "413"}) == 1.0


class Rank:
    """In place of the route: says when it has begun, and answers when it may."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_answer = threading.Event()
        self.left = 0

    async def answer(self, headers: Any, read: Any, ticket: Any, path: str) -> Answer:
        self.begun.release()
        try:
            content = await read()
        except ClientDisconnect:
            self.left += 1
            return Answer(400, [(b"content-length", b"0")], b"")
        while not self.may_answer.is_set():  # noqa: ASYNC110, another thread sets it
            await asyncio.sleep(0.002)
        if content == b"break":
            raise ZeroDivisionError("secret detail")
        if content == b"unknown status":
            return Answer(999, [(b"content-length", b"0")], b"")
        if content == b"large":
            content = b"x" * LARGE
        return Answer(200, [(b"content-length", b"%d" % len(content))], content)


LARGE = 32 << 20  # more than the buffers of a socket and its transport hold


@dataclass
class Ticket:
    held: list["Ticket"]

    def leave(self) -> None:
        self.held.remove(self)


@dataclass
class Door:
    """The door's face, without admission."""

    rank: Rank = field(default_factory=Rank)
    max_body_bytes: int = 1 << 20
    held: list[Ticket] = field(default_factory=list)

    def let_in(self, headers: Any, path: str) -> Ticket | Answer:
        if headers.request_id == "broken":
            raise ZeroDivisionError("secret detail")
        if headers.request_id == "full":
            return Answer(503, [(b"content-length", b"4")], b"full")
        ticket = Ticket(self.held)
        self.held.append(ticket)
        return ticket


@dataclass
class Served:
    """`taken`: the contents of what the lane took."""

    server: uvicorn.Server
    door: Door
    taken: list[bytes]

    @property
    def port(self) -> int:
        return port_of(self.server)


@contextmanager
def served(*, lane: bool, **config: Any) -> Iterator[Served]:
    app, own, seen = FastAPI(telemetry={"tracing": False, "metrics": False}), Door(), []
    install(app)

    @app.get("/livez")
    async def live() -> Response:
        return Response("live")

    app.add_middleware(DoorMiddleware, door=own)
    app.add_middleware(BodyLimit, max_bytes=own.max_body_bytes)

    class Watched(FastLane):
        door = own

        def _take(self, request):
            seen.append(request.content)
            super()._take(request)

    http = Watched if lane else "httptools"
    quiet = {"access_log": False, "log_level": "critical"}
    with server_of(app, http=http, **(quiet | config)) as server:
        yield Served(server, own, seen)


@pytest.fixture(params=[True, False], ids=["lane", "uvicorn"])
def case(request) -> Iterator[Served]:
    with served(lane=request.param) as found:
        yield found
        assert bool(found.taken) == request.param
        assert found.door.held == []


def test_a_connection_is_used_again_and_again(case):
    case.door.rank.may_answer.set()
    with closing(Client(case.port)) as client:
        for n in range(3):
            client.send(rank(body=b"%d" % n))
            assert client.reply().body == b"%d" % n
            client.send(LIVE)
            assert client.reply().body == b"live"
    if case.taken:
        assert case.taken == [b"0", b"1", b"2"]


def test_what_comes_while_a_request_is_in_progress_is_answered_after_it(case):
    with closing(Client(case.port)) as client:
        client.send(rank(body=b"first"))
        case.door.rank.begun.acquire(timeout=10)
        client.send(rank(body=b"second") + LIVE)
        client.send(rank(body=b"third")[:50])
        case.door.rank.may_answer.set()
        assert [client.reply().body for _ in range(3)] == [b"first", b"second", b"live"]
        client.send(rank(body=b"third")[50:])
        assert client.reply().body == b"third"
        client.send(rank(body=b"fourth"))
        assert client.reply().body == b"fourth"
    if case.taken:
        assert case.taken == [b"first", b"fourth"]


def test_a_shutdown_waits_for_the_request_and_ends_its_connection(case):
    with closing(Client(case.port)) as client:
        client.send(rank(body=b"last"))
        case.door.rank.begun.acquire(timeout=10)
        before = list(case.server.server_state.connections)
        case.server.should_exit = True
        while before[0].cycle.keep_alive:
            threading.Event().wait(0.002)
        case.door.rank.may_answer.set()
        reply = client.reply()
        assert reply.body == b"last"
        assert (b"connection", b"close") in reply.headers
        assert client.rest() == b""


def test_a_shutdown_that_waits_no_longer_says_so(case):
    with closing(Client(case.port)) as client:
        client.send(rank(body=b"late"))
        case.door.rank.begun.acquire(timeout=10)
        case.server.config.timeout_graceful_shutdown = 0
        case.server.should_exit = True
        reply = client.reply()
    assert reply.status == b"HTTP/1.1 500 Internal Server Error"
    assert reply.body == b"Internal Server Error"
    assert (b"connection", b"close") in reply.headers


@pytest.mark.parametrize(
    "asked",
    [rank(body=b"break"), rank(b"X-Request-Id: broken")],
    ids=["in the route", "at the door"],
)
def test_a_bug_is_a_problem_document_that_tells_no_secrets(case, asked):
    case.door.rank.may_answer.set()
    with closing(Client(case.port)) as client:
        client.send(asked)
        reply = client.reply()
    assert reply == Reply(
        b"HTTP/1.1 500 Internal Server Error",
        (
            (b"date", b""),
            (b"server", b"uvicorn"),
            (b"cache-control", b"no-store"),
            (b"content-length", b""),
            (b"content-type", b"application/problem+json"),
        ),
        b'{"type":"urn:finerank:problem:internal","title":"Something broke inside the service",'
        b'"status":500,"detail":"ZeroDivisionError while answering; the log has the details",'
        b'"instance":"/rank"}',
    )


def test_an_answer_that_cannot_be_written_ends_its_connection_and_is_logged():
    with (
        capture_logs() as logs,
        served(lane=True) as found,
        closing(Client(found.port)) as client,
    ):
        found.door.rank.may_answer.set()
        client.send(rank(body=b"unknown status"))
        assert client.rest() == b""
        while found.server.server_state.connections or found.server.server_state.tasks:
            threading.Event().wait(0.002)
        with closing(Client(found.port)) as other:
            other.send(rank(body=b"here"))
            assert other.reply().body == b"here"
        assert found.taken == [b"unknown status", b"here"]
        assert found.door.held == []
    assert [(entry["event"], entry["path"], repr(entry["exc_info"])) for entry in logs] == [
        ("answer_not_sent", "/rank", "KeyError(999)")
    ]


def test_a_caller_who_leaves_disturbs_nobody(case):
    gone = Client(case.port)
    gone.send(rank(body=b"gone"))
    case.door.rank.begun.acquire(timeout=10)
    gone.close()
    while case.server.server_state.connections:
        threading.Event().wait(0.002)
    case.door.rank.may_answer.set()
    while case.server.server_state.tasks:
        threading.Event().wait(0.002)
    with closing(Client(case.port)) as client:
        client.send(rank(body=b"here"))
        assert client.reply().body == b"here"


def test_a_caller_who_reads_late_gets_everything_in_order(case):
    case.door.rank.may_answer.set()
    with closing(Client(case.port)) as client:
        client.send(rank(body=b"large"))
        case.door.rank.begun.acquire(timeout=10)
        while case.server.server_state.tasks:
            threading.Event().wait(0.002)
        client.send(rank(body=b"small"))
        assert len(client.reply().body) == LARGE
        assert client.reply().body == b"small"
    if case.taken:
        assert case.taken == [b"large"], "a connection that cannot be written to is not idle"


def fed(case: Served, client: Client, *chunks: bytes) -> None:
    """Give the chunks to the one connection there is, cut exactly so, one after the other."""
    client.send(LIVE)
    assert client.reply().body == b"live"
    connection = next(iter(case.server.server_state.connections))
    for chunk in chunks:
        connection.loop.call_soon_threadsafe(connection.data_received, chunk)


def test_a_caller_who_left_before_the_work_began_is_gone_and_nothing_is_ranked():
    with served(lane=True) as found, closing(Client(found.port)) as client:
        client.send(LIVE)
        client.reply()
        connection = next(iter(found.server.server_state.connections))

        def at_once() -> None:
            connection.data_received(rank())
            connection.connection_lost(None)

        connection.loop.call_soon_threadsafe(at_once)
        assert found.door.rank.begun.acquire(timeout=10)
        assert client.rest() == b""
        assert (found.taken, found.door.rank.left) == ([TINY], 1)


INSIDE = rank(body=b"inside")
CHUNKED = request(b"Transfer-Encoding: chunked", body=b"%x\r\n" % len(INSIDE))


@pytest.mark.parametrize(
    ("chunks", "body"),
    [
        ([rank(body=INSIDE)[: -len(INSIDE)], INSIDE], INSIDE),
        ([rank(body=b"x" + INSIDE)[: -len(INSIDE)], INSIDE], b"x" + INSIDE),
        ([CHUNKED, INSIDE, b"\r\n0\r\n\r\n"], INSIDE),
    ],
    ids=["behind the head", "behind a byte", "in a chunked body"],
)
def test_a_request_inside_a_body_is_a_body_though_it_comes_by_itself(chunks, body):
    with served(lane=True) as found, closing(Client(found.port)) as client:
        found.door.rank.may_answer.set()
        fed(found, client, *chunks, rank(body=b"after"))
        assert [client.reply().body for _ in range(2)] == [body, b"after"]
        assert b"inside" not in found.taken


def test_a_request_behind_half_a_head_belongs_to_that_head():
    with served(lane=True) as found, closing(Client(found.port)) as client:
        fed(found, client, b"POST /rank HTTP/1.1\r\nHost: x\r\n", INSIDE)
        assert client.reply().status == b"HTTP/1.1 400 Bad Request"
        assert client.rest() == b""
        assert found.taken == []


messages = st.lists(
    st.sampled_from(
        [
            (rank(body=b"plain"), b"plain"),
            (rank(body=b"a"), b"a"),
            (rank(body=INSIDE), INSIDE),
            (CHUNKED + INSIDE + b"\r\n0\r\n\r\n", INSIDE),
            (b"\r\n" + rank(body=b"late"), b"late"),
            (LIVE, b"live"),
        ]
    ),
    min_size=1,
    max_size=5,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(sent=messages, cuts=st.lists(st.integers(0, 600), max_size=6), whole=st.booleans())
def test_however_a_stream_is_cut_its_messages_are_answered_in_order(
    stream_server, sent, cuts, whole
):
    stream = b"".join(message for message, _ in sent)
    ends = [0, len(stream), *(cut for cut in cuts if cut < len(stream))]
    if whole:  # between messages, too: there the lane is open
        ends += accumulate(len(message) for message, _ in sent)
    ends = sorted(set(ends))
    while stream_server.server.server_state.connections:  # of the example before
        threading.Event().wait(0.001)
    with closing(Client(stream_server.port)) as client:
        fed(stream_server, client, *(stream[a:b] for a, b in pairwise(ends)))
        assert [client.reply().body for _ in sent] == [body for _, body in sent]


@pytest.fixture(scope="module")
def stream_server() -> Iterator[Served]:
    with served(lane=True) as found:
        found.door.rank.may_answer.set()
        yield found
        assert set(found.taken) >= {b"plain", b"a"}, "the lane was open at times"


@pytest.mark.parametrize(
    "asked", [{"access_log": True}, {"limit_concurrency": 9}, {"root_path": "/x"}], ids=str
)
def test_a_server_that_logs_or_limits_every_request_has_no_lane(asked):
    with served(lane=True, **asked) as found, closing(Client(found.port)) as client:
        found.door.rank.may_answer.set()
        client.send(rank())
        assert client.reply().status.startswith(b"HTTP/1.1 ")
        assert found.taken == []


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "uvicorn"])
@pytest.mark.parametrize("last", [rank(), rank(b"X-Request-Id: full")], ids=["ranked", "refused"])
def test_an_idle_connection_ends_after_its_time_and_a_busy_one_does_not(lane, last):
    with (
        served(lane=lane, timeout_keep_alive=0.05) as found,
        closing(Client(found.port)) as client,
    ):
        client.send(LIVE)
        assert client.reply().body == b"live"
        client.send(rank(body=b"slow"))
        found.door.rank.begun.acquire(timeout=10)
        threading.Event().wait(0.15)
        found.door.rank.may_answer.set()
        assert client.reply().body == b"slow"
        client.send(last)
        assert client.reply().body in {TINY, b"full"}
        assert client.rest() == b""
