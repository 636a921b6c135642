"""The drill's figures: a ratio of tails with its interval, a slope of memory, what failed."""

import numpy as np
import pytest

from loadtest.samples import Sample
from loadtest.swap_summary import failures, memory_slope, ratio_of, windows


def answered(due_at: float, latency_ms: float, *degraded: str, status: int = 200) -> Sample:
    return Sample(due_at, due_at, due_at + latency_ms / 1e3, status, 500, degraded)


def test_equal_loads_have_a_ratio_of_one_inside_the_interval():
    draw = np.random.default_rng(3)
    quiet, swapping = ([draw.gamma(4, 3, 200) for _ in range(30)] for _ in range(2))
    found = ratio_of(99, quiet, swapping)
    assert found["low"] < 1 < found["high"]
    assert found["ratio"] == pytest.approx(1, abs=0.2)


def test_a_tail_twice_as_long_is_a_ratio_of_two():
    draw = np.random.default_rng(3)
    quiet = [draw.gamma(4, 3, 200) for _ in range(30)]
    found = ratio_of(99, quiet, [2 * window for window in quiet])
    assert found["ratio"] == pytest.approx(2)
    assert found["low"] > 1


def test_a_longer_tail_leaves_the_median_as_it_was():
    quiet = [np.arange(1.0, 101.0) for _ in range(30)]
    swapping = [np.where(window > 90, 10 * window, window) for window in quiet]
    assert ratio_of(50, quiet, swapping) == {
        "quiet_p50_ms": 50,
        "swapping_p50_ms": 50,
        "ratio": 1,
        "low": 1,
        "high": 1,
    }
    assert ratio_of(99, quiet, swapping)["swapping_p99_ms"] == 990


def test_slope_leaves_out_the_first_swaps_and_comes_with_its_error():
    flat = memory_slope([100, 150, 180, 190, 195, *[200, 201, 199] * 10])
    assert abs(flat["mib_per_swap"]) < 2 * flat["standard_error"]
    growing = memory_slope([300.0 + 4 * n for n in range(50)])
    assert growing["mib_per_swap"] == pytest.approx(4)
    assert growing["standard_error"] == pytest.approx(0, abs=1e-6)


def test_two_swaps_have_no_slope():
    with pytest.raises(ValueError, match="2 swaps are too few for a slope"):
        memory_slope([1.0, 2.0])


def test_windows_hold_latencies_by_the_instant_they_were_due():
    found = windows([answered(0.1, 5), answered(7.9, 9), answered(8.0, 2)], 4.0)
    assert [part.tolist() for part in found] == [
        [pytest.approx(5)],
        [pytest.approx(9)],
        [pytest.approx(2)],
    ]


def test_failures_are_counted_by_status_and_reason():
    samples = [answered(0, 5), answered(0, 5, "deadline"), answered(0, 5, status=503)]
    assert failures(samples) == {"deadline": 1, "status 503": 1}
