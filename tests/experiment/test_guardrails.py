"""An arm is to blame when it is over a limit and the others are not, or much less so."""

from typing import Any

import pytest

from service.experiment.errors import PlanInvalid
from service.experiment.guardrails import Breach, Guard
from service.experiment.plan import parse_plan
from service.experiment.snapshot import Snapshot, compile_snapshot
from tests.clock import Clock
from tests.experiment.packages import ToyModels, plan

CANARY, CONTROL = {"fusion": "vcr-up/treatment"}, {"fusion": "vcr-up/control"}
INVALID = {"max_invalid_share": 0.01}
SLOW = {"max_p99_ms": 20.0}
DEGRADED = {"max_degraded_share": 0.1}


def snapshot(limits: dict[str, Any], version: int = 1, *changes: tuple[str, Any]) -> Snapshot:
    document = plan(*changes)
    document["guardrails"] = {"window_s": 15, "least_requests": 20, **limits}
    return compile_snapshot(parse_plan(document), version, ToyModels())


def serve(
    guard: Guard,
    live: Snapshot,
    arms: dict[str, str],
    requests: int = 50,
    *,
    invalid: int = 0,
    degraded: bool = False,
    latency_ms: float = 5.0,
) -> None:
    for _ in range(requests):
        guard.add(
            live,
            arms,
            degraded=degraded,
            candidates=0 if degraded else 100,
            invalid=invalid,
            latency_ms=latency_ms,
        )


def test_an_arm_with_invalid_scores_is_named_with_its_figures():
    guard, live = Guard(Clock()), snapshot(INVALID)
    serve(guard, live, CANARY, invalid=3)
    serve(guard, live, CONTROL)
    assert guard.breach(live) == Breach(
        "fusion",
        "vcr-up/treatment",
        "max_invalid_share",
        "max_invalid_share is 0.01, but 3.00% of 5000 candidates have no finite score in 15 s"
        " (others: 0.00% of 5000 candidates have no finite score)",
        3.0,
    )


@pytest.mark.parametrize(
    ("limits", "bad", "limit"),
    [
        (SLOW, {"latency_ms": 30.0}, "max_p99_ms"),
        (DEGRADED, {"degraded": True}, "max_degraded_share"),
        (INVALID, {"invalid": 2}, "max_invalid_share"),
    ],
)
def test_every_limit_stops_its_arm_and_an_outage_that_all_feel_stops_none(limits, bad, limit):
    guard, live = Guard(Clock()), snapshot(limits)
    serve(guard, live, CANARY, **bad)
    serve(guard, live, CONTROL)
    found = guard.breach(live)
    assert found is not None
    assert found.limit == limit

    guard = Guard(Clock())
    serve(guard, live, CANARY, **bad)
    serve(guard, live, CONTROL, **bad)
    assert guard.breach(live) is None


def test_within_the_limits_nobody_is_to_blame():
    guard, live = Guard(Clock()), snapshot(INVALID | SLOW | DEGRADED)
    serve(guard, live, CANARY, invalid=1, latency_ms=19.0)
    serve(guard, live, CONTROL)
    assert guard.breach(live) is None


def test_few_requests_say_nothing():
    guard, live = Guard(Clock()), snapshot(INVALID)
    serve(guard, live, CANARY, 19, invalid=100)
    serve(guard, live, CONTROL)
    assert guard.breach(live) is None
    serve(guard, live, CANARY, 1, invalid=100)
    assert guard.breach(live) is not None


@pytest.mark.parametrize(
    ("limits", "bad", "stops"),
    [(INVALID, {"invalid": 9}, True), (SLOW, {"latency_ms": 99.0}, False)],
)
def test_an_arm_with_all_the_traffic_is_judged_by_its_scores_alone(limits, bad, stops):
    guard, live = Guard(Clock()), snapshot(limits)
    serve(guard, live, CANARY, **bad)
    assert (guard.breach(live) is not None) == stops


def test_the_control_arm_changes_nothing_and_is_never_stopped():
    guard, live = Guard(Clock()), snapshot(INVALID)
    serve(guard, live, CONTROL, invalid=50)
    serve(guard, live, {})
    assert guard.breach(live) is None
    assert list(guard.figures(live)) == [("fusion", "vcr-up/treatment")]


def test_an_arm_of_another_layer_that_shares_the_bad_requests_is_not_blamed_before_it():
    second = {
        "name": "other",
        "salt": "o",
        "experiments": [
            {
                "name": "x",
                "buckets": [[0, 9999]],
                "arms": [
                    {"name": "one", "share": 1, "set": {"params": {"a": 0.4}}},
                    {"name": "two", "share": 1},
                ],
            }
        ],
    }
    guard, live = Guard(Clock()), snapshot(INVALID, 1, ("layers/1", second))
    for other in ("x/one", "x/two"):
        serve(guard, live, CANARY | {"other": other}, invalid=50)
        serve(guard, live, CONTROL | {"other": other})
    found = guard.breach(live)
    assert found is not None
    assert found.arm == "vcr-up/treatment"


def test_what_is_older_than_the_window_is_forgotten():
    clock = Clock()
    guard, live = Guard(clock), snapshot(INVALID)
    serve(guard, live, CANARY, invalid=50)
    clock.now += 20
    serve(guard, live, CANARY)
    assert guard.breach(live) is None


def test_a_version_that_changes_what_arms_mean_is_counted_anew_and_another_goes_on():
    guard, live = Guard(Clock()), snapshot(INVALID)
    serve(guard, live, CANARY, invalid=50)
    forced = snapshot(INVALID, 2, ("force", {}))
    assert guard.breach(forced) is not None
    fixed = snapshot(INVALID, 3, ("layers/0/experiments/0/arms/1/set", {"params": {"b": 1.5}}))
    assert guard.breach(fixed) is None


def test_without_guardrails_nothing_is_counted():
    live = compile_snapshot(parse_plan(plan()), 1, ToyModels())
    guard = Guard(Clock())
    serve(guard, live, CANARY, invalid=50)
    assert guard.breach(live) is None
    assert guard.figures(live) == {}


def test_guardrails_without_a_limit_are_refused():
    with pytest.raises(PlanInvalid, match="give a limit: max_degraded_share, max_invalid_share or"):
        parse_plan(plan(("guardrails", {"window_s": 30})))


def test_a_late_answer_of_a_replaced_plan_resets_nothing_and_is_not_judged():
    guard, old = Guard(Clock()), snapshot(INVALID)
    serve(guard, old, CONTROL)
    # another store counts its versions anew: the later snapshot is the current one all the same
    new = snapshot({"max_invalid_share": 0.02}, 1)
    serve(guard, new, CONTROL)
    serve(guard, new, CANARY, invalid=3)
    serve(guard, old, CANARY, 1)
    assert (guard.breach(old), guard.figures(old)) == (None, {})
    assert guard.figures(new)["fusion", "vcr-up/treatment"].requests == 50
    assert guard.breach(new) is not None
