"""What happened in the last seconds: counts and a latency histogram in a ring of time slices.

Adding costs the same whatever the traffic and the window; the memory is bounded.
"""

from collections import Counter
from dataclasses import dataclass, field
from math import log2
from typing import Self

_SLICES = 15
_PER_OCTAVE = 24  # latency buckets: neighbours differ by 3 %
_LEAST_MS = 0.01


@dataclass
class Figures:
    """Requests and what became of them. `candidates`: scored ones; `invalid`: those among them."""

    requests: int = 0
    degraded: int = 0
    candidates: int = 0
    invalid: int = 0
    latencies: Counter[int] = field(default_factory=Counter, repr=False)

    @property
    def degraded_share(self) -> float:
        return self.degraded / self.requests if self.requests else 0.0

    @property
    def invalid_share(self) -> float:
        return self.invalid / self.candidates if self.candidates else 0.0

    @property
    def p99_ms(self) -> float:
        """Within 3 % of the 99th percentile of the latencies; 0 without any."""
        left = self.latencies.total() - int(0.99 * self.latencies.total())
        for bucket in sorted(self.latencies, reverse=True):
            left -= self.latencies[bucket]
            if left <= 0:
                return float(_LEAST_MS * 2 ** ((bucket + 0.5) / _PER_OCTAVE))
        return 0.0

    def add(self, degraded: bool, candidates: int, invalid: int, latency_ms: float) -> None:
        self.requests += 1
        self.degraded += degraded
        self.candidates += candidates
        self.invalid += invalid
        bucket = int(_PER_OCTAVE * log2(latency_ms / _LEAST_MS)) if latency_ms > _LEAST_MS else 0
        self.latencies[bucket] += 1

    def __add__(self, other: Self) -> "Figures":
        return Figures(
            self.requests + other.requests,
            self.degraded + other.degraded,
            self.candidates + other.candidates,
            self.invalid + other.invalid,
            self.latencies + other.latencies,
        )

    def __sub__(self, part: Self) -> "Figures":
        return Figures(
            self.requests - part.requests,
            self.degraded - part.degraded,
            self.candidates - part.candidates,
            self.invalid - part.invalid,
            self.latencies - part.latencies,
        )


class Window:
    """The last `seconds`, on a clock that its callers read."""

    def __init__(self, seconds: float) -> None:
        self._slice_s = seconds / _SLICES
        self._numbers = [-1] * _SLICES
        self._slices = [Figures() for _ in range(_SLICES)]

    def now(self, now_s: float) -> Figures:
        """Where to add what happens at `now_s`."""
        number = int(now_s / self._slice_s)
        place = number % _SLICES
        if self._numbers[place] != number:
            self._numbers[place] = number
            self._slices[place] = Figures()
        return self._slices[place]

    def sum(self, now_s: float) -> Figures:
        """Everything in the window that ends at `now_s`."""
        first = int(now_s / self._slice_s) - _SLICES + 1
        found = Figures()
        for number, figures in zip(self._numbers, self._slices, strict=True):
            if number >= first:
                found += figures
        return found
