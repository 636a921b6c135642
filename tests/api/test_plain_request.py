"""What the lane takes as one whole request, the HTTP parser takes as the very same one."""

import re

import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.api.plain_request import read_plain

BODY = b'{"items":[]}'
MOST = 1 << 20


def request(*lines: bytes, start: bytes = b"POST /rank HTTP/1.1", body: bytes = BODY) -> bytes:
    return b"\r\n".join([start, *lines, b"", body])


LENGTH = b"Content-Length: %d" % len(BODY)
PLAIN = request(b"Host: x", b"Content-Type: application/json", LENGTH)


class Parsed:
    """What httptools, the parser of the server, makes of the same bytes."""

    def __init__(self, chunk: bytes) -> None:
        self.events: list[str] = []
        self.url = self.body = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.parser = httptools.HttpRequestParser(self)
        self.parser.feed_data(chunk)

    def on_message_begin(self) -> None:
        self.events.append("begin")

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name.lower(), value))

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.events.append("complete")


@pytest.mark.parametrize("path", [b"/rank", b"/v1/rank"])
def test_a_plain_request_is_read(path: bytes) -> None:
    start = b"POST %s HTTP/1.1" % path
    chunk = request(b"X-Request-Id: r-1", b"x-request-timeout-MS:40", LENGTH, start=start)
    found = read_plain(chunk, MOST)
    assert found is not None
    assert (found.path, found.content) == (path.decode(), BODY)
    assert found.headers == (40.0, None, "r-1", len(BODY))


@pytest.mark.parametrize(
    "lines",
    [
        [b"Connection: keep-alive"],
        [b"connection: Keep-Alive"],
        [b"Accept:"],
        [b"Accept: "],
        [b"User-Agent: a b\tc"],
        [b"Content_Length: 7"],
        [b"X-Content-Length: 7"],
        [b"traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"],
    ],
    ids=repr,
)
def test_headers_that_change_nothing_are_let_through(lines: list[bytes]) -> None:
    chunk = request(*lines, LENGTH)
    found = read_plain(chunk, MOST)
    assert found is not None
    assert found.content == Parsed(chunk).body == BODY


ELSEWHERE = {
    "no length": request(b"Host: x"),
    "two lengths": request(LENGTH, LENGTH),
    "two different lengths": request(LENGTH, b"Content-Length: 5"),
    "a list of lengths": request(b"Content-Length: 12, 12"),
    "a signed length": request(b"Content-Length: +12"),
    "a length in hex": request(b"Content-Length: 0xc"),
    "a length with an underscore": request(b"Content-Length: 1_2"),
    "an empty length": request(b"Content-Length:"),
    "a length over all bounds": request(b"Content-Length: 99999999999999999999"),
    "a body over the limit": request(b"Content-Length: %d" % (MOST + 1), body=b" " * (MOST + 1)),
    "a body that is not all there": PLAIN[:-1],
    "a byte behind the body": PLAIN + b"\n",
    "a second request behind the body": PLAIN + PLAIN,
    "a line end before": b"\r\n" + PLAIN,
    "a head without its end": PLAIN[: PLAIN.index(b"\r\n\r\n") + 3],
    "no header at all": b"POST /rank HTTP/1.1\r\n\r\n",
    "an encoded body": request(LENGTH, b"Content-Encoding: gzip"),
    "chunked": request(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
    "chunked and a length": request(LENGTH, b"Transfer-Encoding: chunked"),
    "an unknown coding": request(LENGTH, b"transfer-encoding: identity"),
    "a continue is awaited": request(LENGTH, b"Expect: 100-continue"),
    "an upgrade": request(LENGTH, b"Connection: upgrade", b"Upgrade: websocket"),
    "an upgrade nobody announces": request(LENGTH, b"Upgrade: h2c"),
    "a connection that ends": request(LENGTH, b"Connection: close"),
    "a connection that ends after all": request(
        LENGTH, b"Connection: keep-alive", b"Connection: close"
    ),
    "connection options": request(LENGTH, b"Connection: keep-alive, close"),
    "a proxy's connection": request(LENGTH, b"Proxy-Connection: close"),
    "trailers": request(LENGTH, b"Trailer: x"),
    "transfer codings wanted": request(LENGTH, b"TE: trailers"),
    "a folded line": request(b"Host: x\r\n y", LENGTH),
    "a folded length": request(b"Content-Length:\r\n 12"),
    "a space before the colon": request(b"Content-Length : 12"),
    "a space behind the value": request(b"Content-Length: 12 "),
    "two spaces before the value": request(b"Content-Length:  12"),
    "a tab before the value": request(b"Content-Length:\t12"),
    "a line without a colon": request(b"Host", LENGTH),
    "an empty name": request(b": x", LENGTH),
    "a NUL": request(b"X: a\0b", LENGTH),
    "a lone CR": request(b"X: a\rb", LENGTH),
    "a lone LF": request(b"X: a\nContent-Length: 0", LENGTH),
    "line ends without CR": PLAIN.replace(b"\r\n", b"\n"),
    "a byte over 127 in a value": request("X: é".encode(), LENGTH),
    "a byte over 127 in a name": request("é: x".encode(), LENGTH),
    "HTTP/1.0": request(LENGTH, start=b"POST /rank HTTP/1.0"),
    "HTTP/2": request(LENGTH, start=b"POST /rank HTTP/2"),
    "two spaces": request(LENGTH, start=b"POST  /rank HTTP/1.1"),
    "another method": request(LENGTH, start=b"PUT /rank HTTP/1.1"),
    "a method in lower case": request(LENGTH, start=b"post /rank HTTP/1.1"),
    "another path": request(LENGTH, start=b"POST /v2/rank HTTP/1.1"),
    "a longer path": request(b"Host: x", LENGTH, start=b"POST /rank/ HTTP/1.1"),
    "a query": request(LENGTH, start=b"POST /rank?x=1 HTTP/1.1"),
    "an escaped path": request(LENGTH, start=b"POST /%72ank HTTP/1.1"),
    "a whole URL": request(LENGTH, start=b"POST http://x/rank HTTP/1.1"),
}


@pytest.mark.parametrize("chunk", ELSEWHERE.values(), ids=ELSEWHERE)
def test_everything_else_is_left_to_the_parser(chunk: bytes) -> None:
    assert read_plain(chunk, MOST) is None


def test_no_part_of_a_request_is_taken_for_a_whole_one() -> None:
    assert read_plain(PLAIN, MOST) is not None
    assert [n for n in range(len(PLAIN)) if read_plain(PLAIN[:n], MOST) is not None] == []
    assert [n for n in range(1, len(PLAIN)) if read_plain(PLAIN[n:], MOST) is not None] == []


lines = st.lists(
    st.sampled_from(
        [
            LENGTH,
            b"Content-Length: 0",
            b"content-length: 012",
            b"Host: x",
            b"X-Request-Id: r",
            b"Connection: keep-alive",
            b"Connection: close",
            b"Transfer-Encoding: chunked",
            b"Keep-Alive: 5",
            b"X: y z",
            b" folded",
        ]
    ),
    max_size=4,
)
junk = st.sampled_from([b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b"\xe9", b"1", b"x"])


@st.composite
def nearly_plain(draw: st.DrawFn) -> bytes:
    """A request of lines that matter, up to two bytes of which are wrong."""
    chunk = request(*draw(lines), LENGTH)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(chunk)))
        chunk = (
            chunk[:at] + draw(st.one_of(st.just(b""), junk)) + chunk[at + draw(st.integers(0, 2)) :]
        )
    return chunk


@settings(max_examples=2000, deadline=None)
@given(chunk=nearly_plain())
def test_what_is_taken_is_one_message_to_the_parser_with_the_same_meaning(chunk: bytes) -> None:
    found = read_plain(chunk, MOST)
    if found is None:
        return
    parsed = Parsed(chunk)
    assert parsed.events == ["begin", "complete"]
    assert (parsed.url.decode(), parsed.body) == (found.path, found.content)
    assert parsed.parser.get_method() == b"POST"
    assert parsed.parser.get_http_version() == "1.1"
    assert parsed.parser.should_keep_alive()
    assert not parsed.parser.should_upgrade()
    ids = [value for name, value in parsed.fields if name == b"x-request-id"]
    usable = ids and re.fullmatch(rb"[!-~]{1,128}", ids[0])
    assert found.headers.request_id == (ids[0].decode() if usable else None)
    # The next message begins where this one ended.
    parsed.parser.feed_data(PLAIN)
    assert parsed.events == ["begin", "complete"] * 2


def test_many_headers_take_time_in_proportion() -> None:
    """A pattern that backtracks would not end here."""
    most = request(*[b"X-%d: %s" % (n, b"a b\t" * 50 + b"c") for n in range(1000)], LENGTH)
    assert read_plain(most, MOST) is not None
    assert read_plain(re.sub(rb"c(?=\r\nContent)", b"c\0", most), MOST) is None
