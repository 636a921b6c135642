"""Encoded rows on disk, mapped into memory: a training set that is larger than it.

A directory holds one file a block, rows one after the other, and `shards.json`, written last. The
mapped blocks are tensors like any others; the system reads what a minibatch takes and forgets it
when memory is short, so a run trains exactly as it would in memory.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from service.contract.features import FeatureSchema
from training.checks import Spread, require_spread
from training.config.task import Task
from training.data.log import Log
from training.dataset import Dataset, build_dataset

FILE = "shards.json"
_LABELS, _SPACES = "labels", "spaces"


@dataclass(frozen=True, eq=False)
class Shards:
    """What a directory of shards holds."""

    schema: FeatureSchema
    data: Dataset
    days: tuple[int, int]


def write_shards(
    directory: Path, schema: FeatureSchema, tasks: Sequence[Task], pieces: Iterable[Log]
) -> None:
    """Encode the pieces one at a time; each has a row at least, and there is at least one.

    Raises:
        DataError: a label that does not suit its task, or has one value only.
    """
    directory.mkdir(parents=True, exist_ok=True)
    (directory / FILE).unlink(missing_ok=True)
    blocks: dict[str, tuple[str, int]] = {}  # name -> dtype, width
    spreads = [Spread()] * len(tasks)
    rows, first, last = 0, np.iinfo(np.int32).max, 0
    for log in pieces:
        data = build_dataset(schema, tasks, log)
        named = {**data.inputs, _LABELS: data.labels, _SPACES: data.spaces}
        for name, block in named.items():
            with (directory / f"{name}.bin").open("ab" if rows else "wb") as file:
                block.numpy().tofile(file)
            blocks[name] = (str(block.numpy().dtype), block.shape[1])
        for at, spread in enumerate(spreads):
            inside = data.spaces[:, at]
            spreads[at] = spread.plus(Spread.of(data.labels[inside, at].numpy()))
        rows += log.rows
        first, last = min(first, int(log.day.min())), max(last, int(log.day.max()))
    for task, spread in zip(tasks, spreads, strict=True):
        require_spread(task, spread, log.origin, "training")
    document = {
        "rows": rows,
        "days": [first, last],
        "blocks": blocks,
        "schema": schema.model_dump(mode="json"),
    }
    draft = directory / f".{FILE}"
    draft.write_text(json.dumps(document))
    draft.replace(directory / FILE)


def open_shards(directory: Path) -> Shards:
    document = json.loads((directory / FILE).read_text())
    mapped = {
        name: _mapped(directory / f"{name}.bin", dtype, (document["rows"], width))
        for name, (dtype, width) in document["blocks"].items()
    }
    labels, spaces = mapped.pop(_LABELS), mapped.pop(_SPACES)
    first, last = document["days"]
    return Shards(
        FeatureSchema.model_validate(document["schema"]),
        Dataset(mapped, labels, spaces),
        (first, last),
    )


def _mapped(path: Path, dtype: str, shape: tuple[int, int]) -> torch.Tensor:
    # "c": copy on write. Nobody writes, but PyTorch wants tensors that could be written.
    return torch.from_numpy(np.memmap(path, dtype, mode="c", shape=shape))
