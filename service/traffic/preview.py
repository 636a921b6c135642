"""What a draft plan would change in the order of requests that were answered, without any model.

Heads and attributes are those that were computed then; the draft's formulas run on them, its rules
after fusion on that, and the order is compared with the one that was served. That is a change of
order, not lift: nobody saw the new order.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.traffic.batch import Batch, Floats, ItemNames
from service.traffic.drafted import Draft, Reorder, reordered, score
from service.traffic.kendall import tau_b
from service.traffic.movers import Movers
from service.traffic.ranks import Rows, order_of, places_of

Orders = Mapping[int, NDArray[np.intp]]  # of some requests

NOTE = "a change of order, not lift: nobody has seen the new order yet"
TAU_DEPTH = 100  # tau-b is over the candidates that were served first
DEPTHS = (5, 10, 50)  # what is said of the first k counts requests with more than k candidates
SHOWN = 10  # the first screen: length classes and movers are about it
VIDEOLEN = "videolen_s"
LENGTHS_S = (15.0, 30.0, 60.0, 180.0)


@dataclass
class Preview:
    """Adds up batches; `report` says what they come to."""

    draft: Draft
    names: ItemNames
    reorder: Reorder | None = None  # for drafts with rules after fusion
    requests: int = 0
    skipped: Counter[str] = field(default_factory=Counter)  # why -> requests
    _times_s: list[float] = field(default_factory=list)
    _formulas: Counter[str] = field(default_factory=Counter)
    _models: Counter[str] = field(default_factory=Counter)
    _plans: Counter[str] = field(default_factory=Counter)
    _taus: list[Floats] = field(default_factory=list)
    _longer: Counter[int] = field(default_factory=Counter)  # k -> requests with more candidates
    _overlap: dict[int, float] = field(default_factory=lambda: dict.fromkeys(DEPTHS, 0.0))
    _counts: Counter[str] = field(default_factory=Counter)
    _means: dict[tuple[str, int], "_Means"] = field(default_factory=lambda: defaultdict(_Means))
    _lengths: Floats = field(default_factory=lambda: np.zeros((2, len(LENGTHS_S) + 1)))
    _movers: Movers = field(init=False)

    def __post_init__(self) -> None:
        self._movers = Movers(self.names, SHOWN)

    def add(self, batch: Batch) -> None:
        """Compare the requests of a batch."""
        drafted = score(self.draft, batch)
        self._formulas += drafted.formulas
        self.skipped += drafted.skipped
        scores = drafted.scores
        orders, lacking = reordered(drafted, batch, self.names, self.reorder)
        served = {request: of for request, of in batch.served.items() if request not in lacking}
        self._counts["by_score_only"] += len(lacking)
        if not drafted.known.all():
            now_at = np.cumsum(drafted.known) - 1
            served, orders = (
                {int(now_at[r]): of for r, of in found.items() if drafted.known[r]}
                for found in (served, orders)
            )
            rows_known = np.repeat(drafted.known, batch.counts)
            batch, scores = _only(batch, drafted.known, rows_known), scores[rows_known]
        if not batch.asked:
            return
        both = _Both.of(Rows(batch.counts), (batch.scores, scores), (served, orders))
        self.requests += len(batch.asked)
        self._models[batch.model] += len(batch.asked)
        self._plans.update(str(asked.plan) for asked in batch.asked)
        self._times_s += [asked.at_s for asked in batch.asked]
        self._taus.append(both.taus())
        self._counts += both.counts()
        for depth in DEPTHS:
            longer = batch.counts > depth
            self._longer[depth] += int(longer.sum())
            self._overlap[depth] += float(both.overlaps(depth)[longer].sum())
        columns: dict[str, NDArray[Any]] = {**batch.attributes, **batch.heads}
        for name, values in columns.items():
            self._add_means(name, both, values.astype(np.float64))
        items = both.rows.matrix(batch.items, -1)
        self._movers.add(items, both.rows.real, *both.places)

    def report(self) -> dict[str, Any]:
        """Everything as JSON holds it; shares are of requests unless they say otherwise."""
        many = max(self.requests, 1)
        taus = np.concatenate([np.zeros(0), *self._taus])
        defined = taus[np.isfinite(taus)]
        means: dict[str, dict[str, Any]] = {}
        for (name, depth), found in self._means.items():
            means.setdefault(name, {})[str(depth)] = found.report()
        return {
            "note": NOTE,
            "requests": self.requests,
            "skipped": dict(self.skipped),
            "first_at_s": min(self._times_s, default=None),
            "last_at_s": max(self._times_s, default=None),
            "models": dict(self._models),
            "formulas": dict(self._formulas),
            "plans": dict(self._plans),
            "tau_b": {
                "depth": TAU_DEPTH,
                "mean": float(defined.mean()) if len(defined) else None,
                "median": float(np.median(defined)) if len(defined) else None,
                "p10": float(np.quantile(defined, 0.1)) if len(defined) else None,
                "undefined": len(taus) - len(defined),
            },
            "longer_than": {str(depth): self._longer[depth] for depth in DEPTHS},
            "overlap": {str(k): self._overlap[k] / n for k, n in self._longer.items() if n},
            "top1_changed": self._counts["top1_changed"] / many,
            "unchanged": self._counts["unchanged"] / many,
            "by_score_only": self._counts["by_score_only"],
            "newly_invalid": self._counts["newly_invalid"],
            "means": means,
            "lengths": self._length_shares(),
            "movers": self._movers.report(),
        }

    def _add_means(self, name: str, both: "_Both", values: Floats) -> None:
        served, draft = both.firsts(values, max(DEPTHS))
        for depth in DEPTHS:
            if (longer := both.rows.counts > depth).any():
                both_means = _mean(served[longer, :depth]), _mean(draft[longer, :depth])
                self._means[name, depth].add(*both_means)
        if name == VIDEOLEN:
            for at, firsts in enumerate((served[:, :SHOWN], draft[:, :SHOWN])):
                classes = np.searchsorted(LENGTHS_S, firsts[np.isfinite(firsts)], "right")
                self._lengths[at] += np.bincount(classes, minlength=len(LENGTHS_S) + 1)

    def _length_shares(self) -> list[dict[str, Any]]:
        """Shares of the places on the first screen, by length of the video."""
        totals = self._lengths.sum(axis=1)
        if not totals.all():
            return []
        edges = (0.0, *LENGTHS_S, None)
        return [
            {"from_s": edges[at], "below_s": edges[at + 1], "served": was, "draft": now}
            for at, (was, now) in enumerate((self._lengths / totals[:, None]).T.tolist())
        ]


@dataclass
class _Means:
    """Sums over requests of a mean over their first k candidates, as served and as drafted."""

    requests: int = 0
    served: float = 0.0
    draft: float = 0.0

    def add(self, served: Floats, draft: Floats) -> None:
        known = np.isfinite(served) & np.isfinite(draft)
        self.requests += int(known.sum())
        self.served += float(served[known].sum())
        self.draft += float(draft[known].sum())

    def report(self) -> dict[str, float | None]:
        if not self.requests:
            return {"served": None, "draft": None, "delta": None}
        served, draft = self.served / self.requests, self.draft / self.requests
        return {"served": served, "draft": draft, "delta": draft - served}


@dataclass(frozen=True)
class _Both:
    """R requests as served and as drafted: (R, W) scores, orders and places.

    `ruled`: the requests of which rules after fusion made an order.
    """

    rows: Rows
    scores: tuple[Floats, Floats]
    orders: tuple[NDArray[np.intp], NDArray[np.intp]]
    places: tuple[NDArray[np.intp], NDArray[np.intp]]
    ruled: tuple[Orders, Orders]

    @classmethod
    def of(cls, rows: Rows, flat: tuple[Floats, Floats], ruled: tuple[Orders, Orders]) -> "_Both":
        scores = rows.matrix(flat[0], np.nan), rows.matrix(flat[1], np.nan)
        orders = order_of(scores[0]), order_of(scores[1])
        for order, changed in zip(orders, ruled, strict=True):
            for request, found in changed.items():
                order[request, : len(found)] = found
        places = places_of(orders[0]), places_of(orders[1])
        return cls(rows, scores, orders, places, ruled)

    def taus(self) -> Floats:
        """(R,) over the candidates that were served first; the invalid ones are tied behind.

        By scores, so that equal ones are tied; by places where rules made the order.
        """
        first = self.orders[0][:, :TAU_DEPTH]
        real = np.take_along_axis(self.rows.real, first, axis=1)
        compared = []
        for scores, places, ruled in zip(self.scores, self.places, self.ruled, strict=True):
            if ruled:
                requests = list(ruled)
                by_place = np.where(np.isnan(scores[requests]), np.nan, -places[requests])
                scores = scores.copy()
                scores[requests] = by_place
            compared.append(np.take_along_axis(scores, first, axis=1))
        x, y = compared
        x, y = np.where(np.isnan(x), -np.inf, x), np.where(np.isnan(y), -np.inf, y)
        return tau_b(x, np.where(real, y, np.nan))

    def overlaps(self, depth: int) -> Floats:
        """(R,) share of the first `depth` that stay among them, where there are as many."""
        served, draft = self.places
        both = (served < depth) & (draft < depth) & self.rows.real
        return np.asarray(both.sum(axis=1) / depth)

    def firsts(self, flat: Floats, depth: int) -> tuple[Floats, Floats]:
        """(R, depth) values of the first candidates, NaN where there are fewer."""
        matrix = self.rows.matrix(flat, np.nan)
        served, draft = (np.take_along_axis(matrix, o[:, :depth], axis=1) for o in self.orders)
        return served, draft

    def counts(self) -> Counter[str]:
        (served, draft), (before, after) = self.scores, self.orders
        return Counter(
            top1_changed=int((before[:, 0] != after[:, 0]).sum()),
            unchanged=int((before == after).all(axis=1).sum()),
            newly_invalid=int((np.isnan(draft) & ~np.isnan(served)).sum()),
        )


def _mean(values: Floats) -> Floats:
    """(R,) over what is finite; NaN where nothing is."""
    known = np.isfinite(values)
    counts = known.sum(axis=1)
    sums = np.where(known, values, 0.0).sum(axis=1)
    out = np.full(len(values), np.nan)
    np.divide(sums, counts, out=out, where=counts > 0)
    return out


def _only(batch: Batch, known: NDArray[np.bool_], rows: NDArray[np.bool_]) -> Batch:
    """The requests that could be compared."""
    return replace(
        batch,
        asked=[a for a, kept in zip(batch.asked, known.tolist(), strict=True) if kept],
        counts=batch.counts[known],
        items=batch.items[rows],
        scores=batch.scores[rows],
        heads={name: values[rows] for name, values in batch.heads.items()},
        attributes={name: values[rows] for name, values in batch.attributes.items()},
        served={},
    )
