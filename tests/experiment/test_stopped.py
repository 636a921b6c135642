"""Stopping an arm: nobody gets it, nobody else moves, and it drags nothing down any more."""

import copy
from typing import Any

import pytest

from service.experiment.errors import NotRunning
from service.experiment.plan import parse_plan
from service.experiment.served import Served
from service.experiment.snapshot import Snapshot, compile_snapshot
from service.experiment.stopped import stop_arm
from service.experiment.walk import model_refs
from tests.experiment.packages import ToyModels, plan

ARMS = "layers/0/experiments/0/arms"
EVERYBODY = ("layers/0/experiments/0/buckets", [[0, 9999]])
THREE = (
    ARMS,
    [
        {"name": "control", "share": 1},
        {"name": "up", "share": 1, "set": {"params": {"b": 1.6}}},
        {"name": "down", "share": 1, "set": {"perturb": {"c": 0.2}}},
    ],
)
STOPPED = (f"{ARMS}/1/stopped", "too many invalid scores")
CHANGES = (EVERYBODY, THREE, ("force", {"forced": {"fusion": "vcr-up/up"}}))


def changes_of() -> tuple[tuple[str, Any], ...]:
    """A copy, for later changes go into its parts."""
    return copy.deepcopy(CHANGES)


def snapshot(*changes: tuple[str, Any]) -> Snapshot:
    return compile_snapshot(parse_plan(plan(*changes_of(), *changes)), 1, ToyModels())


def test_who_was_in_a_stopped_arm_gets_the_default_and_nobody_else_moves():
    before, after = snapshot(), snapshot(STOPPED)
    seen = set()
    for user in map(str, range(300)):
        old, new = before.assign(user, None, {}), after.assign(user, None, {})
        seen.add(old.exp_id)
        if old.exp_id == "fusion:vcr-up/up":
            assert (new.exp_id, new.params["b"]) == ("", 1.2)
        else:
            assert (new.exp_id, new.params) == (old.exp_id, old.params)
    assert seen == {f"fusion:vcr-up/{arm}" for arm in ("control", "up", "down")}


def test_forced_users_and_callers_do_not_get_a_stopped_arm():
    after = snapshot(STOPPED)
    assert after.assign("forced", None, {}).exp_id == ""
    assert after.read_asked({"fusion": "vcr-up/up"}) == ({}, ("fusion",))


def test_a_stopped_arm_needs_neither_its_model_nor_a_formula_that_works():
    broken = (f"{ARMS}/1/set", {"model": "gone@champion", "formula": "sum"})
    found = parse_plan(plan(*changes_of(), broken, STOPPED))
    assert [str(ref) for ref in model_refs(found)] == ["toy@champion"]
    assert compile_snapshot(found, 1, ToyModels()).models == {"toy/1"}


def test_the_sample_ratio_expects_nobody_in_a_stopped_arm():
    live = snapshot(STOPPED)
    (tally,) = Served().tallies(live).values()
    assert tally.arms == ("vcr-up/control", "vcr-up/up", "vcr-up/down")
    assert tally.sizes[1] == 0
    assert tally.sizes[0] > 0 < tally.sizes[2]


def test_the_edit_marks_the_arm_and_leaves_the_document_it_was_given_alone():
    document = plan(*changes_of())
    edited = stop_arm(document, "fusion", "vcr-up/up", "too many invalid scores")
    assert edited == plan(*changes_of(), STOPPED)
    assert document == plan(*changes_of())


@pytest.mark.parametrize(
    ("layer", "arm"), [("other", "vcr-up/up"), ("fusion", "vcr-up/gone"), ("fusion", "x/up")]
)
def test_an_arm_that_is_not_there_is_not_stopped(layer: str, arm: str):
    with pytest.raises(NotRunning, match=f"{arm!r} of layer {layer!r} is not in the plan"):
        stop_arm(plan(*changes_of()), layer, arm, "why")


def test_an_arm_is_stopped_once():
    with pytest.raises(NotRunning, match="stopped already: too many invalid scores"):
        stop_arm(plan(*changes_of(), STOPPED), "fusion", "vcr-up/up", "why")
