"""What a swap drill says: latency of quiet and of swapping time, and the slope of memory."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from loadtest.samples import Sample

_DRAWS = 2_000
_SETTLING = 5  # first swaps, in which caches and the allocator's arenas fill


def ratio_of(
    percent: int,
    quiet: Sequence[NDArray[np.float64]],
    swapping: Sequence[NDArray[np.float64]],
    seed: int = 1,
) -> dict[str, float]:
    """A percentile of swapping over quiet time, with its 95 % interval.

    Args:
        percent: 50 is the median.
        quiet, swapping: latencies (ms) by window; windows, not requests, are drawn anew for the
            interval: requests of one window wait in the same queue.
        seed: of the draws.
    """
    draw = np.random.default_rng(seed)

    def found(parts: Sequence[NDArray[np.float64]]) -> float:
        return float(np.percentile(np.concatenate(parts), percent, method="inverted_cdf"))

    ratios = [found(_again(swapping, draw)) / found(_again(quiet, draw)) for _ in range(_DRAWS)]
    low, high = np.percentile(ratios, [2.5, 97.5])
    return {
        f"quiet_p{percent}_ms": round(found(quiet), 3),
        f"swapping_p{percent}_ms": round(found(swapping), 3),
        "ratio": round(found(swapping) / found(quiet), 4),
        "low": round(float(low), 4),
        "high": round(float(high), 4),
    }


def memory_slope(rss_mib: Sequence[float]) -> dict[str, float]:
    """MiB a swap, by least squares after the first swaps, with its standard error."""
    settled = np.array(rss_mib[min(_SETTLING, len(rss_mib) // 2) :], float)
    swaps = np.arange(len(settled), dtype=float)
    if len(settled) < 3:
        raise ValueError(f"{len(rss_mib)} swaps are too few for a slope")
    slope, start = np.polyfit(swaps, settled, 1)
    residual = settled - (slope * swaps + start)
    spread = np.sqrt((residual**2).sum() / (len(settled) - 2) / ((swaps - swaps.mean()) ** 2).sum())
    return {
        "first_mib": round(float(settled[0]), 1),
        "last_mib": round(float(settled[-1]), 1),
        "mib_per_swap": round(float(slope), 4),
        "standard_error": round(float(spread), 4),
    }


def windows(samples: Sequence[Sample], seconds: float) -> list[NDArray[np.float64]]:
    """Latencies (ms) by window of this many seconds, from the instants requests were due."""
    found: dict[int, list[float]] = {}
    for one in samples:
        found.setdefault(int(one.due_at // seconds), []).append(one.latency_ms)
    return [np.array(found[key]) for key in sorted(found)]


def failures(samples: Sequence[Sample]) -> dict[str, int]:
    """Requests without a full answer: by status, and degraded ones by reason."""
    counts: dict[str, int] = {}
    for one in samples:
        names: Sequence[Any] = one.degraded if one.status == 200 else (f"status {one.status}",)
        for name in names:
            counts[str(name)] = counts.get(str(name), 0) + 1
    return counts


def _again(
    parts: Sequence[NDArray[np.float64]], draw: np.random.Generator
) -> list[NDArray[np.float64]]:
    return [parts[n] for n in draw.integers(len(parts), size=len(parts))]
