"""Stages are timed once each, one after the other."""

import pytest

from service.scoring.stages import Stages


def stages_of(*instants: float) -> Stages:
    ticks = iter(instants)
    return Stages(lambda: next(ticks))


def test_stage_takes_what_the_clock_says_in_ms() -> None:
    stages = stages_of(1.0, 1.25, 2.0, 2.5)
    with stages.timed("encode"):
        pass
    with stages.timed("run"):
        pass
    assert stages.ms == {"encode": 250.0, "run": 500.0}


def test_stage_that_fails_is_timed_too() -> None:
    stages = stages_of(1.0, 1.5)
    with pytest.raises(KeyError), stages.timed("run"):
        raise KeyError
    assert stages.ms == {"run": 500.0}


def test_stage_is_not_timed_twice() -> None:
    stages = stages_of(1.0, 1.5, 2.0)
    with stages.timed("run"):
        pass
    with pytest.raises(ValueError, match="stage 'run' is timed twice"), stages.timed("run"):
        pass


def test_wait_counts_from_its_instant_and_once() -> None:
    stages = stages_of(2.0, 3.0)
    stages.waited("wait", since=1.5)
    assert stages.ms == {"wait": 500.0}
    with pytest.raises(ValueError, match="stage 'wait' is timed twice"):
        stages.waited("wait", since=1.5)


def test_stage_does_not_start_inside_another() -> None:
    stages = stages_of(1.0, 1.5, 2.0)
    with (
        pytest.raises(ValueError, match="stage 'run' starts inside stage 'encode'"),
        stages.timed("encode"),
        stages.timed("run"),
    ):
        pass
