"""What a ranking adds to the metrics."""

from collections.abc import Mapping
from typing import NamedTuple

from service.contract.encode import Counts
from service.metrics import Metrics
from service.scoring.answers import INVALID_SCORE
from service.scoring.ranking import RankInput, RankOutput, Reranked, Treatment
from service.scoring.scorer import FEATURE_STORE, FEWER_CANDIDATES


def count_ranked(
    metrics: Metrics,
    asked: RankInput,
    output: RankOutput,
    timings_ms: Mapping[str, float],
    seconds: float,
) -> None:
    """Count an answered request, its stages, and what it gave up; soon (see Metrics.later)."""
    # Not the output itself: it holds all that was scored.
    told = _Told(
        asked.scene,
        len(asked.ids),
        output.treatment,
        output.degraded,
        output.counts,
        {"id": output.found_items, "content": output.found_contents},
        output.reranked,
    )
    metrics.later(lambda: _count(metrics, told, timings_ms, seconds))


class _Told(NamedTuple):
    """What is counted of an answer."""

    scene: str
    candidates: int
    treatment: Treatment
    degraded: Mapping[str, int]
    counts: Counts
    found: Mapping[str, int | None]  # by what the item cache was asked -> candidates it had
    reranked: Reranked | None


def _count(metrics: Metrics, told: _Told, timings_ms: Mapping[str, float], seconds: float) -> None:
    scene, child, degraded = told.scene, metrics.child, told.degraded
    child(metrics.requests, scene, "200").inc()
    child(metrics.request_seconds, scene).observe(seconds)
    for stage, ms in timings_ms.items():
        child(metrics.stage_seconds, stage).observe(ms / 1000)
    child(metrics.candidates, scene).observe(told.candidates)
    for layer, arm in told.treatment.assignments.items():
        child(metrics.served, scene, layer, arm).inc()
    metrics.count_features(scene, told.counts)
    for by, found in told.found.items():
        if found is not None:
            scored = told.candidates - degraded.get(FEWER_CANDIDATES, 0)
            child(metrics.item_lookups, scene, by, "hit").inc(found)
            child(metrics.item_lookups, scene, by, "miss").inc(scored - found)
    for reason in degraded:
        child(metrics.degraded, scene, reason).inc()
    if invalid := degraded.get(INVALID_SCORE, 0):
        child(metrics.invalid_scores, scene, told.treatment.formula_name).inc(invalid)
    if told.reranked is not None:
        for rule, count in told.reranked.moved.items():
            child(metrics.rerank_moved, scene, rule).inc(count)
        for rule, count in told.reranked.unmet.items():
            child(metrics.rerank_unmet, scene, rule).inc(count)
    if FEATURE_STORE in degraded:
        child(metrics.feature_store_errors, scene).inc()
