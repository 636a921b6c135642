"""TensorBoard scalars of a run, where `tensorboard` is installed."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


class TensorBoardWatcher:
    """A `Watcher` that writes `loss/<task>` by minibatch and `valid/<metric>` by epoch.

    Where a run resumes or begins anew, what stands in the directory from its first minibatch on is
    purged: TensorBoard shows every minibatch once.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._writer: SummaryWriter | None = None
        self._done = 0

    def step(
        self, epoch: int, step: int, steps: int, rows: int, losses: Mapping[str, float]
    ) -> None:
        self._done = (epoch - 1) * steps + step
        self._say({f"loss/{name}": loss for name, loss in losses.items()})

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        # TensorBoard takes no brackets in a tag.
        tags = {name.replace("[", "/").replace("]", ""): name for name in metrics}
        self._say({f"valid/{tag}": metrics[name] for tag, name in tags.items()})

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

    def _say(self, scalars: Mapping[str, float]) -> None:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self._directory), purge_step=self._done)
        for tag, value in scalars.items():
            self._writer.add_scalar(tag, value, self._done)


def tensorboard_watchers(directory: Path) -> list[TensorBoardWatcher]:
    """One where `tensorboard` is installed, else none."""
    return [TensorBoardWatcher(directory)] if find_spec("tensorboard") else []
