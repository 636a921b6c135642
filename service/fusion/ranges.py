"""A range of float64 numbers."""

import math
from dataclasses import dataclass

MAX = 1.7976931348623157e308
_SAME = 1e-9  # relative width below which a range counts as one value


@dataclass(frozen=True)
class Range:
    """The closed interval [low, high], both finite; empty when low > high."""

    low: float
    high: float

    @property
    def empty(self) -> bool:
        return self.low > self.high

    @property
    def is_point(self) -> bool:
        """Whether it is, but for rounding, one value."""
        return self.high - self.low <= _SAME * max(abs(self.low), abs(self.high))

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def join(self, other: "Range") -> "Range":
        """The least range around both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    def meet(self, other: "Range") -> "Range":
        """What is in both; may be empty."""
        return Range(max(self.low, other.low), min(self.high, other.high))

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.low:g}"
        return f"{self.low:g} … {self.high:g}"


def point(value: float) -> Range:
    return Range(value, value)


EMPTY = Range(math.inf, -math.inf)
UNKNOWN = Range(-MAX, MAX)
FALSE, TRUE, EITHER = Range(0, 0), Range(1, 1), Range(0, 1)
