"""A window holds the last seconds and nothing older; its 99th percentile is right within 3 %."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.experiment.window import Figures, Window

INSTANTS = st.lists(st.floats(0, 200), max_size=60).map(sorted)


@given(INSTANTS)
def test_a_window_forgets_what_is_older_and_keeps_what_is_younger_by_a_slice(instants: list[float]):
    window = Window(30)
    for at in instants:
        window.now(at).add(False, 10, 1, 5.0)
    end = instants[-1] if instants else 0.0
    found = window.sum(end).requests
    assert sum(at > end - 28 + 1e-6 for at in instants) <= found
    assert found <= sum(at > end - 30 - 1e-6 for at in instants)


@given(st.lists(st.floats(0.1, 5_000), min_size=1, max_size=400))
def test_the_99th_percentile_is_within_three_percent(latencies: list[float]):
    figures = Figures()
    for ms in latencies:
        figures.add(False, 1, 0, ms)
    exact = np.quantile(latencies, 0.99, method="inverted_cdf")
    assert figures.p99_ms == pytest.approx(exact, rel=0.03)


def test_figures_add_up_and_can_be_taken_apart():
    one, two = Figures(), Figures()
    for _ in range(3):
        one.add(True, 100, 5, 2.0)
    two.add(False, 50, 0, 900.0)
    both = one + two
    assert (both.requests, both.degraded, both.candidates, both.invalid) == (4, 3, 350, 15)
    assert both - two == one
    assert (one.degraded_share, one.invalid_share) == (1.0, 0.05)


def test_nothing_has_no_share_and_no_latency():
    assert (Figures().degraded_share, Figures().invalid_share, Figures().p99_ms) == (0, 0, 0)
