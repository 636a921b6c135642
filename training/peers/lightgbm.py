"""LightGBM: one model a head on the same features, stopped early by the validation rows."""

from typing import Any

import numpy as np
import torch
from lightgbm import Dataset as Table
from lightgbm import early_stopping
from lightgbm import train as boost
from numpy.typing import NDArray

from service.contract.features import Categorical, FeatureSchema
from training.dataset import Dataset
from training.peers.columns import columns, id_features
from training.peers.peer import Answer, Rows

_ONE_HOT = 64  # lists over at most that many values become a column a value


def train(
    rows: Rows,
    seed: int,
    *,
    rounds: int = 2000,
    patience: int = 50,
    largest_vocabulary: int = 2000,
    **parameters: Any,
) -> Answer:
    """Train and predict, head by head, each on the rows of its own sample space.

    Args:
        largest_vocabulary: a feature with more values is left out as a category; its history rates
            stay.
        parameters: LightGBM's own, over the ones chosen here.
    """
    table, categories = _table(rows.schema, rows.train, largest_vocabulary)
    valid, _ = _table(rows.schema, rows.valid, largest_vocabulary)
    measured, _ = _table(rows.schema, rows.measured, largest_vocabulary)
    chosen = {
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_data_in_leaf": 100,
        "feature_fraction": 0.5,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "cat_smooth": 20,
        "verbosity": -1,
        "seed": seed,
        "num_threads": torch.get_num_threads(),
    } | parameters
    predictions, leaves, most = {}, 0, 0
    for at, task in rows.tasks:
        binary = task.kind == "binary"
        inside, judged = rows.train.spaces[:, at].numpy(), rows.valid.spaces[:, at].numpy()
        learned = Table(
            table[inside],
            rows.train.labels[inside, at].numpy(),
            categorical_feature=categories,
            free_raw_data=False,
        )
        watched = learned.create_valid(valid[judged], rows.valid.labels[judged, at].numpy())
        kind = {"objective": "binary", "metric": "auc"} if binary else {"objective": "l2"}
        booster = boost(
            kind | chosen,
            learned,
            rounds,
            valid_sets=[watched],
            callbacks=[early_stopping(patience, verbose=False)],
        )
        said = booster.predict(measured, num_iteration=booster.best_iteration)
        predictions[task.name] = np.asarray(said, np.float32).clip(0, 1)
        leaves += booster.best_iteration * chosen["num_leaves"]
        most = max(most, booster.best_iteration)
    return Answer(predictions, parameters=leaves, epochs=most)


def _table(
    schema: FeatureSchema, data: Dataset, largest_vocabulary: int
) -> tuple[NDArray[np.float32], list[int]]:
    """(N, columns), and which columns are categories.

    A set over few values becomes 0/1 columns; of other lists only the length is told.
    """
    taken = columns(schema, data)
    own_rows = {feature.name: feature.own_rows for feature in id_features(schema)}
    parts: list[NDArray[Any]] = []
    categories: list[int] = []
    for feature in id_features(schema):
        ids, vocabulary = taken.ids[feature.name], own_rows[feature.shares or feature.name]
        if isinstance(feature, Categorical):
            if vocabulary <= largest_vocabulary:
                categories.append(sum(part.shape[1] for part in parts))
                parts.append(ids)
        elif vocabulary <= _ONE_HOT:
            parts.append((ids[:, :, None] == np.arange(1, vocabulary)).any(axis=1))
        else:
            parts.append((ids > 0).sum(axis=1, keepdims=True))
    return np.concatenate([*parts, taken.values], axis=1, dtype=np.float32), categories
