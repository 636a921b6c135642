"""What logging adds is the median of paired turns, so that a machine that slows down adds none."""

import numpy as np

from loadtest.log_cost import OFF, ON, Turn, added_percent, summary


def test_a_machine_that_changes_between_pairs_does_not_change_the_ratio():
    speed = np.linspace(1.0, 3.0, 20)
    off = 10.0 * speed
    assert added_percent(off, 1.02 * off) == {"median": 2.0, "low": 2.0, "high": 2.0}


def test_the_interval_holds_the_ratio_that_noise_is_about():
    held = 0
    for seed in range(100):
        draw = np.random.default_rng(seed)
        noise = draw.normal(0.0, 0.04, 30)
        found = added_percent(np.full(30, 10.0), 10.0 * (1.02 + noise))
        assert found["low"] < found["median"] < found["high"]
        held += found["low"] <= 2.0 <= found["high"]
    assert held >= 88  # of 100, about 95


def test_the_writing_thread_has_a_row_of_its_own():
    turns = {OFF: [Turn(10.0, 0.0)] * 4, ON: [Turn(10.3, 0.1)] * 2 + [Turn(10.4, 0.2)] * 2}
    found = summary(turns)
    assert (found["off_ms"], found["on_ms"], found["writer_ms"]) == (10.0, 10.35, 0.15)
    assert found["added_percent"]["median"] == 3.5
    assert found["writer_percent"]["median"] == 1.5
    assert found["rest_percent"] == {"median": 2.0, "low": 2.0, "high": 2.0}
