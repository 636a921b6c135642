"""What a peer is given and what it answers; peers by name."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.features import FeatureSchema
from training.config.run import RunConfig
from training.config.task import Task
from training.dataset import Dataset

# Name in a study's file -> the module here, whose `train` is the peer.
_PEERS = {"torch-rechub": "torch_rechub", "lightgbm": "lightgbm"}


class PeerMissing(ImportError):
    """The peer's library is not installed; the sentence says what to install."""


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows that our own run of `config` trains on, stops early by and is measured on."""

    config: RunConfig
    schema: FeatureSchema
    train: Dataset
    valid: Dataset
    measured: Dataset

    @property
    def tasks(self) -> tuple[tuple[int, Task], ...]:
        """The heads with a label of their own, with their column in labels and spaces."""
        return tuple(
            (at, task)
            for at, task in enumerate(self.config.tasks)
            if task.beside is None and task.product is None
        )


@dataclass(frozen=True, eq=False)
class Answer:
    """Predictions (N,) of the measured rows by head, and what the model was."""

    predictions: dict[str, NDArray[np.float32]]
    parameters: int
    epochs: int  # boosting rounds where there are no epochs


Peer = Callable[..., Answer]  # (rows, seed, **options)


def peer_of(name: str) -> Peer:
    """The peer of that name.

    Raises:
        PeerMissing: its library is not installed.
    """
    try:
        train: Any = import_module(f"training.peers.{_PEERS[name]}").train
    except ModuleNotFoundError as err:
        raise PeerMissing(f"{name} needs {err.name}: ./install cpu,train,peers") from err
    peer: Peer = train
    return peer
