"""Recognise a plain rank request in the bytes that a connection received. Knows no connection.

Two readers of one byte stream that disagree where a message ends are how requests are smuggled. So
this one never decides: it takes only what has one meaning, and leaves the rest to the HTTP parser,
untouched. Taken is, and nothing else:

- `POST /rank HTTP/1.1` or `/v1/rank`, letter by letter, with single spaces and CR LF line ends;
- header lines `name: value` of printable ASCII, the name a token, at most one space before the
  value and none behind it, none folded;
- exactly one `Content-Length`, of one to nine digits, and exactly so many bytes after the head, all
  in the same chunk, the last of which ends it;
- none of the headers that change the meaning of a message or of the connection, of which
  `Connection: keep-alive` does not.
"""

import re
from typing import NamedTuple

from service.api.rank_headers import RankHeaders, read_rank_headers

# Possessive throughout: no chunk, however built, is walked twice.
_HEAD = re.compile(
    rb"POST (/(?:v1/)?rank) HTTP/1\.1\r\n"
    rb"((?:[!#$%&'*+\-.^_`|~0-9A-Za-z]++: ?+(?:[!-~]++(?:[ \t]++[!-~]++)*+)?+\r\n)++)\r\n"
)
_FIELD = re.compile(rb"([^:]++): ?+([^\r]*+)\r\n")
_STARTS = (b"POST /rank ", b"POST /v1/rank ")
_LENGTH = re.compile(rb"[0-9]{1,9}")
_ELSEWHERE = frozenset(
    {
        b"content-encoding",
        b"content-length",  # a second one
        b"connection",  # unless keep-alive
        b"expect",
        b"proxy-connection",  # the parser reads it as Connection
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)


class PlainRequest(NamedTuple):
    """One whole request."""

    path: str
    headers: RankHeaders
    content: bytes


def read_plain(chunk: bytes, max_body_bytes: int) -> PlainRequest | None:
    """The request that `chunk` is, if it is one whole plain one and no byte more.

    `chunk` must begin where a message does.
    """
    if not chunk.startswith(_STARTS):
        return None
    head = _HEAD.match(chunk)
    if head is None:
        return None
    fields = [(name.lower(), value) for name, value in _FIELD.findall(head[2])]
    length = None
    for name, value in fields:
        if name in _ELSEWHERE:
            if name == b"content-length" and length is None and _LENGTH.fullmatch(value):
                length = int(value)
            elif name != b"connection" or value.lower() != b"keep-alive":
                return None
    if length is None or length > max_body_bytes or len(chunk) != head.end() + length:
        return None
    return PlainRequest(head[1].decode(), read_rank_headers(fields), chunk[head.end() :])
