"""Encoded blocks taken apart into single features, which is how the peers want them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np
from numpy.typing import NDArray

from service.contract.features import SIDES, FeatureSchema, IdFeature
from training.dataset import Dataset
from training.modules.embedding import value_columns


@dataclass(frozen=True, eq=False)
class Columns:
    """Ids (N, length) by feature, 0 = out of vocabulary or nothing, and all numbers (N, M)."""

    ids: dict[str, NDArray[np.int32]]
    values: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Standard:
    """The transform that our networks have inside: log1p, standardise, clip."""

    logged: NDArray[np.bool_]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    clip: float

    def __call__(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        moved = (_logged(values, self.logged) - self.mean) * self.scale
        return moved.clip(-self.clip, self.clip).astype(np.float32)


def id_features(schema: FeatureSchema) -> list[IdFeature]:
    return [feature for side in SIDES for feature in schema.id_features(side)]


def columns(schema: FeatureSchema, data: Dataset) -> Columns:
    """Take a dataset's blocks apart."""
    blocks: Mapping[str, np.ndarray] = {n: block.numpy() for n, block in data.inputs.items()}
    ids = {}
    for side in SIDES:
        at = 0
        for feature in schema.id_features(side):
            ids[feature.name] = blocks[f"{side}_ids"][:, at : at + feature.ids]
            at += feature.ids
    values = [blocks[f"{side}_values"] for side in SIDES if f"{side}_values" in blocks]
    nothing = np.zeros((len(data), 0), np.float32)
    return Columns(ids, np.concatenate([nothing, *values], axis=1))


def fit_standard(
    schema: FeatureSchema, values: NDArray[np.float32], log1p: Iterable[str], clip: float
) -> Standard:
    """Means and deviations of the training rows; a column that never varies becomes 0."""
    names = [name for side in SIDES for name in value_columns(schema, side)]
    logged = np.array([any(fnmatchcase(n, pattern) for pattern in log1p) for n in names], bool)
    moved = _logged(values, logged)
    deviation = moved.std(axis=0)
    scale = np.divide(1, deviation, out=np.zeros_like(deviation), where=deviation > 1e-6)
    return Standard(logged, moved.mean(axis=0), scale, clip)


def _logged(values: NDArray[np.float32], logged: NDArray[np.bool_]) -> NDArray[np.float64]:
    wide = values.astype(np.float64)
    return np.where(logged, np.log1p(wide.clip(min=0)), wide)
