"""What one request told the generator, and the numbers that stand for many of them."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from loadtest.http_client import Reply

UNANSWERED = 0  # the status of a request without a reply: connection lost, or the run ended first

PERCENTILES = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99_9": 99.9, "max": 100.0}

_BUCKET = 1.01  # neighbouring histogram buckets differ by 1 %

_DEGRADED = re.compile(rb'"degraded"\s*:\s*\[([^\]]*)\]')
_STAGE = re.compile(r"([A-Za-z_]+)\s*;\s*dur=([0-9.eE+-]+)")


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. Instants are seconds since the run began.

    Attributes:
        due_at: when it should have been sent; latency counts from here.
        sent_at: when a connection took it, or None.
        done_at: when its reply was complete, or when the run gave up on it.
    """

    due_at: float
    sent_at: float | None
    done_at: float
    status: int
    candidates: int
    degraded: tuple[str, ...] = ()
    server_timing: str = ""
    retry_after: bool = False

    @property
    def latency_ms(self) -> float:
        """From the intended send time, so a wait in the generator is not left out."""
        return (self.done_at - self.due_at) * 1e3

    @property
    def from_sent_ms(self) -> float:
        """From when it was sent: what is not the generator's; all of it when it never was."""
        return (self.done_at - (self.due_at if self.sent_at is None else self.sent_at)) * 1e3

    @property
    def is_full(self) -> bool:
        """Answered, with nothing degraded."""
        return self.status == 200 and not self.degraded


class Exchange(NamedTuple):
    """What is noted of a request while a run lasts; all reading of replies comes after it."""

    due_at: float
    sent_at: float | None
    done_at: float
    candidates: int
    reply: Reply | None

    def sample(self) -> Sample:
        reply = self.reply or Reply(UNANSWERED, b"", b"")
        return Sample(
            due_at=self.due_at,
            sent_at=self.sent_at,
            done_at=self.done_at,
            status=reply.status,
            candidates=self.candidates,
            degraded=degraded_reasons(reply.body),
            server_timing=reply.header("server-timing") or "",
            retry_after=reply.header("retry-after") is not None,
        )


def degraded_reasons(body: bytes) -> tuple[str, ...]:
    """The reply's reason codes, by the beginning of its body; () where there is no such field."""
    found = _DEGRADED.search(body)
    if found is None:
        return ()
    return tuple(part.strip(b' "').decode() for part in found[1].split(b",") if part.strip())


def summarise(samples: Sequence[Sample], seconds: float) -> dict[str, Any]:
    """Counts, rates and percentiles of a run of `seconds`.

    Latencies are of all requests, refused and unanswered ones too (an unanswered one waited at
    least as long as stated), then of full answers and of refusals apart; None where there is none.
    `lag_ms` is how late the generator sent: if it is not small, the generator was the bottleneck.
    `refused_from_sent_ms` leaves that out.
    """
    full = [s for s in samples if s.is_full]
    refused = [s for s in samples if s.status in (429, 503)]
    lags = [(s.sent_at - s.due_at) * 1e3 for s in samples if s.sent_at is not None]
    return {
        "requests": len(samples),
        "seconds": round(seconds, 3),
        "statuses": {str(k): v for k, v in sorted(Counter(s.status for s in samples).items())},
        "degraded": dict(Counter(reason for s in samples for reason in s.degraded)),
        "full": len(full),
        "full_per_s": round(sum(s.done_at <= seconds for s in full) / seconds, 3),
        "refused": len(refused),
        "refused_with_retry_after": sum(s.retry_after for s in refused),
        "latency_ms": percentiles([s.latency_ms for s in samples]),
        "full_latency_ms": percentiles([s.latency_ms for s in full]),
        "refused_latency_ms": percentiles([s.latency_ms for s in refused]),
        "refused_from_sent_ms": percentiles([s.from_sent_ms for s in refused]),
        "histogram": histogram([s.latency_ms for s in samples]),
        "lag_ms": percentiles(lags),
        "stages_ms": stage_medians(samples),
    }


def goodput(samples: Sequence[Sample], limit_ms: float, seconds: float) -> dict[str, float]:
    """Answers a second that took at most `limit_ms`: full ones, and degraded ones included."""
    in_time = [s for s in samples if s.status == 200 and s.latency_ms <= limit_ms]
    return {
        "goodput_per_s": round(sum(s.is_full for s in in_time) / seconds, 3),
        "in_time_per_s": round(len(in_time) / seconds, 3),
    }


def percentiles(values: Sequence[float]) -> dict[str, float] | None:
    """Percentiles that occurred (no interpolation between two requests), or None for no values."""
    if not values:
        return None
    found = np.percentile(values, list(PERCENTILES.values()), method="inverted_cdf")
    return {name: round(float(v), 3) for name, v in zip(PERCENTILES, found, strict=True)}


def histogram(values: Sequence[float]) -> dict[str, int]:
    """Bucket -> count, so that rounds can be pooled: bucket k ends at 1.01^k (ms)."""
    buckets = np.ceil(np.log(np.maximum(values, 1e-3)) / np.log(_BUCKET)).astype(int).tolist()
    return {str(k): n for k, n in sorted(Counter(buckets).items())}


def pooled_percentiles(histograms: Sequence[Mapping[str, int]]) -> dict[str, float] | None:
    """Percentiles of several runs together, up to 1 % too large; None when nothing was counted."""
    pooled: Counter[int] = Counter()
    for one in histograms:
        pooled.update({int(k): n for k, n in one.items()})
    ends = sorted(pooled)
    return percentiles(np.repeat([_BUCKET**k for k in ends], [pooled[k] for k in ends]).tolist())


def stage_medians(samples: Sequence[Sample]) -> dict[str, float]:
    """Stage -> median milliseconds, from the `Server-Timing` headers of full answers."""
    stages: dict[str, list[float]] = defaultdict(list)
    for one in samples:
        if one.is_full:
            for name, milliseconds in _STAGE.findall(one.server_timing):
                stages[name].append(float(milliseconds))
    return {name: round(float(np.median(values)), 4) for name, values in stages.items()}
