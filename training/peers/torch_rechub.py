"""torch-rechub: its models and its trainer, on our encoded rows.

It trains every task on all rows (it has no sample spaces) and keeps the best epoch of one task.
Minibatches are whole slices of arrays: its own loader, which collates single rows, changes no
figure here but takes longer.
"""

import io
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch_rechub.basic.features import DenseFeature, SequenceFeature, SparseFeature
from torch_rechub.models.multi_task import MMOE, PLE, SharedBottom
from torch_rechub.trainers import MTLTrainer

from service.contract.features import Categorical, FeatureSchema
from training.dataset import Dataset
from training.peers.columns import Columns, Standard, columns, fit_standard, id_features
from training.peers.peer import Answer, Rows

VALUES = "values"  # all numbers as one dense feature


def train(
    rows: Rows,
    seed: int,
    *,
    model: str,
    epochs: int,
    minibatch: int,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-5,
    patience: int = 1,
    embedding: int = 8,
    hidden: Sequence[int] = (64, 32),
    tower: Sequence[int] = (16,),
    dropout: float = 0.2,
    experts: int = 8,
    levels: int = 1,
    own: int = 1,
    shared: int = 1,
) -> Answer:
    """Train `shared-bottom`, `mmoe` or `ple` and predict the measured rows."""
    torch.manual_seed(seed)
    trained = columns(rows.schema, rows.train)
    standard = fit_standard(
        rows.schema, trained.values, rows.config.model.log1p, rows.config.model.clip
    )
    kinds = ["classification" if t.kind == "binary" else "regression" for _, t in rows.tasks]
    features = features_of(rows.schema, trained.values.shape[1], embedding)
    expert = {"dims": list(hidden), "activation": "relu", "dropout": dropout}
    towers = [{"dims": list(tower), "activation": "relu", "dropout": dropout} for _ in kinds]
    network: nn.Module
    if model == "shared-bottom":
        network = SharedBottom(features, kinds, expert, towers)
    elif model == "mmoe":
        network = MMOE(features, kinds, experts, expert, towers)
    elif model == "ple":
        network = PLE(features, kinds, levels, own, shared, expert, towers)
    else:
        raise ValueError(f"torch-rechub model {model!r} is none of shared-bottom, mmoe, ple")
    with tempfile.TemporaryDirectory() as directory, silence():
        trainer = MTLTrainer(
            network,
            kinds,
            optimizer_params={"lr": learning_rate, "weight_decay": weight_decay},
            n_epoch=epochs,
            earlystop_taskid=0,
            earlystop_patience=patience,
            model_path=directory,
        )
        found = trainer.fit(
            minibatches(rows, rows.train, trained, standard, minibatch, seed),
            minibatches(rows, rows.valid, columns(rows.schema, rows.valid), standard, 8192, None),
        )
        network.load_state_dict(trainer.early_stopper.best_weights)
        measured = columns(rows.schema, rows.measured)
        batches = minibatches(rows, rows.measured, measured, standard, 8192, None)
        said = np.array(trainer.predict(network, [inputs for inputs, _ in batches]), np.float32)
    return Answer(
        {task.name: said[:, at].clip(0, 1) for at, (_, task) in enumerate(rows.tasks)},
        parameters=sum(p.numel() for p in network.parameters()),
        epochs=len(found),
    )


def features_of(schema: FeatureSchema, values: int, embedding: int) -> list[object]:
    own_rows = {feature.name: feature.own_rows for feature in id_features(schema)}
    found: list[object] = []
    for feature in id_features(schema):
        arguments = {
            "vocab_size": own_rows[feature.shares or feature.name],
            "embed_dim": embedding,
            "shared_with": feature.shares,
        }
        if isinstance(feature, Categorical):
            found.append(SparseFeature(feature.name, **arguments))
        else:
            arguments["padding_idx"] = 0
            found.append(SequenceFeature(feature.name, pooling="mean", **arguments))
    return [*found, DenseFeature(VALUES, embed_dim=values)] if values else found


@dataclass(frozen=True, eq=False)
class _Minibatches:
    """What its trainer takes for a loader: (inputs by feature, labels) again and again."""

    inputs: dict[str, Tensor]
    labels: Tensor
    size: int
    random: np.random.Generator | None  # None: in order

    def __len__(self) -> int:
        return -(-len(self.labels) // self.size)

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        rows = len(self.labels)
        order = np.arange(rows) if self.random is None else self.random.permutation(rows)
        for at in range(0, rows, self.size):
            index = torch.from_numpy(order[at : at + self.size])
            yield {n: block[index] for n, block in self.inputs.items()}, self.labels[index]


def minibatches(
    rows: Rows, data: Dataset, taken: Columns, standard: Standard, size: int, seed: int | None
) -> _Minibatches:
    inputs = {
        name: torch.from_numpy(np.ascontiguousarray(ids[:, 0] if ids.shape[1] == 1 else ids))
        for name, ids in taken.ids.items()
    }
    if taken.values.shape[1]:
        inputs[VALUES] = torch.from_numpy(standard(taken.values))
    labels = data.labels[:, [at for at, _ in rows.tasks]]
    random = None if seed is None else np.random.default_rng(seed)
    return _Minibatches(inputs, labels, size, random)


@contextmanager
def silence() -> Iterator[None]:
    """Its trainer prints and draws bars."""
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield
