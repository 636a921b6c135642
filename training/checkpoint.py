"""Checkpoints: one safetensors file (no pickle) with all that the rest of a run depends on."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Protocol

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer


class CheckpointError(ValueError):
    """A checkpoint that belongs to another run, or cannot be read."""


@dataclass
class Position:
    """How far a run is: the next minibatch, the best epoch so far (from 1; 0: none), and every
    epoch's metrics.
    """

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_score: float = float("-inf")
    finished: bool = False
    history: list[dict[str, float]] = field(default_factory=list)


class Stateful(Protocol):
    """What gives its state as tensors by name, and takes it back."""

    def state(self) -> dict[str, Tensor]: ...

    def restore(self, state: Mapping[str, Tensor]) -> None: ...


@dataclass
class Running:
    """What changes while a run learns. `average` holds the averaged weights, `best` those of the
    best epoch, `balance` what the loss balance knows.
    """

    weights: nn.Module
    average: nn.Module
    best: dict[str, Tensor]
    optimizer: Optimizer
    position: Position
    balance: Stateful


def save(path: Path, running: Running, *, run: str, random: Sequence[Tensor] = ()) -> None:
    """Write atomically: a kill at any instant leaves the previous checkpoint or this one.

    Args:
        run: fingerprint of configuration and data; `load` refuses another.
        random: the random state of every process that trains.
    """
    tensors = {
        **_prefixed("weights", running.weights.state_dict()),
        **_prefixed("average", running.average.state_dict()),
        **_prefixed("best", running.best),
        **_prefixed("balance", running.balance.state()),
        **{f"random.{rank}": state for rank, state in enumerate(random)},
    }
    for at, state in running.optimizer.state_dict()["state"].items():
        tensors |= _prefixed(f"optimizer.{at}", state)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    metadata = {"run": run, "position": json.dumps(asdict(running.position))}
    save_file({n: t.contiguous() for n, t in tensors.items()}, draft, metadata=metadata)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(path)


def load(path: Path, running: Running, *, run: str) -> list[Tensor]:
    """Continue where `path` was written; returns the random states that `save` was given.

    Raises:
        CheckpointError: unreadable, or written by a run of another configuration or on other data.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as err:  # safetensors raises its own type and OSError
        raise CheckpointError(f"{path} cannot be read: {err}") from err
    if metadata["run"] != run:
        raise CheckpointError(
            f"{path} belongs to another configuration or other data; delete it to begin anew"
        )
    running.weights.load_state_dict(_under("weights", tensors))
    running.average.load_state_dict(_under("average", tensors))
    running.best = _under("best", tensors)
    running.balance.restore(_under("balance", tensors))
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in _under("optimizer", tensors).items():
        at, key = name.split(".")
        states.setdefault(int(at), {})[key] = tensor
    running.optimizer.load_state_dict({**running.optimizer.state_dict(), "state": states})
    running.position = Position(**json.loads(metadata["position"]))
    random = _under("random", tensors)
    return [random[str(rank)] for rank in range(len(random))]


def _prefixed(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {n.removeprefix(start): t for n, t in tensors.items() if n.startswith(start)}
