"""Encoded rows on disk, mapped into memory: a training set that is larger than it.

A directory holds one directory a stripe, and `shards.json`, written last. A stripe is one file a
block, rows one after the other. The mapped blocks are tensors like any others; the system reads
what a minibatch takes and forgets it when memory is short.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from service.contract.features import FeatureSchema
from training.checks import Spread, require_spread
from training.config.task import Task
from training.data.log import Log, Origin
from training.dataset import Dataset, build_dataset
from training.stripes import Stripes

FILE = "shards.json"
_LABELS, _SPACES = "labels", "spaces"


@dataclass(frozen=True)
class Stripe:
    """What was written of a stripe."""

    rows: int
    days: tuple[int, int]  # the first and the last there is
    blocks: Mapping[str, tuple[str, int]]  # name -> dtype, width
    digest: str  # of the rows


@dataclass(frozen=True)
class Written:
    """A stripe, and what is checked of all stripes together."""

    stripe: Stripe
    spreads: tuple[Spread, ...]  # by task
    origin: Origin


@dataclass(frozen=True, eq=False)
class Shards:
    """What a directory of shards holds."""

    schema: FeatureSchema
    data: Stripes
    days: tuple[int, int]


def write_stripe(
    directory: Path, schema: FeatureSchema, tasks: Sequence[Task], pieces: Iterable[Log]
) -> Written:
    """Encode the pieces one at a time; each has a row at least, and there is at least one.

    Raises:
        DataError: a label that does not suit its task.
    """
    directory.mkdir(parents=True, exist_ok=True)
    blocks: dict[str, tuple[str, int]] = {}
    digests: dict[str, hashlib._Hash] = {}
    spreads = [Spread()] * len(tasks)
    rows, first, last = 0, np.iinfo(np.int32).max, 0
    for log in pieces:
        data = build_dataset(schema, tasks, log)
        for name, tensor in {**data.inputs, _LABELS: data.labels, _SPACES: data.spaces}.items():
            block = tensor.numpy()
            with (directory / f"{name}.bin").open("ab" if rows else "wb") as file:
                block.tofile(file)
            digests.setdefault(name, hashlib.sha256()).update(block.reshape(-1).view(np.uint8))
            blocks[name] = (str(block.dtype), block.shape[1])
        for at, spread in enumerate(spreads):
            inside = data.spaces[:, at]
            spreads[at] = spread.plus(Spread.of(data.labels[inside, at].numpy()))
        rows += log.rows
        first, last = min(first, int(log.day.min())), max(last, int(log.day.max()))
    digest = hashlib.sha256("".join(d.hexdigest() for d in digests.values()).encode()).hexdigest()
    return Written(Stripe(rows, (first, last), blocks, digest), tuple(spreads), log.origin)


def complete_shards(
    directory: Path, schema: FeatureSchema, tasks: Sequence[Task], written: Sequence[Written]
) -> None:
    """Say that stripe k is in `stripe_place(directory, k)`, for all of them.

    Raises:
        DataError: a label has one value only.
    """
    for at, task in enumerate(tasks):
        spread = Spread()
        for one in written:
            spread = spread.plus(one.spreads[at])
        require_spread(task, spread, written[0].origin, "training")
    document = {
        "stripes": [asdict(one.stripe) for one in written],
        "schema": schema.model_dump(mode="json"),
    }
    draft = directory / f".{FILE}"
    draft.write_text(json.dumps(document))
    draft.replace(directory / FILE)


def stripe_place(directory: Path, number: int) -> Path:
    return directory / f"stripe-{number}"


def open_shards(directory: Path) -> Shards:
    document = json.loads((directory / FILE).read_text())
    stripes = [Stripe(**stripe) for stripe in document["stripes"]]
    return Shards(
        FeatureSchema.model_validate(document["schema"]),
        Stripes(
            [stripe.rows for stripe in stripes],
            lambda number: _opened(stripe_place(directory, number), stripes[number]),
            hashlib.sha256("".join(stripe.digest for stripe in stripes).encode()).hexdigest(),
        ),
        (min(stripe.days[0] for stripe in stripes), max(stripe.days[1] for stripe in stripes)),
    )


def _opened(directory: Path, stripe: Stripe) -> Dataset:
    mapped = {
        name: _mapped(directory / f"{name}.bin", dtype, (stripe.rows, width))
        for name, (dtype, width) in stripe.blocks.items()
    }
    labels, spaces = mapped.pop(_LABELS), mapped.pop(_SPACES)
    return Dataset(mapped, labels, spaces)


def _mapped(path: Path, dtype: str, shape: tuple[int, int]) -> torch.Tensor:
    # "c": copy on write. Nobody writes, but PyTorch wants tensors that could be written.
    return torch.from_numpy(np.memmap(path, dtype, mode="c", shape=shape))
