"""A measurement says what was asked for, what came in time, and what both sides cost."""

import sys
from collections.abc import Iterator

import httpx
import pytest

from loadtest.http_client import Target
from loadtest.measuring import PROMISED_MS, Pace, in_closed_loop, in_open_loop
from loadtest.processes import Server, free_port, running
from loadtest.traffic import Body

# Gives up detail when asked to be quick, and says so; replies are chunked then.
SERVER = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        hurry = float(self.headers["X-Request-Timeout-Ms"]) < 1000
        body = b'{"degraded":[%s]}' % (b'"deadline"' if hurry else b"")
        self.send_response(200)
        if hurry:
            self.send_header("Transfer-Encoding", "chunked")
            body = b"%x\\r\\n%s\\r\\n0\\r\\n\\r\\n" % (len(body), body)
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
BODIES = [Body(b"{}", 5)]
PACE = Pace(seconds=0.3)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Target]]:
    """A server process and where it listens."""
    port, log = free_port(), tmp_path_factory.mktemp("logs") / "server.log"
    command = [sys.executable, "-c", SERVER, str(port)]
    with running("server", command, port=port, log=log, environment={}) as started:
        started.wait_ready(lambda: _listens(port), seconds=20)
        yield started, Target(port)


def _listens(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}").status_code == 501
    except httpx.HTTPError:
        return False


def test_a_closed_loop_is_measured_without_a_deadline(server: tuple[Server, Target]) -> None:
    run = in_closed_loop(*server, BODIES, PACE, connections=2)
    assert run["connections"] == 2
    assert run["full"] == run["requests"] > 2
    assert run["degraded"] == {}
    assert run["generator_cpu_s"] > 0
    assert run["server_cpu_s"] >= 0
    assert min(run["rss_mib"]) > 1


def test_an_open_loop_asks_for_the_deadline_and_counts_what_came_in_time(
    server: tuple[Server, Target],
) -> None:
    run = in_open_loop(*server, BODIES, PACE, rate=50, seed=1, deadline_ms=40)
    assert (run["rate"], run["deadline_ms"], run["limit_ms"]) == (50, 40, PROMISED_MS)
    assert run["degraded"] == {"deadline": run["requests"]}
    assert run["statuses"] == {"200": run["requests"]}
    assert run["goodput_per_s"] == 0
    assert run["refused_from_sent_ms"] is None
