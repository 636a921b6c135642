"""Run the formulas of a draft on the heads and attributes of requests that were answered."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from service.fusion import Formula
from service.traffic.batch import Asked, Batch, Floats, ItemNames


class Rules(Protocol):
    """What reorders after fusion, and what that reads."""

    @property
    def categories(self) -> frozenset[str]: ...
    @property
    def attributes(self) -> frozenset[str]: ...


class Reorder(Protocol):
    """Apply rules: N candidates by score -> their order."""

    def __call__(
        self,
        rules: Any,
        ids: Sequence[str],
        scores: Floats,
        categories: Mapping[str, NDArray[np.integer]],
        attributes: Mapping[str, Floats],
    ) -> NDArray[np.intp]: ...


class Treatment(Protocol):
    """What a draft gives a request."""

    @property
    def formula(self) -> Formula: ...
    @property
    def formula_name(self) -> str: ...
    @property
    def rerank(self) -> Rules | None: ...
    def scalars(self, user: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, float]: ...


Draft = Callable[[Asked], Treatment]


@dataclass(frozen=True)
class Drafted:
    """`scores`: (N,), NaN where invalid. `known`: (R,) the requests that have scores.

    `formulas` counts requests by formula, `skipped` those without scores by the reason. `ruled`:
    the rules after fusion of those requests that get some.
    """

    scores: Floats
    known: NDArray[np.bool_]
    formulas: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    ruled: dict[int, Rules] = field(default_factory=dict)


def score(draft: Draft, batch: Batch) -> Drafted:
    """The draft's scores; requests with the same formula and scalars are computed together."""
    found = Drafted(np.full(len(batch.scores), np.nan), np.ones(len(batch.asked), bool))
    ends = np.cumsum(batch.counts)
    for group in _groups(draft, batch, found):
        formula, requests = group.formula, group.requests
        rows: Any = slice(None)
        count = len(batch.scores)
        if len(requests) < len(batch.asked):
            rows = np.concatenate([np.arange(ends[r] - batch.counts[r], ends[r]) for r in requests])
            count = len(rows)
        columns: dict[str, NDArray[Any]] = {n: batch.heads[n][rows] for n in formula.heads}
        columns |= {n: batch.attributes[n][rows] for n in formula.attributes}
        scores = formula(columns, group.scalars, rows=count)
        found.scores[rows] = np.where(scores.valid, scores.values, np.nan)
    return found


def reordered(
    drafted: Drafted, batch: Batch, names: ItemNames, reorder: Reorder | None
) -> tuple[dict[int, NDArray[np.intp]], set[int]]:
    """Request -> order under the draft's rules; the requests that lack what the rules read."""
    found, lacking = {}, set[int]()
    ends = np.cumsum(batch.counts)
    for request, rules in drafted.ruled.items():
        asked, rows = (
            batch.asked[request],
            slice(ends[request] - batch.counts[request], ends[request]),
        )
        if (
            reorder is None
            or rules.categories - asked.categories.keys()
            or rules.attributes - batch.attributes.keys()
        ):
            lacking.add(request)
            continue
        found[request] = reorder(
            rules,
            [names.names[item] for item in batch.items[rows].tolist()],
            drafted.scores[rows],
            asked.categories,
            {name: batch.attributes[name][rows] for name in rules.attributes},
        )
    return found, lacking


@dataclass
class _Group:
    formula: Formula
    scalars: Mapping[str, float]
    requests: list[int] = field(default_factory=list)


def _groups(draft: Draft, batch: Batch, found: Drafted) -> Iterable[_Group]:
    """Requests by formula and scalars; each alone where the formula looks across candidates."""
    groups: dict[tuple[Any, ...], _Group] = {}
    for request, asked in enumerate(batch.asked):
        treatment = draft(asked)
        formula = treatment.formula
        lacks = (formula.heads - batch.heads.keys()) | (
            formula.attributes - batch.attributes.keys()
        )
        if lacks:
            found.skipped[f"{batch.model} gave no {min(lacks)!r}"] += 1
            found.known[request] = False
            continue
        found.formulas[treatment.formula_name] += 1
        if treatment.rerank is not None:
            found.ruled[request] = treatment.rerank
        scalars: dict[str, float] = {}
        if formula.scalars:
            scalars = treatment.scalars(asked.user_values(), asked.context)
        key = (id(formula), tuple(scalars.items()), -1 if formula.by_itself else request)
        groups.setdefault(key, _Group(formula, scalars)).requests.append(request)
    return groups.values()
