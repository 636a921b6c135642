"""What was scored -> the answer for every candidate of the request, the unscored ones included."""

from collections.abc import Mapping

import numpy as np

from service.contract.encode import Counts
from service.scoring.ranking import RankInput, RankOutput, Snapshot, Treatment
from service.scoring.scored import Scored

BAD_FEATURE, INVALID_SCORE = "bad_feature", "invalid_score"


def ranked(
    request: RankInput,
    snapshot: Snapshot,
    treatment: Treatment,
    scored: Scored,
    degraded: Mapping[str, int],
    timings_ms: Mapping[str, float],
    found_items: int | None = None,
) -> RankOutput:
    """The scored candidates best first; those after them in the request follow without scores."""
    rows, done = len(request.ids), len(scored.scores)
    invalid = done - int(np.count_nonzero(scored.valid))
    found = {BAD_FEATURE: scored.bad_features, INVALID_SCORE: invalid}
    order, scores, valid = scored.order, scored.scores, scored.valid
    heads = scored.heads if request.heads or request.explain else {}
    if done < rows:
        order = np.concatenate([order, np.arange(done, rows)])
        scores = np.concatenate([scores, np.full(rows - done, np.nan)])
        valid = np.concatenate([valid, np.zeros(rows - done, bool)])
        tail = np.full(rows - done, np.nan)
        heads = {name: np.concatenate([values, tail]) for name, values in heads.items()}
    return RankOutput(
        order=order[: request.limit],
        scores=scores,
        valid=valid,
        heads=heads,
        treatment=treatment,
        plan=snapshot.version,
        degraded={**degraded, **{reason: count for reason, count in found.items() if count}},
        counts=scored.counts,
        timings_ms=timings_ms,
        explained=scored.explained,
        reranked=scored.reranked,
        found_items=found_items,
        found_contents=scored.found_contents,
        evidence=scored.evidence,
    )


def in_input_order(
    request: RankInput,
    snapshot: Snapshot,
    treatment: Treatment,
    timings_ms: Mapping[str, float],
    degraded: Mapping[str, int],
    heads: tuple[str, ...] = (),
) -> RankOutput:
    """No candidate scored, for the reasons in `degraded`; `heads` of no candidates are empty."""
    rows = len(request.ids)
    return RankOutput(
        order=np.arange(rows)[: request.limit],
        scores=np.full(rows, np.nan),
        valid=np.zeros(rows, bool),
        heads={name: np.zeros(rows) for name in heads},
        treatment=treatment,
        plan=snapshot.version,
        degraded=degraded,
        counts=Counts(),
        timings_ms=timings_ms,
    )
