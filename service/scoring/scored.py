"""Score the candidates of one request, from raw values to an order; runs on a worker thread."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.contract.encode import Counts
from service.features.store import Fetched
from service.fusion import order
from service.scoring.errors import RunStopped
from service.scoring.explaining import Explaining, explain
from service.scoring.kept import ByContent, Kept
from service.scoring.package import LoadedModel
from service.scoring.pieces import Crew
from service.scoring.prepared import infer, item_categories, prepare
from service.scoring.ranking import Evidence, Explained, RankInput, Reranked, Treatment
from service.scoring.reranking import Reranker, apply_rules
from service.scoring.session import Stop
from service.scoring.stages import Stages

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Scored:
    """N candidates: heads (as the formula saw them) and scores in input order, `order` best first.

    `helped_ms`: by how much threads worked longer on the inference than it took. `found_contents`:
    candidates that the item cache had by content, None where it was not asked so.
    """

    heads: Mapping[str, NDArray[np.float64]]
    scores: NDArray[np.float64]
    valid: NDArray[np.bool_]
    order: NDArray[np.intp]
    counts: Counts
    bad_features: int
    timings_ms: Mapping[str, float]
    explained: Explained | None
    reranked: Reranked | None = None
    evidence: Evidence | None = None
    helped_ms: float = 0.0
    found_contents: int | None = None


def score(
    request: RankInput,
    treatment: Treatment,
    model: LoadedModel,
    fetched: Fetched,
    kept: Kept | ByContent | None,
    stop: Stop,
    clock: Callable[[], float],
    asked_at: float,
    infer_by: float = math.inf,
    explaining: Explaining | None = None,
    reranker: Reranker | None = None,
    crew: Crew | None = None,
) -> Scored:
    """Read, encode, run, fuse, order. `asked_at`: when this was handed over, on `clock`.

    Idle threads of `crew` help with the inference. Without a `reranker` the order is that of the
    scores, whatever rules the treatment has.

    Raises:
        InlineError: a value of the request that its feature cannot take.
        RunStopped: `stop` was set, or inference could not begin before the instant `infer_by`.
        RunFailed: see Session.run.
    """
    stages, rows = Stages(clock), len(request.ids)
    stages.waited("queue", since=asked_at)
    with stages.timed("encode"):
        prepared = prepare(model.schema, request, fetched, kept)
    if clock() > infer_by:
        raise RunStopped
    with stages.timed("infer"):
        heads, helped_s = infer(model, prepared, kept, rows, stop, crew)
    with stages.timed("fuse"):
        scalars = treatment.scalars(prepared.raw.user, prepared.raw.context)
        # once, for the formula and for the reply: head by head takes fourteen times as long
        wide = dict(zip(heads, np.array([*heads.values()], np.float64), strict=True))
        columns: dict[str, Floats] = {**wide, **prepared.attributes}
        scores = treatment.formula(columns, scalars, rows=rows)
        ranked = order(scores)
    reranked: Reranked | None = None
    categories: Mapping[str, NDArray[np.integer]] = {}
    if reranker is not None and treatment.rerank is not None:
        with stages.timed("rerank"):
            rules = treatment.rerank
            categories = item_categories(model.schema, prepared, kept, rules.categories)
            reranked = apply_rules(reranker, rules, request, prepared, categories, scores, ranked)
    explained = None
    if explaining is not None:
        with stages.timed("explain"):
            explained = explain(
                explaining, request, treatment, model, prepared, columns, scalars, scores
            )
    return Scored(
        heads=wide,
        scores=scores.values,
        valid=scores.valid,
        order=ranked if reranked is None else reranked.order,
        counts=prepared.counts,
        bad_features=prepared.bad_features,
        timings_ms=stages.ms,
        explained=explained,
        reranked=reranked,
        evidence=Evidence(
            heads=heads,
            attributes=prepared.attributes,
            user=prepared.raw.user,
            context=prepared.raw.context,
            blocks=prepared.blocks,
            fetched=fetched,
            versions=prepared.versions,
            categories=categories,
        ),
        helped_ms=helped_s * 1000,
        found_contents=None if prepared.found is None else prepared.found.found,
    )
