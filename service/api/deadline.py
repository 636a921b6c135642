"""Read how long a caller is willing to wait. Knows headers and durations, no clock.

Three headers are understood, the smallest wins. Ours, `X-Request-Timeout-Ms`, is written for
this service and must lie in 1 … 5000 ms. The other two are written by meshes and gRPC clients for
a whole call and are often longer (Envoy's own default is 15 s): above 5000 ms they are cut to it.
"""

import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import lru_cache

from starlette.datastructures import Headers

from service.errors import Fault, MalformedHeader

SMALLEST_MS = 1
LARGEST_MS = 5000

_WHOLE = re.compile(r"[0-9]{1,18}")
_GRPC = re.compile(r"([0-9]{1,8})([HMSmun])")  # the gRPC wire format: at most 8 digits and one unit
_GRPC_UNIT_MS = {
    "H": Fraction(3_600_000),
    "M": Fraction(60_000),
    "S": Fraction(1_000),
    "m": Fraction(1),
    "u": Fraction(1, 1_000),
    "n": Fraction(1, 1_000_000),
}


def _milliseconds(text: str) -> Fraction | None:
    return Fraction(int(text)) if _WHOLE.fullmatch(text) else None


def _grpc(text: str) -> Fraction | None:
    match = _GRPC.fullmatch(text)
    return int(match[1]) * _GRPC_UNIT_MS[match[2]] if match else None


# header -> (how to read it, what it must look like, whether a longer wait is refused)
_HEADERS: dict[str, tuple[Callable[[str], Fraction | None], str, bool]] = {
    "X-Request-Timeout-Ms": (_milliseconds, "a whole number of milliseconds", True),
    "x-envoy-expected-rq-timeout-ms": (_milliseconds, "a whole number of milliseconds", False),
    "grpc-timeout": (_grpc, "1 to 8 digits and a unit (H M S m u n)", False),
}


TIMEOUTS = {name.lower().encode(): name for name in _HEADERS}  # as ASGI has them


def read_timeout_ms(headers: Headers) -> float | None:
    """The smallest timeout that the headers name, in ms; None when they name none.

    Raises:
        MalformedHeader: a header that is no duration, or one outside 1 … 5000 ms.
    """
    return read_timeouts(pair for pair in headers.raw if pair[0] in TIMEOUTS)


def read_timeouts(given: Iterable[tuple[bytes, bytes]]) -> float | None:
    """The smallest of some of `TIMEOUTS`, in ms; None of none.

    Raises:
        MalformedHeader: as `read_timeout_ms` does.
    """
    found = (_read(TIMEOUTS[name], value.decode("latin-1").strip()) for name, value in given)
    return min(found, default=None)


@lru_cache(maxsize=256)  # callers have few timeouts
def _read(name: str, text: str) -> float:
    read, form, refuse_longer = _HEADERS[name]
    value = read(text)
    if value is None:
        raise _refusal(name, text, f"is not {form}")
    if value < SMALLEST_MS or (refuse_longer and value > LARGEST_MS):
        raise _refusal(name, text, f"is outside {SMALLEST_MS} … {LARGEST_MS} ms")
    return float(min(value, Fraction(LARGEST_MS)))


def _refusal(name: str, text: str, rule: str) -> MalformedHeader:
    detail = f"{name}: {text[:40]!r} {rule}"
    return MalformedHeader(detail, faults=[Fault(detail, header=name)])
