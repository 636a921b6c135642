"""Who changes arms when one plan takes the place of another: exact, bucket by bucket.

Growing an experiment's buckets moves nobody. Other shares, another salt or another order of arms
move units that were counted in one arm into another, which spoils what is measured.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from service.experiment.assignment import ExperimentSlots, LayerSlots
from service.experiment.findings import Finding, pointer
from service.experiment.hashes import BUCKETS
from service.experiment.snapshot import Snapshot
from service.experiment.walk import Path

_MOST_PAIRS = 3  # named in a sentence


def redrawn(before: Snapshot, after: Snapshot) -> list[Finding]:
    """Warnings about experiments that both plans have, with places in the later one.

    An experiment or arm that ends is meant to: nobody is warned of that.
    """
    old = {layer.name: layer for layer in before.layers}
    return [
        finding
        for place, layer in enumerate(after.layers)
        if layer.name in old
        for finding in _of_layer(("layers", place), old[layer.name], layer, after)
    ]


def _of_layer(path: Path, old: LayerSlots, new: LayerSlots, after: Snapshot) -> Iterator[Finding]:
    was, now = _experiments(old), _experiments(new)
    both = [name for name in now if name in was]
    if not both:
        return
    changed = [key for key in ("salt", "unit", "hash_name", "slice_s") if _differ(old, new, key)]
    if changed:
        yield _warning(
            path,
            f"layer {new.name!r} has another {' and '.join(changed).replace('hash_name', 'hash')}:"
            f" everybody in {', '.join(both)} is drawn anew",
        )
        return
    places = {e.name: j for j, e in enumerate(after.plan.layers[int(path[1])].experiments)}
    left = Counter(
        before.name
        for before, later in zip(old.experiments, new.experiments, strict=True)
        if before is not None and (later is None or later.name != before.name)
    )
    for name in both:
        yield from _of_experiment((*path, "experiments", places[name]), was[name], now[name])
        if left[name]:
            message = f"{left[name] * 100 / BUCKETS:g} % of the layer's traffic leaves {name!r}"
            yield _warning((*path, "experiments", places[name], "buckets"), message)


def _of_experiment(path: Path, old: ExperimentSlots, new: ExperimentSlots) -> Iterator[Finding]:
    if old.seed != new.seed:
        yield _warning((*path, "seed"), f"{new.name!r} has another seed: its arms are drawn anew")
        return
    there = {arm.id for arm in new.arms if arm is not None}
    moves: Counter[tuple[str, str]] = Counter()
    for first, end in pairwise(sorted({0, *old.limits, *new.limits, BUCKETS})):
        was, now = old.arm(first), new.arm(first)
        if was is not None and was.id in there and (now is None or now.id != was.id):
            moves[was.id, "none" if now is None else now.id] += end - first
    if moves:
        told = [
            f"{count * 100 / BUCKETS:g} % from {was.partition('/')[2]} to {now.rpartition('/')[2]}"
            for (was, now), count in moves.most_common(_MOST_PAIRS)
        ]
        yield _warning(
            (*path, "arms"),
            f"units of {new.name!r} change arms ({', '.join(told)}): what was measured of them so"
            " far mixes both; growing the buckets moves nobody",
        )


def _experiments(layer: LayerSlots) -> dict[str, ExperimentSlots]:
    return {found.name: found for found in layer.experiments if found is not None}


def _differ(old: LayerSlots, new: LayerSlots, key: str) -> bool:
    return bool(getattr(old, key) != getattr(new, key))


def _warning(path: Path, message: str) -> Finding:
    return Finding("warning", pointer(*path), message)
