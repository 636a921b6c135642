"""The last accepted plan survives on disk, whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from service.experiment.errors import DamagedPlan
from service.experiment.saved import Saved, SavedPlans
from service.experiment.store import StoredPlan
from tests.experiment.packages import PLAN, plan

ALIASES = {"toy": {"champion": 3}}


def saved(version: int = 7) -> Saved:
    document = plan(("deadline_ms", version))
    return Saved(StoredPlan(version, document, "ann", "why", "2026-11-22T00:00:00.000Z"), ALIASES)


def test_nothing_is_saved_at_first(tmp_path: Path):
    assert SavedPlans(tmp_path / "plans").scenes() == []


def test_a_saved_plan_is_read_back(tmp_path: Path):
    plans = SavedPlans(tmp_path / "plans")
    plans.save("feed", saved())
    plans.save("search", saved(8))
    assert plans.scenes() == ["feed", "search"]
    assert plans.read("feed") == saved()


def test_saving_again_replaces_and_leaves_no_drafts(tmp_path: Path):
    plans = SavedPlans(tmp_path)
    plans.save("feed", saved(7))
    plans.save("feed", saved(8))
    assert plans.read("feed").stored.version == 8
    assert [path.name for path in tmp_path.iterdir()] == ["feed.json"]


def test_a_draft_of_a_crash_is_no_plan(tmp_path: Path):
    plans = SavedPlans(tmp_path)
    plans.save("feed", saved())
    (tmp_path / ".feed.x1y2.json").write_text("{")
    assert plans.scenes() == ["feed"]


def test_a_save_removes_what_crashes_left_and_no_draft_of_another_process(tmp_path: Path):
    left, written, other = (tmp_path / name for name in (".feed.a1b2c3d4", ".feed.e5f6g7h8", ".x"))
    for path in (left, written, other):
        path.write_text("{")
    for path in (left, other):
        os.utime(path, (0, 0))
    SavedPlans(tmp_path).save("feed", saved())
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"feed.json", ".feed.e5f6g7h8", ".x"}


def test_drafts_are_what_a_save_writes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def crash(draft: Path, _: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", crash)
    monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        SavedPlans(tmp_path).save("feed", saved())
    monkeypatch.undo()
    (draft,) = tmp_path.iterdir()
    os.utime(draft, (0, 0))
    SavedPlans(tmp_path).save("feed", saved())
    assert [path.name for path in tmp_path.iterdir()] == ["feed.json"]


def test_a_save_that_fails_keeps_the_old_plan(tmp_path: Path):
    plans = SavedPlans(tmp_path)
    plans.save("feed", saved())
    with pytest.raises(OSError, match="File name too long"):
        plans.save("f" * 300, saved())
    assert plans.read("feed") == saved()


def test_a_damaged_file_is_refused(tmp_path: Path):
    plans = SavedPlans(tmp_path)
    plans.save("feed", saved())
    path = tmp_path / "feed.json"
    body = path.read_text()
    path.write_text(body.replace('"deadline_ms": 7', '"deadline_ms": 8'))
    with pytest.raises(DamagedPlan, match=r"feed\.json is damaged: its document does not match"):
        plans.read("feed")
    path.write_text(body[:50])
    with pytest.raises(DamagedPlan, match=r"feed\.json is damaged: JSONDecodeError"):
        plans.read("feed")
    path.write_text(json.dumps(PLAN))
    with pytest.raises(DamagedPlan, match=r"feed\.json is damaged: KeyError 'version'"):
        plans.read("feed")
