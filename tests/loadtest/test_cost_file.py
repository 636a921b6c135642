"""A cost is written with what it was measured on, and turns are compared both ways."""

import json
from pathlib import Path

from loadtest.cost_file import added_percent, write_cost


def test_a_cost_is_written_with_machine_versions_and_commit(tmp_path: Path) -> None:
    out = tmp_path / "new" / "cost.json"
    write_cost(out, {"what": "a thing", "ms": 1.5}, machine={"cpu": "as it was before"})
    found = json.loads(out.read_text())
    assert (found["what"], found["ms"]) == ("a thing", 1.5)
    assert found["machine"] == {"cpu": "as it was before"}
    assert found["versions"]["python"]
    assert len(found["source"]["commit"]) == 40


def test_turns_are_compared_by_their_medians_and_by_their_least() -> None:
    # medians 10 and 11, least 8 and 10
    assert added_percent([8.0, 10.0, 20.0], [10.0, 11.0, 12.0]) == {
        "added_percent_median": 10.0,
        "added_percent_least": 25.0,
    }
