"""Requests stacked for a preview: their scored candidates one after another in flat columns."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from service.traffic.record import Ranked

Floats = NDArray[np.float64]

SIZE = 256  # requests a batch: its columns stay in the processor's caches


@dataclass(frozen=True)
class Asked:
    """What decides the treatment of a request and its scalars. `at_s`: Unix time.

    `plan`: the version that ranked it; `categories`: (S,) of its rules after fusion.

    `stored`: the user's stored record, JSON, where `all_user` is not known yet.
    """

    request_id: str
    at_s: float
    user_id: str | None
    user: Mapping[str, Any]
    context: Mapping[str, Any]
    asked: Mapping[str, int | str]
    all_user: Mapping[str, Any] | None = None
    stored: bytes | None = None
    plan: int = 0
    categories: Mapping[str, NDArray[np.integer]] = field(default_factory=dict)

    def user_values(self) -> Mapping[str, Any]:
        """Inline values over stored ones."""
        if self.all_user is not None:
            return self.all_user
        if self.stored is None:
            return self.user
        try:
            record = orjson.loads(self.stored)
        except orjson.JSONDecodeError:
            record = None
        if not isinstance(record, dict):
            return self.user
        return {**record, **{k: v for k, v in self.user.items() if v is not None}}


@dataclass(frozen=True)
class Batch:
    """R requests of one model with `counts` (R,) scored candidates each, N in all.

    `items`: (N,) numbers of the item ids, see `ItemNames`. `scores`: (N,) as served, NaN where
    invalid. `served`: request -> its scored candidates as served, where that is not their order by
    score; what a limit cut off follows by score.
    """

    model: str
    asked: Sequence[Asked]
    counts: NDArray[np.int64]
    items: NDArray[np.int64]
    scores: Floats
    heads: Mapping[str, NDArray[np.float32]]
    attributes: Mapping[str, Floats]
    served: Mapping[int, NDArray[np.intp]]


@dataclass
class ItemNames:
    """Numbers for item ids, in the order in which they are met."""

    names: list[str] = field(default_factory=list)
    _numbers: dict[str, int] = field(default_factory=dict)

    def numbers(self, ids: Iterable[str]) -> NDArray[np.int64]:
        found = []
        for id_ in ids:
            number = self._numbers.get(id_)
            if number is None:
                number = self._numbers[id_] = len(self.names)
                self.names.append(id_)
            found.append(number)
        return np.array(found, np.int64)


def stack(rankings: Sequence[Ranked], names: ItemNames) -> Iterator[Batch]:
    """Batches of requests from memory; those of which nothing was scored are left out."""
    scored = [ranked for ranked in rankings if ranked.scored]
    scored.sort(key=_layout)
    for (model, _, _), group in groupby(scored, key=_layout):
        together = list(group)
        for first in range(0, len(together), SIZE):
            yield _stack(model, together[first : first + SIZE], names)


def _layout(ranked: Ranked) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    return ranked.model, tuple(ranked.heads), tuple(ranked.attributes)


def _stack(model: str, rankings: Sequence[Ranked], names: ItemNames) -> Batch:
    first = rankings[0]
    return Batch(
        model=model,
        asked=[
            Asked(
                r.request_id,
                r.at_s,
                r.user_id,
                r.user,
                r.context,
                r.asked,
                r.all_user,
                plan=r.plan,
                categories=r.categories,
            )
            for r in rankings
        ],
        counts=np.array([r.scored for r in rankings], np.int64),
        items=names.numbers(id_ for r in rankings for id_ in r.ids[: r.scored]),
        scores=np.concatenate([r.scores[: r.scored] for r in rankings]),
        heads={name: np.concatenate([r.heads[name] for r in rankings]) for name in first.heads},
        attributes={
            name: np.concatenate([r.attributes[name] for r in rankings])
            for name in first.attributes
        },
        served=served_orders((r.scores[: r.scored], r.order) for r in rankings),
    )


def served_orders(
    requests: Iterable[tuple[Floats, NDArray[np.intp]]],
) -> dict[int, NDArray[np.intp]]:
    """`Batch.served` of requests: scores of the scored, input positions as served, best first."""
    found = {}
    for request, (scores, order) in enumerate(requests):
        shown = order[order < len(scores)]
        served = scores[shown]
        if not ((served[:-1] >= served[1:]) | np.isnan(served[1:])).all():
            rest = np.ones(len(scores), bool)
            rest[shown] = False
            by_score = np.argsort(np.where(np.isnan(scores), np.inf, -scores), kind="stable")
            found[request] = np.concatenate([shown, by_score[rest[by_score]]])
    return found
