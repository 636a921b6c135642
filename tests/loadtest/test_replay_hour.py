"""The hour is varied and the same each time; its log replays, and a changed entry is named."""

import json

import pytest

from loadtest.hour_traffic import HourTraffic, hour_plan
from loadtest.machine import ROOT
from loadtest.replay_hour import change_entry, main
from service.contract.repository import Repository
from service.experiment.packages import PackageReader, ResolvedModels
from service.experiment.plan import parse_plan
from service.experiment.snapshot import check_plan

MODELS = ROOT / "models"


def test_the_plan_of_the_hour_can_be_published_and_puts_everybody_into_an_arm():
    plan = parse_plan(hour_plan(MODELS))
    checked = check_plan(plan, 0, ResolvedModels(PackageReader(Repository(MODELS)), {}))
    assert [f.message for f in checked.findings if f.severity == "error"] == []
    assert checked.snapshot is not None
    arms = {checked.snapshot.assign(f"u{n}", f"r{n}", {}).exp_id for n in range(200)}
    assert len(arms) == 8  # 4 × 2
    assert "" not in arms


def test_the_same_seed_draws_the_same_requests_of_every_kind():
    first, second = HourTraffic(MODELS), HourTraffic(MODELS)
    asked = [first.request(number) for number in range(18)]
    assert [second.request(number) for number in range(18)] == asked
    assert len({one.kind for one in asked}) == 9


@pytest.mark.parametrize(("feature", "is_golden"), [("brand", False), ("category", True)])
def test_one_entry_is_renamed_and_nothing_else(tmp_path, feature, is_golden):
    entry = change_entry(MODELS, tmp_path / "other", feature, is_golden)
    both = [
        json.loads((at / "demo/1/manifest.json").read_text()) for at in (MODELS, tmp_path / "other")
    ]
    before, after = (
        {f["name"]: f.get("vocabulary") for f in one["schema"]["features"]} for one in both
    )
    after[feature] = [entry if word == "renamed" else word for word in after[feature]]
    assert before == after
    golden = (MODELS / "demo/1/golden.json").read_text()
    assert (f'"{entry}"' in golden) == is_golden


@pytest.mark.long
def test_a_short_hour_replays_and_changes_are_named(tmp_path):
    main(tmp_path / "hour.json", MODELS, 90, progress=False)
    found = json.loads((tmp_path / "hour.json").read_text())
    assert found["statuses"] == {"200": 90}
    assert found["same_package"]["exit_status"] == 0
    assert [c["exit_status"] for c in found["one_vocabulary_entry_changed"]] == [1, 1]
