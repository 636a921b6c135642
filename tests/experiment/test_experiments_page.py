"""The plan of docs/experiments.md is a plan, and does what the page says."""

import json
import re
from pathlib import Path

from service.experiment.plan import parse_plan
from service.experiment.rules import agree
from service.experiment.snapshot import compile_snapshot
from tests.experiment.packages import ToyModels
from tests.experiment.test_gate import instant


def test_the_plan_of_the_page_compiles_and_ramps(clone: Path):
    (text,) = re.findall(r"```json\n(.*?)```", (clone / "docs/experiments.md").read_text(), re.S)
    plan = parse_plan(json.loads(text))
    assert agree(plan) == []
    live = compile_snapshot(plan, 1, ToyModels())
    users = [str(n) for n in range(2000)]

    def share(at: str, **user: int) -> float:
        now_s = instant(at)
        found = [live.assign(u, None, {"tab": 1}, user, now_s=now_s).assignments for u in users]
        assert all(f.get("supply") or f == {"holdout": "in"} for f in found)
        return sum("fusion" in f for f in found) / len(users)

    assert share("2026-11-23T07:59:59+08:00", is_new=1) == 0
    assert 0.01 < share("2026-11-24T00:00:00Z", is_new=1) < 0.1
    assert 0.4 < share("2026-12-01T00:00:00Z", is_new=1) < 0.6
    assert share("2026-12-01T00:00:00Z") == 0
