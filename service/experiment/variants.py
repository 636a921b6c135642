"""A snapshot as it would be if everybody got one model: to try that model before it serves."""

from collections.abc import Collection, Iterator
from dataclasses import replace

from service.experiment.snapshot import Snapshot


def one_model_each(snapshot: Snapshot, models: Collection[str]) -> Iterator[tuple[str, Snapshot]]:
    """(model, snapshot) for each of `models` that the snapshot can reach, in any role."""
    left = set(models)
    for treatment in snapshot.treatments.values():
        for found in (treatment, *treatment.lighter, treatment.shadow):
            if found is not None and found.model in left:
                left.remove(found.model)
                yield (
                    found.model,
                    replace(snapshot, layers=(), forced={}, treatments={(): found}),
                )
