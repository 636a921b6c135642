"""Snapshots over time and by request: ramps, conditions, holdouts, slices, signs, own buckets."""

from math import exp

import pytest

from service.experiment.hashes import bucket
from tests.experiment.test_gate import instant, ramp
from tests.experiment.test_snapshot import ARM, EVERYBODY, snapshot, user_with

E = "layers/0/experiments/0"
NOBODY_FORCED = ("force", {})
USERS = [str(n) for n in range(400)]
MONDAY, TUESDAY = "2026-11-02T00:00:00Z", "2026-11-03T00:00:00Z"
RAMP = (f"{E}/ramp", ramp((MONDAY, 1.0), (TUESDAY, 50.0)))
HELD = ("holdout", {"salt": "held", "buckets": [[0, 999]]})
PERTURB = (ARM, {"perturb": {"a": 0.2, "b": 0.1}})


def test_a_ramp_grows_by_the_clock_of_the_request():
    live = snapshot(EVERYBODY, NOBODY_FORCED, RAMP)
    user = user_with(4_999)
    seen = [live.assign(user, None, {}, now_s=instant(t)).exp_id for t in (MONDAY, TUESDAY)]
    assert seen[0] == ""
    assert seen[1].startswith("fusion:vcr-up/")
    early = user_with(99)
    first, later = (live.assign(early, None, {}, now_s=instant(t)) for t in (MONDAY, TUESDAY))
    assert first.exp_id == later.exp_id != ""


def test_without_a_time_the_clock_of_this_machine_decides():
    past, future = "2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z"
    started = snapshot(EVERYBODY, NOBODY_FORCED, (f"{E}/ramp", ramp((past, 100.0))))
    waiting = snapshot(EVERYBODY, NOBODY_FORCED, (f"{E}/ramp", ramp((future, 100.0))))
    assert started.assign("1", None, {}).exp_id
    assert not waiting.assign("1", None, {}).exp_id


def test_who_does_not_meet_the_condition_gets_the_default():
    live = snapshot(EVERYBODY, NOBODY_FORCED, (f"{E}/when", "context.tab == 1 and user.new == 1"))
    assert live.assign("1", None, {"tab": 1}, {"new": True}).exp_id
    for context, user in [({"tab": 2}, {"new": 1}), ({"tab": 1}, {}), ({}, {"new": 1})]:
        assert not live.assign("1", None, context, user).exp_id
    assert live.context_units == {"tab"}
    assert live.user_names == {"new"}


def test_who_is_held_out_is_in_no_experiment_and_the_reply_says_so():
    live = snapshot(EVERYBODY, NOBODY_FORCED, HELD)
    for user in USERS:
        found = live.assign(user, None, {})
        if bucket("held", user) <= 999:
            assert (found.assignments, found.exp_id) == ({"holdout": "in"}, "holdout:in")
            assert found.params["b"] == 1.2
        else:
            assert found.exp_id.startswith("fusion:vcr-up/")


def test_a_forced_user_is_not_held_out():
    live = snapshot(EVERYBODY, ("holdout", {"salt": "held", "buckets": [[0, 9999]]}))
    assert live.assign("712", None, {}).exp_id == "fusion:vcr-up/treatment"
    assert live.assign("713", None, {}).exp_id == "holdout:in"


def test_a_switchback_gives_everybody_the_arm_of_the_slice():
    live = snapshot(EVERYBODY, NOBODY_FORCED, ("layers/0/unit", "time"), ("layers/0/slice_s", 1800))
    seen = {}
    for index in range(200):
        start = index * 1800.0
        arms = {
            live.assign(user, None, {}, now_s=start + offset).exp_id
            for user, offset in [("1", 0), ("2", 900), (None, 1799.9)]
        }
        assert len(arms) == 1
        seen[index] = arms.pop()
        slot = bucket("fusion-2026-11", "vcr-up", str(index))
        assert seen[index].endswith("control" if slot < 5_000 else "treatment")
    assert 70 < sum(arm.endswith("control") for arm in seen.values()) < 130


def test_a_switchback_of_a_context_value_switches_each_by_itself():
    live = snapshot(
        EVERYBODY, NOBODY_FORCED, ("layers/0/unit", "context.city"), ("layers/0/slice_s", 60)
    )
    found = live.assign(None, None, {"city": "Graz"}, now_s=61.0)
    assert found.buckets == {"fusion": bucket("fusion-2026-11", "Graz@1")}
    assert not live.assign(None, None, {}, now_s=61.0).exp_id


def test_an_arm_perturbs_its_params_up_or_down_by_unit():
    live = snapshot(EVERYBODY, NOBODY_FORCED, PERTURB)
    seen = set()
    for user in USERS:
        found = live.assign(user, None, {})
        if found.exp_id != "fusion:vcr-up/treatment":
            assert found.signs == {}
            continue
        signs = {p: 1 if bucket("fusion-2026-11", "vcr-up", p, user) < 5_000 else -1 for p in "ab"}
        assert found.signs == signs
        assert found.params["a"] == pytest.approx(0.3 * exp(0.2 * signs["a"]))
        assert found.params["b"] == pytest.approx(1.2 * exp(0.1 * signs["b"]))
        assert found.params["c"] == 0.5
        seen.add(tuple(signs.values()))
    assert len(seen) == 4


def test_a_perturbed_value_starts_from_what_the_arm_sets():
    live = snapshot(EVERYBODY, (ARM, {"params": {"b": 2.0}, "perturb": {"b": 0.5}}))
    found = live.assign("712", None, {})
    assert found.params["b"] == pytest.approx(2.0 * exp(0.5 * found.signs["b"]))


def test_slots_say_which_arm_and_leave_the_rest_out():
    arms = [
        {"name": "control", "slots": [[0, 999], [5000, 5999]]},
        {"name": "treatment", "slots": [[1000, 1999]], "set": {"params": {"b": 1.6}}},
    ]
    live = snapshot(EVERYBODY, NOBODY_FORCED, (f"{E}/arms", arms))
    for user in USERS:
        slot = bucket("fusion-2026-11", "vcr-up", user)
        arm = live.assign(user, None, {}).assignments.get("fusion", "none")
        if slot < 1000 or 5000 <= slot < 6000:
            assert arm == "vcr-up/control"
        else:
            assert arm == ("vcr-up/treatment" if 1000 <= slot < 2000 else "none")


def test_a_seed_takes_the_place_of_the_name():
    live = snapshot(EVERYBODY, NOBODY_FORCED, (f"{E}/seed", "again"))
    for user in USERS[:50]:
        arm = "control" if bucket("fusion-2026-11", "again", user) < 5_000 else "treatment"
        assert live.assign(user, None, {}).assignments == {"fusion": f"vcr-up/{arm}"}


def test_the_callers_own_bucket_takes_the_place_of_the_hash():
    live = snapshot(NOBODY_FORCED)
    asked, unknown = live.read_asked({"fusion": 5})
    assert unknown == ()
    user = user_with(5_000)
    assert live.assign(user, None, {}).exp_id == ""
    found = live.assign(user, None, {}, asked=asked)
    arm = "control" if bucket("fusion-2026-11", "vcr-up", user) < 5_000 else "treatment"
    assert (found.exp_id, found.buckets) == (f"fusion:vcr-up/{arm}", {"fusion": 5})
    assert live.read_asked(5)[0] == asked
    assert live.assign(None, None, {}, asked=asked).exp_id.startswith("fusion:vcr-up/")


def test_the_callers_own_arm_is_that_arm():
    live = snapshot(EVERYBODY, HELD)
    for arm in ("vcr-up/control", "vcr-up/treatment"):
        for user in USERS[:30]:
            found = live.assign(user, None, {}, asked={"fusion": arm})
            assert found.assignments["fusion"] == arm
    assert "fusion" not in live.assign("1", None, {}, asked={"fusion": ""}).assignments
    forced = live.assign("712", None, {}, asked={"fusion": "vcr-up/control"})
    assert forced.exp_id == "fusion:vcr-up/treatment"


def test_an_assignment_that_the_plan_cannot_follow_is_told():
    live = snapshot()
    given = {"fusion": "ended/arm", "gone": 7}
    assert live.read_asked(given) == ({}, ("fusion", "gone"))
    assert live.read_asked(None) == ({}, ())
