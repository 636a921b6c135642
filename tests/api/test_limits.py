"""Bodies are counted, and refusals reach clients that are still sending."""

import gzip
import itertools
import json
import shutil
import socket
import subprocess
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from service.api.limits import BodyLimit
from service.api.problems import install
from tests.api.server import serving

LIMIT = 4096


@pytest.fixture(scope="module")
def url():
    app = FastAPI(telemetry={"tracing": False, "metrics": False, "logs": False})
    install(app)

    @app.post("/length")
    async def length(request: Request) -> Response:
        return Response(str(len(await request.body())))

    @app.post("/deaf")
    async def deaf() -> Response:
        return Response("no", status_code=401)

    app.add_middleware(BodyLimit, max_bytes=LIMIT, body_s=0.3)
    with serving(app) as base:
        yield base


def exchange(url: str, head: bytes, chunks) -> bytes:
    """Send everything without looking, as a simple client does, then read to the end."""
    where = urlsplit(url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall(head)
        for chunk in chunks:
            connection.sendall(chunk)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    return answer


def test_a_body_of_exactly_the_limit_is_read(url):
    answer = httpx.post(url + "/length", content=b"x" * LIMIT)
    assert (answer.status_code, answer.text) == (200, str(LIMIT))


def test_a_declared_length_over_the_limit_is_refused_with_both_numbers(url):
    answer = httpx.post(url + "/length", content=b"x" * (LIMIT + 1))
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"] == (
        "the body has 4097 bytes; at most 4096 (0.00390625 MiB) are read"
    )


def test_a_chunked_body_is_counted_as_it_comes(url):
    answer = httpx.post(url + "/length", content=itertools.repeat(b"x" * 512, 9))
    assert answer.status_code == 413
    assert answer.json()["type"] == "urn:finerank:problem:body-too-large"
    fits = httpx.post(url + "/length", content=itertools.repeat(b"x" * 512, 8))
    assert (fits.status_code, fits.text) == (200, str(LIMIT))


@pytest.mark.parametrize(
    ("path", "status"), [("/length", b"413 "), ("/deaf", b"401 ")], ids=["too large", "unread"]
)
@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_client_that_sends_megabytes_before_it_reads_gets_the_answer(url, path, status, chunked):
    size, parts = 1 << 16, 128  # 8 MiB: far beyond what socket buffers hold
    if path == "/deaf" and not chunked:
        status = b"413 "  # a declared length is refused before any route
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size * parts}"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{framing}\r\n\r\n".encode()
    part = b"x" * size
    body = [b"%x\r\n%s\r\n" % (size, part) if chunked else part] * parts
    answer = exchange(url, head, [*body, b"0\r\n\r\n" if chunked else b""])
    assert answer.startswith(b"HTTP/1.1 " + status)


def test_a_connection_is_usable_again_after_a_refusal(url):
    with httpx.Client() as client:
        assert client.post(url + "/length", content=b"x" * 100_000).status_code == 413
        assert client.post(url + "/length", content=b"xyz").text == "3"


def test_a_body_that_stops_coming_is_refused_and_the_connection_closed(url):
    where = urlsplit(url)
    head = b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf"
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall(head)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"the body was not there after 0.3 s (4 bytes were)" in answer


def test_a_client_that_waits_for_continue_is_told_at_once(url):
    where = urlsplit(url)
    head = (
        b"POST /length HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((where.hostname, where.port), timeout=3) as connection:
        connection.sendall(head)
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_gets_the_refusal_of_a_large_file(url, tmp_path):
    (tmp_path / "big").write_bytes(b"x" * 3_000_000)
    done = subprocess.run(
        ["curl", "-sS", "-X", "POST", "--data-binary", f"@{tmp_path}/big", url + "/length"],
        capture_output=True,
        check=False,
    )
    assert json.loads(done.stdout)["status"] == 413, done.stderr


@pytest.mark.parametrize("path", ["/length", "/deaf"])
def test_an_encoded_body_is_refused_before_any_route(url, path):
    body = gzip.compress(b"{}")
    answer = httpx.post(url + path, content=body, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "identity")
    assert answer.json()["type"] == "urn:finerank:problem:body-encoded"
    assert answer.json()["detail"] == (
        "Content-Encoding is 'gzip': bodies are read as they are;"
        " send it uncompressed, without this header"
    )


def test_identity_is_no_encoding(url):
    answer = httpx.post(url + "/length", content=b"xyz", headers={"Content-Encoding": "Identity"})
    assert (answer.status_code, answer.text) == (200, "3")
