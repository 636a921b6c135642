"""What was served is counted by arm, in distinct units, and without those put there by hand."""

from dataclasses import dataclass, field
from typing import Any

import pytest

from service.experiment.served import MOST_UNITS, Served, Tally, percent_now
from service.experiment.snapshot import Snapshot
from tests.experiment.test_gate import instant, ramp
from tests.experiment.test_snapshot import EVERYBODY, snapshot
from tests.experiment.test_taking_part import MONDAY, RAMP, E

KEY = ("fusion", "vcr-up")


@dataclass(frozen=True)
class Request:
    user_id: str | None
    request_id: str = "r"
    context: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, int | str] = field(default_factory=dict)


def serve(served: Served, live: Snapshot, *requests: Request) -> Tally:
    for request in requests:
        found = live.assign(request.user_id, None, request.context, {}, request.asked)
        served.add(live, found.assignments, request)
    return served.tallies(live)[KEY]


def users(count: int) -> list[Request]:
    return [Request(str(n)) for n in range(count)]


def test_requests_are_all_counted_and_units_once():
    tally = serve(Served(), snapshot(EVERYBODY), *users(300), *users(300))
    assert tally.arms == ("vcr-up/control", "vcr-up/treatment")
    assert sum(tally.requests) == 600
    assert sum(tally.units()) == 300
    assert [2 * n for n in tally.units()] == tally.requests
    assert tally.ratio().verdict == "as planned"


def test_an_arm_that_loses_units_is_a_mismatch():
    live, served = snapshot(EVERYBODY), Served()
    kept = [
        request
        for request in users(3000)
        if live.assign(request.user_id, None, {}).params["b"] == 1.2 or int(request.user_id) % 5
    ]
    assert serve(served, live, *kept).ratio().verdict == "mismatch"


def test_one_busy_unit_is_no_mismatch():
    tally = serve(Served(), snapshot(EVERYBODY), *users(2000), *[Request("7")] * 2000)
    assert abs(tally.requests[0] - tally.requests[1]) > 1500
    assert tally.ratio().verdict == "as planned"


def test_forced_users_and_own_assignments_are_left_out():
    by_hand = [Request("712"), Request("1", asked={"fusion": "vcr-up/control"})]
    assert sum(serve(Served(), snapshot(EVERYBODY), *by_hand).requests) == 0


def test_the_held_out_are_not_in_an_arm():
    live = snapshot(EVERYBODY, ("holdout", {"salt": "h", "buckets": [[0, 9999]]}))
    assert sum(serve(Served(), live, *users(20)).requests) == 0


def test_publishing_again_goes_on_counting_and_other_shares_begin_anew():
    served = Served()
    serve(served, snapshot(EVERYBODY), *users(50))
    same = snapshot(("layers/0/experiments/0/buckets", [[0, 5000]]))
    assert sum(served.tallies(same)[KEY].requests) == 50
    other = snapshot(EVERYBODY, (f"{E}/arms/0/share", 10))
    assert sum(served.tallies(other)[KEY].requests) == 0


def test_a_late_answer_of_a_replaced_plan_resets_nothing_and_counts_nowhere():
    served, old = Served(), snapshot(EVERYBODY)
    serve(served, old, *users(20))
    new = snapshot(EVERYBODY, (f"{E}/arms/0/share", 10))
    serve(served, new, *users(50))
    served.add(old, old.assign("712", None, {}).assignments, Request("1"))
    assert served.tallies(old) == {}
    assert sum(served.tallies(new)[KEY].requests) == 50


def test_the_sample_of_units_is_bounded_and_stays_fair():
    tally = Tally((), ("a", "b"), (5000, 5000), [0, 0])
    for n in range(3 * MOST_UNITS):
        tally.add(n % 2, f"unit {n}")
    assert tally.one_in == 4
    assert MOST_UNITS / 2 < sum(tally.units()) <= MOST_UNITS
    assert tally.requests == [3 * MOST_UNITS / 2] * 2
    assert tally.ratio().p_value > 1e-6


def test_slices_are_the_units_of_a_switchback():
    live = snapshot(EVERYBODY, ("layers/0/unit", "time"), ("layers/0/slice_s", 86_400))
    tally = serve(Served(), live, *users(100))
    assert sum(tally.requests) == 100
    assert 1 <= sum(tally.units()) <= 2


@pytest.mark.parametrize(
    ("changes", "percent"),
    [
        ((), 10.0),
        ((EVERYBODY,), 100.0),
        ((EVERYBODY, RAMP), 1.0),
        ((EVERYBODY, (f"{E}/ramp", ramp(("2999-01-01T00:00:00Z", 5.0)))), 0.0),
        (((f"{E}/buckets", []),), 0.0),
    ],
)
def test_the_traffic_of_an_experiment_now(changes: tuple[Any, ...], percent: float):
    live = snapshot(*changes)
    experiment = live.plan.layers[0].experiments[0]
    assert percent_now(live.layers[0], experiment, instant(MONDAY)) == percent
