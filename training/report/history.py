"""What training said as it went, on disk: losses and validation metrics, through kills and resumes.

One JSON object a line: `{"epoch": 1.25, "losses": {"ctr": 0.61}}` for the minibatches since the
line before, `{"epoch": 2, "metrics": {"ctr.auc[impression]": 0.74}}` for a finished epoch.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from training.loop import Watcher
from training.report.document import Curve, History

FILE = "history.jsonl"
LINES_AN_EPOCH = 25


class HistoryWatcher:
    """A `Watcher` that appends to a history file; where a run resumes, its lines come again."""

    def __init__(self, path: Path, *, resumed: bool) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a" if resumed else "w")
        self._sums: dict[str, float] = {}
        self._rows = 0

    def step(
        self, epoch: int, step: int, steps: int, rows: int, losses: Mapping[str, float]
    ) -> None:
        for name, loss in losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + rows * loss
        self._rows += rows
        if step * LINES_AN_EPOCH // steps > (step - 1) * LINES_AN_EPOCH // steps:
            means = {name: total / self._rows for name, total in self._sums.items()}
            self._say({"epoch": round(epoch - 1 + step / steps, 6), "losses": means})
            self._sums, self._rows = {}, 0

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._say({"epoch": epoch, "metrics": dict(metrics)})

    def close(self) -> None:
        self._file.close()

    def _say(self, line: Mapping[str, object]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()


class Watchers:
    """Several watchers, told in order."""

    def __init__(self, *watchers: Watcher) -> None:
        self._watchers = watchers

    def step(
        self, epoch: int, step: int, steps: int, rows: int, losses: Mapping[str, float]
    ) -> None:
        for watcher in self._watchers:
            watcher.step(epoch, step, steps, rows, losses)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        for watcher in self._watchers:
            watcher.epoch(epoch, metrics)


def read_history(path: Path, *, best_epoch: int) -> History:
    """Curves by task and metric; of lines that came twice the later one counts, and a line that a
    kill cut short does not.
    """
    found: dict[str, dict[str, dict[float, float]]] = {"losses": {}, "metrics": {}}
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        for kind in found.keys() & line.keys():
            for name, value in line[kind].items():
                found[kind].setdefault(name, {})[line["epoch"]] = value
    curves = {
        kind: {name: _curve(points) for name, points in of.items()} for kind, of in found.items()
    }
    return History(losses=curves["losses"], metrics=curves["metrics"], best_epoch=best_epoch)


def _curve(points: Mapping[float, float]) -> Curve:
    epochs = tuple(sorted(points))
    return Curve(epochs=epochs, values=tuple(points[epoch] for epoch in epochs))
