"""TensorBoard scalars of a run, where `tensorboard` is installed."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path


class TensorBoardWatcher:
    """A `Watcher` that writes `loss/<task>` by minibatch and `valid/<metric>` by epoch."""

    def __init__(self, directory: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(directory))
        self._done = 0

    def step(
        self, epoch: int, step: int, steps: int, rows: int, losses: Mapping[str, float]
    ) -> None:
        self._done = (epoch - 1) * steps + step
        for name, loss in losses.items():
            self._writer.add_scalar(f"loss/{name}", loss, self._done)

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            # TensorBoard takes no brackets in a tag.
            tag = name.replace("[", "/").replace("]", "")
            self._writer.add_scalar(f"valid/{tag}", value, self._done)

    def close(self) -> None:
        self._writer.close()


def tensorboard_watchers(directory: Path) -> list[TensorBoardWatcher]:
    """One where `tensorboard` is installed, else none."""
    return [TensorBoardWatcher(directory)] if find_spec("tensorboard") else []
