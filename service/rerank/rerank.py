"""Light rules after fusion: another order of the same items, the same for the same request."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from service.rerank.diversity import Rows, by_mmr, decayed
from service.rerank.rules import Given, Reranked, Rules
from service.rerank.slots import excess, fill


def rerank(rules: Rules, given: Given, *, told: bool = False) -> Reranked:
    """Apply the rules to the candidates that have scores; the others follow as they did.

    Without rules, or nothing that breaks one, it is the same order. What moved is counted.
    """
    rows, pinned = given.order[: given.valid], _pinned_rows(rules, given)
    if not len(rows):
        return Reranked(given.order, _unmet(rules, given, rows, pinned))
    notes: dict[int, list[str]] = {}
    moves: dict[str, int] = {}
    moved = rows
    scores = given.scores[rows]
    if rules.decay:
        moved, scores = _decay(rules, given, rows, scores, notes if told else None)
        moves["decay"] = _moves(rows, moved)
    if rules.mmr is not None:
        before = moved
        places = by_mmr(rules.mmr, given, moved, scores)
        moved = moved[places]
        moves["mmr"] = _moves(before, moved)
        if told:
            _note(notes, before, moved, "mmr")
    before = moved
    moved = _fill(rules, given, moved, pinned)
    moves["slots"] = _moves(before, moved)
    if told:
        _note(notes, before, moved, "caps, fresh or pins")
    unmet = _unmet(rules, given, moved, pinned)
    ranked = np.concatenate([moved, given.order[given.valid :]])
    return Reranked(ranked, unmet, notes, {rule: count for rule, count in moves.items() if count})


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


def _moves(before: Rows, after: Rows) -> int:
    return 0 if after is before else int(np.count_nonzero(before != after))


def _note(notes: dict[int, list[str]], before: Rows, after: Rows, rule: str) -> None:
    place = {row: at for at, row in enumerate(before.tolist(), start=1)}
    for at, row in enumerate(after.tolist(), start=1):
        if place[row] != at:
            notes.setdefault(row, []).append(f"{rule}: place {place[row]} -> {at}")


def _fill(rules: Rules, given: Given, rows: Rows, pinned: Mapping[int, int]) -> Rows:
    """The order under caps, fresh and pins; unchanged when it keeps them all already."""
    fresh = rules.fresh
    places = min(rules.places, len(rows))
    position = {}
    if pinned:
        position = dict(zip(rows.tolist(), range(len(rows)), strict=True))
    pins = {
        place: position[row] for place, row in pinned.items() if row in position and place < places
    }
    categories = [given.categories[cap.by][rows] for cap in rules.caps]
    fits = not any(
        excess(cap, ids[:places]) for cap, ids in zip(rules.caps, categories, strict=True)
    )
    new = np.zeros(len(rows), bool)
    if fresh is not None:
        new = given.attributes[fresh.by][rows] <= fresh.below
        fits = fits and int(new[: fresh.first].sum()) >= min(fresh.least, int(new.sum()))
    if fits and all(place == row for place, row in pins.items()):
        return rows
    least, first = (fresh.least, min(fresh.first, places)) if fresh is not None else (0, 0)
    filled = fill(rules.caps, categories, new, least, first, pins, places)
    left = np.ones(len(rows), bool)
    left[filled] = False
    after: Rows = rows[np.concatenate([filled, np.flatnonzero(left)])]
    return after


def _pinned_rows(rules: Rules, given: Given) -> dict[int, int]:
    """Place (0-based) -> input position, of the pinned items that are candidates."""
    if not rules.pins:
        return {}
    row_of = dict(zip(given.ids, range(len(given.ids)), strict=True))
    return {place - 1: row_of[id_] for id_, place in rules.pins.items() if id_ in row_of}


def _unmet(rules: Rules, given: Given, rows: Rows, pinned: Mapping[int, int]) -> dict[str, int]:
    """What the finished order does not keep."""
    found = {
        f"caps/{number}": excess(cap, given.categories[cap.by][rows[: rules.places]])
        for number, cap in enumerate(rules.caps)
    }
    if (fresh := rules.fresh) is not None:
        shown = int((given.attributes[fresh.by][rows[: fresh.first]] <= fresh.below).sum())
        found["fresh"] = max(fresh.least - shown, 0)
    if pinned:
        found["pins"] = sum(
            place >= len(rows) or rows[place] != row for place, row in pinned.items()
        )
    return {rule: count for rule, count in found.items() if count}
