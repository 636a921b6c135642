"""Show training on a terminal: a bar with losses and rows/s, and one line an epoch."""

from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

_SMOOTHING = 0.98  # of the shown losses, per step


class TerminalWatcher:
    """A `Watcher` that writes to a terminal, or one line an epoch where there is none."""

    def __init__(self, title: str, epochs: int, console: Console) -> None:
        self._title, self._epochs, self._console = title, epochs, console
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(show_speed=False),
            TextColumn("{task.fields[speed]} {task.fields[losses]}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=None, speed="", losses="")
        self._shown: dict[str, float] = {}
        self._rows = 0

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        err: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def step(
        self, epoch: int, step: int, steps: int, rows: int, losses: Mapping[str, float]
    ) -> None:
        self._rows += rows
        for name, loss in losses.items():
            before = self._shown.get(name, loss)
            self._shown[name] = _SMOOTHING * before + (1 - _SMOOTHING) * loss
        task = self._progress.tasks[0]
        speed = self._rows / task.elapsed if task.elapsed else 0.0
        self._progress.update(
            self._task,
            advance=1,
            total=steps * self._epochs,
            description=f"{self._title} {epoch}/{self._epochs}",
            speed=f"{speed:,.0f} rows/s",
            losses=" ".join(f"{name} {loss:.4f}" for name, loss in self._shown.items()),
        )

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        self._console.print(f"{self._title} epoch {epoch}: {_brief(metrics)}", markup=False)


def _brief(metrics: Mapping[str, float]) -> str:
    """The ranking metric of every head on its own sample space, where it comes first."""
    shown: dict[str, str] = {}
    for name, value in metrics.items():
        head, _, rest = name.partition(".")
        if rest.startswith(("auc[", "mse[")) and head not in shown:
            shown[head] = f"{name} {value:.4f}"
    return " ".join(shown.values()) or "nothing is measured (a refit has no validation days)"
