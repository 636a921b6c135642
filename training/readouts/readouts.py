"""The readouts of a run's tasks, by name; built from the configuration, fitted on training rows."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn

from service.contract.features import FeatureSchema, Numeric
from training.config.task import Task
from training.config.watch import OddsWatch, OrdinalWatch, QuantileWatch
from training.data.errors import DataError
from training.losses import binary, squared
from training.readouts.odds import Odds
from training.readouts.ordinal import Ordinal
from training.readouts.probability import Probability
from training.readouts.quantile import Quantile

_LOSSES = {"bce": binary, "mse": squared, "none": binary}


class Readouts(nn.Module):
    """Task name -> readout. No ModuleDict: a task may be called `apply`, as a method of it is."""

    def __init__(self, readouts: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.names = tuple(readouts)
        self.each = nn.ModuleList(readouts.values())

    def __getitem__(self, task: str) -> nn.Module:
        return self.each[self.names.index(task)]

    @property
    def reads(self) -> tuple[str, ...]:
        """The inputs that readouts take a side from."""
        return tuple(sorted({one.block for one in self.each if one.reads_inputs}))

    def fit(
        self,
        tasks: Sequence[Task],
        inputs: Mapping[str, Tensor],
        labels: Tensor,
        spaces: Tensor,
    ) -> dict[str, Tensor]:
        """Fit all on training rows; labels and spaces (N, K) of `tasks`. Returns logits to start
        from.
        """
        start = {}
        for at, task in enumerate(tasks):
            if task.product is not None:
                continue
            inside, readout = spaces[:, at], self[task.name]
            side = readout.side(inputs)
            side = None if side is None else side[inside]
            readout.fit(labels[inside, at], side)
            start[task.name] = readout.start(labels[inside, at], side)
        return start


def build_readouts(tasks: Iterable[Task], schema: FeatureSchema | None = None) -> Readouts:
    """One readout for every task with a tower.

    Args:
        schema: where a duration is found; needed by `watch = {kind = "quantile"}` alone.

    Raises:
        DataError: a duration that is no numeric feature of the schema.
    """
    return Readouts({t.name: _readout(t, schema) for t in tasks if t.product is None})


def _readout(task: Task, schema: FeatureSchema | None) -> nn.Module:
    match task.watch:
        case OddsWatch():
            return Odds(task.watch.negatives)
        case OrdinalWatch():
            return Ordinal(task.watch.bins)
        case QuantileWatch():
            return Quantile(task.watch.groups, *_place(task.watch.duration, schema))
    return Probability(_LOSSES[task.loss_name], negative_rate=task.negative_rate)


def _place(name: str, schema: FeatureSchema) -> tuple[str, int]:
    """The block and column of a numeric feature."""
    feature = schema.by_name.get(name)
    if not isinstance(feature, Numeric):
        numeric = ", ".join(f.name for f in schema if isinstance(f, Numeric))
        raise DataError(f"the duration {name!r} is no numeric feature of the model ({numeric})")
    before = 0
    for other in schema.value_features(feature.side):
        if other is feature:
            break
        before += other.width
    return f"{feature.side}_values", before
