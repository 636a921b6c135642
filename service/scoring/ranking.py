"""What goes into a ranking, what comes out of it, and what the scorer asks of a plan snapshot."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from service.contract.encode import Array, Column, Counts
from service.contract.heads import Calibration
from service.features.resolve import Inline
from service.features.store import Fetched
from service.fusion import Explanation, Formula
from service.fusion.compare import Comparison


class Step(Protocol):
    """One step of a plan's ladder: "fewer" (`least` candidates), "model" or "input_order"."""

    @property
    def step(self) -> str: ...
    @property
    def least(self) -> int: ...


class RerankRules(Protocol):
    """What the rules after fusion read: item categories, by encoded id, and item attributes."""

    @property
    def categories(self) -> frozenset[str]: ...
    @property
    def attributes(self) -> frozenset[str]: ...


class Reranked(Protocol):
    """The order after those rules; rule -> how often it could not be kept; rule -> how many
    candidates it moved; input position -> what moved that one, in explained requests.
    """

    @property
    def order(self) -> NDArray[np.intp]: ...
    @property
    def unmet(self) -> Mapping[str, int]: ...
    @property
    def moved(self) -> Mapping[str, int]: ...
    @property
    def notes(self) -> Mapping[int, list[str]]: ...


class Treatment(Protocol):
    """What the plan gives one request: a formula, a model, and the arms it comes from.

    `lighter`: the same under the model of each `model` step of the ladder, None where that is the
    model of this treatment. `shadow`: what is scored beside it, for nobody. `signs`: param -> +1 or
    -1, of those that an arm perturbs.
    """

    @property
    def formula_name(self) -> str: ...
    @property
    def formula(self) -> Formula: ...
    @property
    def model(self) -> str: ...
    @property
    def params(self) -> Mapping[str, float]: ...
    @property
    def assignments(self) -> Mapping[str, str]: ...
    @property
    def exp_id(self) -> str: ...
    @property
    def buckets(self) -> Mapping[str, int]: ...
    @property
    def signs(self) -> Mapping[str, int]: ...
    @property
    def lighter(self) -> "Sequence[Treatment | None]": ...
    @property
    def shadow(self) -> "Treatment | None": ...
    @property
    def rerank(self) -> RerankRules | None: ...
    def scalars(self, user: Mapping[str, Any], context: Mapping[str, Any]) -> dict[str, float]: ...


class Snapshot(Protocol):
    """A compiled plan version."""

    @property
    def version(self) -> int: ...
    @property
    def ladder(self) -> Sequence[Step]: ...
    @property
    def default(self) -> Treatment: ...
    @property
    def bounds(self) -> Mapping[str, tuple[float, float]]: ...
    def assign(
        self,
        user_id: str | None,
        request_id: str | None,
        context: Mapping[str, Any],
        user: Mapping[str, Any] = ...,
        asked: Mapping[str, int | str] = ...,
    ) -> Treatment: ...


@dataclass(frozen=True)
class RankInput:
    """One request, decoded and checked. `deadline`: an instant of the scorer's clock, in s.

    `asked`: the caller's own assignment, layer -> bucket or "experiment/arm".

    `units`, `user_units`: names of its context and its user's values that the experiments read.
    """

    request_id: str
    scene: str
    ids: Sequence[str]
    deadline: float
    user_id: str | None = None
    user: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    item_columns: Mapping[str, Column] = field(default_factory=dict)
    asked: Mapping[str, int | str] = field(default_factory=dict)
    units: frozenset[str] = frozenset()
    user_units: frozenset[str] = frozenset()
    limit: int | None = None
    explain: bool = False
    compare: tuple[int, int] | None = None  # input positions; only with `explain`
    heads: bool = True

    @cached_property
    def inline(self) -> Inline:
        return Inline(
            self.user_id,
            self.ids,
            self.user,
            self.context,
            self.item_columns,
            self.units,
            self.user_units,
        )

    def first(self, rows: int) -> Self:
        """The same request for its first `rows` candidates."""
        if rows >= len(self.ids):
            return self
        columns = {name: column[:rows] for name, column in self.item_columns.items()}
        return replace(self, ids=self.ids[:rows], item_columns=columns)


@dataclass(frozen=True)
class Control:
    """What the request would have got in no experiment: `scores` and `positions` (1 is best) of the
    N candidates in input order; None where that takes a model that did not run.
    """

    treatment: Treatment
    scores: NDArray[np.float64] | None
    positions: NDArray[np.intp] | None


@dataclass(frozen=True)
class Explained:
    """What `explain` adds. Everything per candidate is in input order.

    `positions`: by score, 1 is best. `calibrations`: of the heads that have one. `control`: None
    when no experiment had a part in this ranking.
    """

    terms: Sequence[Explanation]
    attributes: Mapping[str, NDArray[np.float64]]
    scalars: Mapping[str, float]
    missing: Sequence[str]  # user and context names without a value
    missing_by_item: Sequence[Sequence[str]]
    calibrations: Mapping[str, Calibration]
    positions: NDArray[np.intp]
    control: Control | None
    comparison: Comparison | None


@dataclass(frozen=True)
class Evidence:
    """What the scored candidates were scored from, by reference; for whoever records it.

    N scored candidates in input order. `blocks`: the encoded user, context and pairs, without an
    item cache also the items. `fetched`: of all N, with a cache of those that it did not have; then
    `versions` says which record of each of the N was used (see features.versions). `categories`:
    those that rules after fusion read.
    """

    heads: Mapping[str, NDArray[np.float32]]
    attributes: Mapping[str, NDArray[np.float64]]
    user: Mapping[str, Any]
    context: Mapping[str, Any]
    blocks: Mapping[str, Array]
    fetched: Fetched
    versions: NDArray[np.int64] | None
    categories: Mapping[str, NDArray[np.integer]] = field(default_factory=dict)


@dataclass(frozen=True)
class RankOutput:
    """The answer. `order`: input positions, best first, at most `limit`; the rest in input order.

    `heads` is empty when nothing was scored or nobody asked. `degraded`: reason -> how many
    candidates (`bad_feature`: stored values) it concerns. `found_items`, `found_contents`: scored
    candidates that the item cache had by id, or by content; None where it was not asked so.
    `evidence`: None when nothing was scored.
    """

    order: NDArray[np.intp]
    scores: NDArray[np.float64]
    valid: NDArray[np.bool_]
    heads: Mapping[str, NDArray[np.float64]]
    treatment: Treatment
    plan: int
    degraded: Mapping[str, int]
    counts: Counts
    timings_ms: Mapping[str, float]
    explained: Explained | None = None
    found_items: int | None = None
    found_contents: int | None = None
    evidence: Evidence | None = None

    reranked: Reranked | None = None

    @property
    def model(self) -> str:
        """`name/version`."""
        return self.treatment.model
