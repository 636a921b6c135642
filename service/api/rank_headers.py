"""What a rank request says in its headers, read in one pass. Knows nothing of admission."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from service.api.deadline import TIMEOUTS, read_timeouts
from service.errors import MalformedHeader

REQUEST_ID = b"x-request-id"

_LENGTH = b"content-length"
_PLAIN = re.compile(rb"[!-~]{1,128}")


class RankHeaders(NamedTuple):
    """`malformed` is what is wrong with the deadline, for the answer to say."""

    timeout_ms: float | None
    malformed: MalformedHeader | None
    request_id: str | None  # None also when it cannot be used as one
    body_bytes: int | None  # as declared


def read_rank_headers(raw: Iterable[tuple[bytes, bytes]]) -> RankHeaders:
    """Read them; names are in lower case. Of a header given twice the first counts, the deadlines
    aside: the smallest of them all does.
    """
    timeouts: list[tuple[bytes, bytes]] = []
    request_id = length = None
    for name, value in raw:
        if name in TIMEOUTS:
            timeouts.append((name, value))
        elif name == REQUEST_ID and request_id is None:
            request_id = value
        elif name == _LENGTH and length is None:
            length = value
    timeout_ms = malformed = None
    if timeouts:
        try:
            timeout_ms = read_timeouts(timeouts)
        except MalformedHeader as err:
            malformed = err
    return RankHeaders(
        timeout_ms,
        malformed,
        request_id.decode() if request_id is not None and _PLAIN.fullmatch(request_id) else None,
        int(length) if length is not None and length.isdigit() else None,
    )
