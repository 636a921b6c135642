"""What is remembered of an answered request: by reference, so that remembering costs nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import orjson
from numpy.typing import NDArray

from service.contract.encode import Array, Column


class Ranked(NamedTuple):
    """N candidates of one request in input order, S of them scored: the first S.

    A tuple, because one is made for every request.

    `at_s`: Unix time. `user`, `context`: as the request brought them; `all_user`, `all_context`:
    with what the store gave. `asked`: the caller's own assignment. `order`: input positions as
    served, best first, at most `limit`. `scores`: (N,), NaN without a score. `heads`, `attributes`:
    (S,) each, empty where nothing was scored; so are `categories`, of the rules after fusion, and
    empty without any. `signs`: of the params that an arm perturbs.
    """

    request_id: str
    scene: str
    at_s: float
    took_ms: float
    user_id: str | None
    user: Mapping[str, Any]
    context: Mapping[str, Any]
    asked: Mapping[str, int | str]
    all_user: Mapping[str, Any]
    all_context: Mapping[str, Any]
    plan: int
    model: str
    formula: str
    params: Mapping[str, float]
    signs: Mapping[str, int]
    assignments: Mapping[str, str]
    exp_id: str
    degraded: Mapping[str, int]
    limit: int | None
    ids: Sequence[str]
    order: NDArray[np.intp]
    scores: NDArray[np.float64]
    heads: Mapping[str, NDArray[np.float32]]
    attributes: Mapping[str, NDArray[np.float64]]
    categories: Mapping[str, NDArray[np.integer]] = MappingProxyType({})

    @property
    def scored(self) -> int:
        """S."""
        return next((len(values) for values in self.heads.values()), 0)


class Used(NamedTuple):
    """What the S scored candidates were scored from, raw and encoded.

    `item_records`: stored bytes, one a candidate; with an item cache of those that it did not have,
    and then `versions` (S,) says which record each candidate was scored from. `blocks`: encoded
    inputs by name, (1, width) for user and context, (S, width) for pairs and, without a cache,
    items.
    """

    item_columns: Mapping[str, Column]
    user_record: bytes | None
    item_records: Sequence[bytes | None]
    versions: NDArray[np.int64] | None
    blocks: Mapping[str, Array]


class Entry(NamedTuple):
    """One request on its way to the log."""

    ranked: Ranked
    used: Used | None


@dataclass(frozen=True)
class ItemNote:
    """Items that an item cache is going to serve from now on: M records, versions, encodings."""

    scene: str
    model: str
    ids: Sequence[str]
    records: Sequence[bytes | None]
    versions: NDArray[np.int64]
    blocks: Mapping[str, Array]


def to_json(value: object) -> bytes:
    """What a record holds as JSON: read-only mappings and arrays, too; no number becomes null."""
    return orjson.dumps(value, default=_plain, option=orjson.OPT_SERIALIZE_NUMPY)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, np.ndarray):  # not contiguous
        return value.tolist()
    raise TypeError(type(value).__name__)
