"""A plan that moves units between arms says how many, and where; one that grows says nothing."""

from typing import Any

import pytest

from service.experiment.redrawn import redrawn
from tests.experiment.test_snapshot import snapshot

E = "layers/0/experiments/0"
KEEP = ("force", {})


def arms(**shares: int) -> tuple[str, Any]:
    return f"{E}/arms", [{"name": name, "share": share} for name, share in shares.items()]


def warnings(before: list[tuple[str, Any]], after: list[tuple[str, Any]]) -> list[tuple[str, str]]:
    found = redrawn(snapshot(KEEP, *before), snapshot(KEEP, *after))
    assert {f.severity for f in found} <= {"warning"}
    return [(f.pointer, f.message) for f in found]


@pytest.mark.parametrize(
    "after",
    [
        [],
        [(f"{E}/buckets", [[0, 4999]])],
        [(f"{E}/buckets", [[5000, 6000], [0, 999]])],
        [(f"{E}/ramp", [{"at": "2026-11-01T00:00:00Z", "percent": 5}])],
        [(f"{E}/arms/1/set", {"params": {"b": 1.9}})],
        [(f"{E}/name", "another")],
        [("layers", [])],
    ],
)
def test_who_only_grows_or_changes_an_arm_or_ends_moves_nobody(after: list[tuple[str, Any]]):
    assert warnings([], after) == []


def test_other_shares_move_units():
    assert warnings([arms(control=90, treatment=10)], [arms(control=50, treatment=50)]) == [
        (
            f"/{E}/arms",
            "units of 'vcr-up' change arms (40 % from control to treatment): what was measured of"
            " them so far mixes both; growing the buckets moves nobody",
        )
    ]


def test_slots_grow_an_arm_without_moving_anybody():
    small = (f"{E}/arms", [{"name": "a", "slots": [[0, 99]]}, {"name": "b", "slots": [[100, 199]]}])
    grown = (
        f"{E}/arms",
        [
            {"name": "a", "slots": [[0, 99], [200, 4999]]},
            {"name": "b", "slots": [[100, 199], [5000, 9999]]},
        ],
    )
    assert warnings([small], [grown]) == []
    ((_, message),) = warnings([grown], [small])
    assert "50 % from b to none, 48 % from a to none" in message


def test_an_arm_that_ends_is_meant_to():
    assert warnings([arms(a=50, b=50)], [arms(b=100)]) == []


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (("layers/0/salt", "new"), "/layers/0",
         "layer 'fusion' has another salt: everybody in vcr-up is drawn anew"),
        (("layers/0/hash", "growthbook"), "/layers/0",
         "layer 'fusion' has another hash: everybody in vcr-up is drawn anew"),
        ((f"{E}/seed", "new"), f"/{E}/seed",
         "'vcr-up' has another seed: its arms are drawn anew"),
        ((f"{E}/buckets", [[500, 1499]]), f"/{E}/buckets",
         "5 % of the layer's traffic leaves 'vcr-up'"),
    ],
)  # fmt: skip
def test_who_is_drawn_anew_is_told(change: tuple[str, Any], place: str, message: str):
    assert warnings([], [change]) == [(place, message)]
