"""A ramp only lets in, and a condition decides by the values of the request."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.experiment.assignment import layer_slots
from service.experiment.document import Experiment, Layer, RampStep, read_instant
from service.experiment.gate import gate_of, is_met, whole_buckets
from service.fusion import compile_condition

STEPS = [("2026-11-01T00:00:00Z", 1.0), ("2026-11-03T00:00:00Z", 5.0)]


def experiment(buckets: list[list[int]], **more: Any) -> Experiment:
    arms = [{"name": "a", "share": 1}, {"name": "b", "share": 3}]
    document = {"name": "e", "buckets": buckets, "arms": arms, **more}
    return Experiment.model_validate_json(json.dumps(document))


def ramp(*steps: tuple[str, float]) -> list[dict[str, Any]]:
    return [{"at": at, "percent": percent} for at, percent in steps]


def instant(text: str) -> float:
    return read_instant(text).timestamp()


def test_an_experiment_of_buckets_alone_has_no_gate():
    assert gate_of(experiment([[0, 99]])) is None


def test_a_ramp_takes_the_buckets_in_the_order_written():
    gate = gate_of(experiment([[5000, 5149], [0, 999]], ramp=ramp(*STEPS)))
    assert gate is not None
    assert gate.ramp is not None

    def inside(at: str) -> list[int]:
        slots = [*range(5000, 5150), *range(1000)]
        return [s for s in slots if gate.lets_in(s, instant(at), {}, {})]

    assert inside("2026-10-31T23:59:59Z") == []
    assert inside("2026-11-01T00:00:00Z") == list(range(5000, 5100))
    assert inside("2026-11-02T23:59:59Z") == list(range(5000, 5100))
    assert inside("2026-11-03T00:00:00Z") == [*range(5000, 5150), *range(350)]


def test_times_are_instants_whatever_their_zone():
    gate = gate_of(experiment([[0, 99]], ramp=ramp(("2026-11-01T08:00:00+08:00", 1.0))))
    assert gate is not None
    assert gate.lets_in(0, instant("2026-11-01T00:00:00Z"), {}, {})
    assert not gate.lets_in(0, instant("2026-10-31T23:59:59Z"), {}, {})


@pytest.mark.parametrize(("percent", "size"), [(0, 0), (0.01, 1), (33.33, 3333), (0.005, None)])
def test_a_step_is_a_whole_number_of_buckets(percent: float, size: int | None):
    step = RampStep(at="2026-11-01T00:00:00Z", percent=percent)
    assert whole_buckets(step) == size


@given(
    st.lists(st.integers(1, 1500), min_size=1, max_size=5),
    st.lists(st.integers(0, 10_000), min_size=1, max_size=6).map(sorted),
    st.randoms(use_true_random=False),
)
def test_growing_moves_nobody_who_is_in(widths: list[int], sizes: list[int], random: Any):
    """Whoever is in an arm at some time is in the same arm at every later time."""
    ends = [sum(widths[: i + 1]) for i in range(len(widths))]
    ranges = [[end - width, end - 1] for width, end in zip(widths, ends, strict=True)]
    random.shuffle(ranges)
    steps = [
        (f"2026-11-{day:02}T00:00:00Z", min(size, ends[-1]) / 100)
        for day, size in enumerate(sizes, 1)
    ]
    document = experiment(ranges, ramp=ramp(*steps)).model_dump(mode="json", exclude_none=True)
    layer = {"name": "l", "salt": "s", "experiments": [document]}
    slots = layer_slots(Layer.model_validate_json(json.dumps(layer)))
    units = [str(random.randrange(10**9)) for _ in range(200)]
    before = dict.fromkeys(units, 0)
    for at, percent in steps:
        now_s = instant(at) + 1
        inside = 0
        for unit in units:
            slot = slots.hash.bucket(slots.salt, unit)
            choice = slots.take(slot, unit, now_s)
            assert not before[unit] or choice == before[unit]
            before[unit] = choice
            inside += choice > 0
        found = next(e for e in slots.experiments if e is not None)
        assert found.gate is not None
        assert found.gate.ramp is not None
        assert found.gate.ramp.size(now_s) == round(percent * 100)


def test_a_condition_reads_inline_values_and_context():
    when = compile_condition("context.tab == 1 and user.is_new == 1")
    assert is_met(when, {"is_new": True}, {"tab": "1"})
    assert is_met(when, {"is_new": 1}, {"tab": 1.0})
    assert not is_met(when, {"is_new": False}, {"tab": 1})
    assert not is_met(when, {}, {"tab": 1})
    assert not is_met(when, {"is_new": "yes"}, {"tab": 1})
    assert not is_met(when, {"is_new": None}, {"tab": 1})


def test_what_is_absent_meets_neither_a_condition_nor_its_opposite():
    assert not is_met(compile_condition("user.age >= 18"), {}, {})
    assert not is_met(compile_condition("not user.age >= 18"), {}, {})


def test_the_ramp_and_the_condition_must_both_let_in():
    gate = gate_of(experiment([[0, 99]], ramp=ramp(*STEPS[:1]), when="context.tab == 1"))
    assert gate is not None
    assert gate.lets_in(0, instant("2026-11-02T00:00:00Z"), {}, {"tab": 1})
    assert not gate.lets_in(0, instant("2026-11-02T00:00:00Z"), {}, {"tab": 2})
    assert not gate.lets_in(0, instant("2026-10-02T00:00:00Z"), {}, {"tab": 1})
