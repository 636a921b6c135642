"""The arithmetic that is shown is the arithmetic that decides."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.experiment.arithmetic import bucket_arithmetic
from service.experiment.hashes import HASHES
from service.experiment.snapshot import Snapshot
from tests.experiment.test_gate import instant
from tests.experiment.test_snapshot import EVERYBODY, snapshot
from tests.experiment.test_taking_part import HELD, MONDAY, PERTURB, RAMP, TUESDAY, E


def test_a_line_has_what_one_needs_to_redo_it_by_hand():
    (line,) = bucket_arithmetic(snapshot(EVERYBODY), "7", None, {})
    hash_ = HASHES["finerank"]
    assert line == {
        "layer": "fusion",
        "unit": "user_id",
        "value": "7",
        "hashed": "fusion-2026-11:7",
        "bucket": hash_.bucket("fusion-2026-11", "7"),
        "experiment": "vcr-up",
        "arm_hashed": "fusion-2026-11:vcr-up:7",
        "arm_slot": hash_.arm_slot("fusion-2026-11", "vcr-up", "7"),
        "arm_limits": (5_000, 10_000),
    }


def test_what_another_system_hashes_is_shown():
    def hashed(name: str) -> tuple[str, str]:
        (line,) = bucket_arithmetic(snapshot(EVERYBODY, ("layers/0/hash", name)), "7", None, {})
        return line["hashed"], line["arm_hashed"]

    assert hashed("growthbook") == ("7__fusion-2026-11", "vcr-up7")
    assert hashed("pairec") == ("7_fusion-2026-11", "7_fusion-2026-11_vcr-up")


@given(
    user_id=st.sampled_from([None, "712", "1", "2", "3", "77"]),
    tab=st.sampled_from([None, 1, 2]),
    own=st.sampled_from([None, 5, "vcr-up/control", ""]),
    now=st.sampled_from([MONDAY, TUESDAY]),
    plan=st.sampled_from(
        [
            (),
            (RAMP,),
            (HELD,),
            (PERTURB,),
            ((f"{E}/when", "context.tab == 1"), RAMP, HELD),
            (("layers/0/slice_s", 60), PERTURB, HELD),
            (("layers/0/hash", "growthbook"), RAMP),
            (("layers/0/hash", "pairec"), PERTURB),
        ]
    ),
)
def test_the_arithmetic_that_is_shown_gives_the_arm_that_was_given(user_id, tab, own, now, plan):
    live = _compiled(plan)
    asked = {} if own is None else {"fusion": own}
    context = {} if tab is None else {"tab": tab}
    found = live.assign(user_id, None, context, {}, asked, instant(now))
    (line,) = bucket_arithmetic(live, user_id, None, context, {}, asked, instant(now))
    assert line.get("bucket") == found.buckets.get("fusion")
    if "forced" in line:
        expected = line["forced"]
    elif isinstance(own, str):
        expected = own or None
    elif (
        "experiment" not in line
        or line.get("held_out")
        or not line.get("in_ramp", True)
        or not line.get("met", True)
    ):
        expected = None
    else:
        arm = sum(line["arm_slot"] >= limit for limit in line["arm_limits"])
        expected = f"vcr-up/{('control', 'treatment')[arm]}"
        assert line.get("signs", {}) == found.signs
    assert found.assignments.get("fusion") == expected


_SNAPSHOTS: dict[str, Snapshot] = {}


def _compiled(plan: tuple[tuple[str, Any], ...]) -> Snapshot:
    if str(plan) not in _SNAPSHOTS:
        _SNAPSHOTS[str(plan)] = snapshot(EVERYBODY, *plan)
    return _SNAPSHOTS[str(plan)]
