"""Assignment is the same in another language, and in every process."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from service.experiment.assignment import layer_slots
from service.experiment.document import Layer

SCRIPT = Path(__file__).with_name("assignment.js")
NODE = shutil.which("node")
NOW = 1_795_000_000
UNITS = [*map(str, range(20_000)), "用户-7", "a:b", "x" * 200, "é", "😀"]


def experiment(name: str, ranges: list[list[int]], **shares: int) -> dict[str, Any]:
    arms = [{"name": arm, "share": share} for arm, share in shares.items()]
    return {"name": name, "buckets": ranges, "arms": arms}


LAYERS: list[dict[str, Any]] = [
    {
        "name": "plain",
        "salt": "fusion-2026-11",
        "experiments": [
            experiment("vcr-up", [[0, 999]], control=50, treatment=50),
            experiment("thirds", [[1000, 3999], [9000, 9999]], a=1, b=1, c=1),
        ],
    },
    {
        "name": "ramped",
        "salt": "ramp",
        "experiments": [
            experiment("grow", [[5000, 9999], [0, 999]], control=9, treatment=1)
            | {
                "ramp": [
                    {"at": "2026-11-01T00:00:00Z", "percent": 1},
                    {"at": "2026-11-08T00:00:00+08:00", "percent": 52.5},
                    {"at": "2030-01-01T00:00:00Z", "percent": 60},
                ]
            }
        ],
    },
    {
        "name": "switchback",
        "salt": "sb",
        "slice_s": 1800,
        "experiments": [experiment("on-off", [[0, 9999]], on=1, off=1)],
    },
]


def assigned(layers: list[dict[str, Any]], units: list[str], now_s: float) -> list[list[str]]:
    """The arms by this service, layer by layer; "" for none."""
    found = []
    for document in layers:
        slots = layer_slots(Layer.model_validate_json(json.dumps(document)))
        names = {0: "", **{arm.choice: id_ for id_, arm in slots.arms.items()}}
        arms = []
        for unit in units:
            text = slots.sliced(unit, now_s)
            assert text is not None
            slot = slots.hash.bucket(slots.salt, text)
            arms.append(names[slots.take(slot, text, now_s)])
        found.append(arms)
    return found


@pytest.mark.skipif(NODE is None, reason="node is not installed")
def test_javascript_says_the_same():
    assert NODE is not None
    request = json.dumps({"layers": LAYERS, "units": UNITS, "now": NOW})
    answer = subprocess.run([NODE, SCRIPT], input=request, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    theirs = json.loads(answer.stdout)
    ours = assigned(LAYERS, UNITS, NOW)
    assert theirs == ours
    assert {arm for arms in ours for arm in arms} >= {"", "thirds/c", "grow/treatment", "on-off/on"}


def test_the_reference_is_short_enough_to_be_read():
    assert len(SCRIPT.read_text().splitlines()) <= 25


def test_another_process_says_the_same():
    script = (
        "import json, sys; from tests.experiment.test_reference import assigned;"
        "print(json.dumps(assigned(*json.load(sys.stdin))))"
    )
    units = UNITS[:500] + UNITS[-5:]
    answer = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps([LAYERS, units, NOW]),
        capture_output=True,
        text=True,
        env={"PYTHONHASHSEED": "7", "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout) == assigned(LAYERS, units, NOW)
