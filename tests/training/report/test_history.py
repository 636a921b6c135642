"""The history of a run: kept through kills, read as curves by epochs done."""

import json
from contextlib import closing

import pytest

from training.report.history import LINES_AN_EPOCH, HistoryWatcher, Watchers, read_history


def _steps(watcher, epoch, first, last, loss):
    for step in range(first, last + 1):
        watcher.step(epoch, step, 4, 10, {"ctr": loss + step})


def test_losses_and_metrics_become_curves_over_epochs(tmp_path):
    watcher = HistoryWatcher(tmp_path / "run" / "h.jsonl", resumed=False)
    _steps(watcher, 1, 1, 4, 0.0)
    watcher.epoch(1, {"ctr.auc[impression]": 0.7})
    _steps(watcher, 2, 1, 4, 0.0)
    watcher.epoch(2, {"ctr.auc[impression]": 0.8})
    watcher.close()
    found = read_history(tmp_path / "run" / "h.jsonl", best_epoch=2)
    assert found.losses["ctr"].epochs == (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
    assert found.losses["ctr"].values == (1, 2, 3, 4, 1, 2, 3, 4)
    assert found.metrics["ctr.auc[impression]"].values == (0.7, 0.8)
    assert found.best_epoch == 2


def test_a_long_epoch_has_a_few_points_each_the_mean_of_its_rows(tmp_path):
    with closing(HistoryWatcher(tmp_path / "h.jsonl", resumed=False)) as watcher:
        for step in range(1, 1001):
            watcher.step(1, step, 1000, 10 if step < 1000 else 5, {"ctr": float(step)})
    curve = read_history(tmp_path / "h.jsonl", best_epoch=0).losses["ctr"]
    assert len(curve.epochs) == LINES_AN_EPOCH
    assert curve.values[0] == pytest.approx(20.5), "steps 1 to 40"
    last = sum(10 * step for step in range(961, 1000)) + 5 * 1000
    assert curve.values[-1] == pytest.approx(last / (39 * 10 + 5))


def test_what_a_kill_repeated_counts_once_and_a_torn_line_not_at_all(tmp_path):
    path = tmp_path / "h.jsonl"
    with closing(HistoryWatcher(path, resumed=False)) as killed:
        _steps(killed, 1, 1, 3, 0.0)
    with path.open("a") as file:
        file.write('{"epoch": 1.0, "los\n')
    with closing(HistoryWatcher(path, resumed=True)) as resumed:
        _steps(resumed, 1, 3, 4, 10.0)
    assert read_history(path, best_epoch=1).losses["ctr"].values == (1, 2, 13, 14)


def test_a_run_that_begins_anew_forgets_the_one_before(tmp_path):
    path = tmp_path / "h.jsonl"
    for last, loss in ((4, 0.0), (1, 5.0)):
        with closing(HistoryWatcher(path, resumed=False)) as watcher:
            _steps(watcher, 1, 1, last, loss)
    assert [json.loads(line)["losses"] for line in path.read_text().splitlines()] == [{"ctr": 6.0}]
    assert read_history(tmp_path / "none.jsonl", best_epoch=0).losses == {}


def test_all_watchers_are_told(tmp_path):
    one = HistoryWatcher(tmp_path / "1.jsonl", resumed=False)
    other = HistoryWatcher(tmp_path / "2.jsonl", resumed=False)
    with closing(one), closing(other):
        both = Watchers(one, other)
        _steps(both, 1, 1, 4, 0.0)
        both.epoch(1, {"m": 1.0})
    assert (tmp_path / "1.jsonl").read_text() == (tmp_path / "2.jsonl").read_text() != ""
