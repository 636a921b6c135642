"""Light rules after fusion: another order of the same items, the same for the same request."""

import numpy as np
from numpy.typing import NDArray

from service.rerank.diversity import Rows, by_mmr, decayed
from service.rerank.rules import Given, Reranked, Rules
from service.rerank.slots import excess, fill


def rerank(rules: Rules, given: Given, *, told: bool = False) -> Reranked:
    """Apply the rules to the candidates that have scores; the others follow as they did.

    Without rules, or nothing that breaks one, it is the same order.
    """
    rows = given.order[: given.valid]
    if not len(rows):
        return Reranked(given.order, _unmet(rules, given, rows))
    notes: dict[int, list[str]] = {}
    moved = rows
    scores = given.scores[rows]
    if rules.decay:
        moved, scores = _decay(rules, given, rows, scores, notes if told else None)
    if rules.mmr is not None:
        before = moved
        places = by_mmr(rules.mmr, given, moved, scores)
        moved = moved[places]
        if told:
            _note(notes, before, moved, "mmr")
    before = moved
    moved = _fill(rules, given, moved)
    if told:
        _note(notes, before, moved, "caps, fresh or pins")
    unmet = _unmet(rules, given, moved)
    return Reranked(np.concatenate([moved, given.order[given.valid :]]), unmet, notes)


def _decay(
    rules: Rules,
    given: Given,
    rows: Rows,
    scores: NDArray[np.float64],
    notes: dict[int, list[str]] | None,
) -> tuple[Rows, NDArray[np.float64]]:
    for rule in rules.decay:
        kept = decayed(rule, given.categories[rule.by][rows], scores)
        if notes is not None:
            for at in np.flatnonzero(kept != scores).tolist():
                note = f"decay by {rule.by}: {scores[at]:.6g} -> {kept[at]:.6g}"
                notes.setdefault(int(rows[at]), []).append(note)
        order = np.argsort(-kept, kind="stable")
        rows, scores = rows[order], kept[order]
    return rows, scores


def _note(notes: dict[int, list[str]], before: Rows, after: Rows, rule: str) -> None:
    place = {row: at for at, row in enumerate(before.tolist(), start=1)}
    for at, row in enumerate(after.tolist(), start=1):
        if place[row] != at:
            notes.setdefault(row, []).append(f"{rule}: place {place[row]} -> {at}")


def _fill(rules: Rules, given: Given, rows: Rows) -> Rows:
    """The order under caps, fresh and pins; unchanged when it keeps them all already."""
    fresh = rules.fresh
    pins = _pins(rules, given, rows)
    categories = [given.categories[cap.by][rows] for cap in rules.caps]
    fits = all(not len(excess(cap, ids)) for cap, ids in zip(rules.caps, categories, strict=True))
    new = None
    if fresh is not None:
        new = given.attributes[fresh.by][rows] <= fresh.below
        fits = fits and int(new[: fresh.first].sum()) >= min(fresh.least, int(new.sum()))
    if fits and all(place == row for place, row in pins.items()):
        return rows
    if not categories and new is None:
        new = np.zeros(len(rows), bool)
    least, first = (fresh.least, min(fresh.first, len(rows))) if fresh is not None else (0, 0)
    return rows[fill(rules.caps, categories, new, least, first, pins)]


def _asked(rules: Rules, given: Given) -> dict[str, int]:
    """Pins of items that are candidates, as place (0-based) by id."""
    if not rules.pins:
        return {}
    ids = set(given.ids)
    return {id_: place - 1 for id_, place in rules.pins.items() if id_ in ids}


def _pins(rules: Rules, given: Given, rows: Rows) -> dict[int, int]:
    """Place -> position in `rows`, of items that have a score, where there is such a place."""
    asked = _asked(rules, given)
    if not asked:
        return {}
    position = {given.ids[row]: at for at, row in enumerate(rows.tolist())}
    return {
        place: position[id_]
        for id_, place in asked.items()
        if id_ in position and place < len(rows)
    }


def _unmet(rules: Rules, given: Given, rows: Rows) -> dict[str, int]:
    """What the finished order does not keep."""
    found = {
        f"caps/{number}": len(excess(cap, given.categories[cap.by][rows]))
        for number, cap in enumerate(rules.caps)
    }
    if (fresh := rules.fresh) is not None:
        shown = int((given.attributes[fresh.by][rows[: fresh.first]] <= fresh.below).sum())
        found["fresh"] = max(fresh.least - shown, 0)
    if rules.pins:
        place_of = {given.ids[row]: place for place, row in enumerate(rows.tolist())}
        found["pins"] = sum(
            place_of.get(id_) != place for id_, place in _asked(rules, given).items()
        )
    return _without_none(found)


def _without_none(counts: dict[str, int]) -> dict[str, int]:
    return {rule: count for rule, count in counts.items() if count}
