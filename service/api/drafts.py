"""Preview a draft plan: what of it each answered request would have got."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.experiment.snapshot import Snapshot
from service.fusion import Scores, order
from service.rerank.rerank import rerank
from service.rerank.rules import Given
from service.traffic.batch import Asked, Batch, ItemNames
from service.traffic.drafted import Draft, Treatment
from service.traffic.preview import Preview

Progress = Callable[[int], None]  # told how many requests have been compared

_LONGEST_PAUSE_S = 0.05


def draft_of(snapshot: Snapshot) -> Draft:
    """The treatments of a snapshot, as of the time of each request."""

    def treatment(asked: Asked) -> Treatment:
        own, _ = snapshot.read_asked(asked.asked or None)
        return snapshot.assign(
            asked.user_id, asked.request_id, asked.context, asked.user, own, asked.at_s
        )

    return treatment


def reorder(
    rules: Any,
    ids: Sequence[str],
    scores: NDArray[np.float64],
    categories: Mapping[str, NDArray[np.integer]],
    attributes: Mapping[str, NDArray[np.float64]],
) -> NDArray[np.intp]:
    """The order of candidates under rules after fusion; those without a score (NaN) come last."""
    valid = ~np.isnan(scores)
    ranked = order(Scores(scores, valid))
    given = Given(ids, ranked, int(valid.sum()), scores, categories, attributes)
    return rerank(rules, given).order


def preview(
    snapshot: Snapshot,
    batches: Iterable[Batch],
    names: ItemNames,
    progress: Progress | None = None,
    *,
    gives_way: bool = False,
) -> dict[str, Any]:
    """The report of a draft; `gives_way`: to the requests that need the interpreter meanwhile."""
    found = Preview(draft_of(snapshot), names, reorder)
    for batch in batches:
        began = time.perf_counter()
        found.add(batch)
        if progress is not None:
            progress(len(batch.asked))
        if gives_way:
            time.sleep(min(time.perf_counter() - began, _LONGEST_PAUSE_S))
    return found.report()


def batches_of_log(
    directory: Path, scene: str, last: int, names: ItemNames
) -> tuple[int, Iterable[Batch]]:
    """How many requests there are, at most `last`, and their batches.

    Raises:
        TrafficError: no log of this scene.
        NoParquet: pyarrow is not installed.
    """
    from service.traffic.errors import NoParquet

    try:
        from service.traffic.log_files import find_files, read_batches
    except ImportError as err:
        raise NoParquet(f"reading the log in {directory}") from err
    files = find_files(directory, scene)
    return min(sum(file.rows for file in files), last), read_batches(files, last, names)
