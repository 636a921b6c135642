"""Estimate what a draft's first K are worth, from outcomes of items with logged propensities."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.traffic.batch import Batch, ItemNames
from service.traffic.drafted import Draft, score
from service.traffic.errors import TrafficError
from service.traffic.off_policy import Estimate, Shown, doubly_robust, outcome_model, snips
from service.traffic.outcomes import Outcomes
from service.traffic.ranks import Rows, order_of, places_of


@dataclass(frozen=True)
class Worth:
    """SNIPS and DR of one outcome over the first K, as served and as drafted."""

    outcome: str
    policy: str
    snips: Estimate | None
    doubly_robust: Estimate | None


def worth(
    batches: Iterable[Batch], names: ItemNames, draft: Draft, outcomes: Outcomes, depth: int
) -> list[Worth]:
    """Every outcome, for the served order and the draft's.

    Raises:
        TrafficError: the outcomes lack item ids or propensities, or match no candidate.
    """
    if outcomes.item is None or outcomes.propensity is None:
        raise TrafficError("SNIPS and DR need the columns item_id and propensity in the outcomes")
    row_of = {key: row for row, key in enumerate(zip(outcomes.request, outcomes.item, strict=True))}
    requests, inputs, rows, tops = [], [], [], ([], [])  # type: ignore[var-annotated]
    count, columns = 0, None
    for batch in batches:
        drafted = score(draft, batch)
        if not drafted.known.all():
            raise TrafficError(f"the draft cannot be computed: {min(drafted.skipped)}")
        columns = columns or tuple(sorted(batch.heads))
        if tuple(sorted(batch.heads)) != columns:
            raise TrafficError("the log holds models with different heads: name fewer requests")
        inputs.append(np.stack([batch.heads[n] for n in columns], axis=1).astype(np.float64))
        requests.append(np.repeat(np.arange(len(batch.asked)) + count, batch.counts))
        count += len(batch.asked)
        rows.append(_rows(batch, names, row_of))
        for kept, scores in zip(tops, (batch.scores, drafted.scores), strict=True):
            kept.append(_firsts(batch, scores, depth))
    found = np.concatenate([np.zeros(0, np.int64), *rows])
    known = found >= 0
    if not known.any():
        raise TrafficError("no row of the outcomes is a candidate of a logged request")
    chance = np.where(known, outcomes.propensity[found], 1.0)
    served, draft_top = (np.concatenate(kept) for kept in tops)
    estimates = []
    for name, values in outcomes.values.items():
        reward = np.where(known, values[found], np.nan)
        shown = Shown(np.concatenate(requests), np.concatenate(inputs), reward, chance)
        guess = outcome_model(shown)
        for policy, top in (("served", served), ("draft", draft_top)):
            robust = doubly_robust(shown, top, guess)
            estimates.append(Worth(name, policy, snips(shown, top), robust))
    return estimates


def _rows(batch: Batch, names: ItemNames, row_of: dict[tuple[str, str], int]) -> NDArray[np.int64]:
    """(N,) row of the outcomes of each candidate, -1 where it has none."""
    found = np.full(len(batch.items), -1, np.int64)
    at = 0
    for asked, count in zip(batch.asked, batch.counts.tolist(), strict=True):
        for place in range(at, at + count):
            key = asked.request_id, names.names[batch.items[place]]
            found[place] = row_of.get(key, -1)
        at += count
    return found


def _firsts(batch: Batch, scores: NDArray[np.float64], depth: int) -> NDArray[np.bool_]:
    rows = Rows(batch.counts)
    first = places_of(order_of(rows.matrix(scores, np.nan))) < depth
    return np.asarray(first[rows.real])
