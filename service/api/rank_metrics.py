"""What a ranking adds to the metrics."""

from collections.abc import Mapping

from service.metrics import Metrics
from service.scoring.answers import INVALID_SCORE
from service.scoring.ranking import RankInput, RankOutput
from service.scoring.scorer import FEATURE_STORE, FEWER_CANDIDATES


def count_ranked(
    metrics: Metrics,
    asked: RankInput,
    output: RankOutput,
    timings_ms: Mapping[str, float],
    seconds: float,
) -> None:
    """Count an answered request, its stages, and what it gave up."""
    scene, child = asked.scene, metrics.child
    child(metrics.requests, scene, "200").inc()
    child(metrics.request_seconds, scene).observe(seconds)
    for stage, ms in timings_ms.items():
        child(metrics.stage_seconds, stage).observe(ms / 1000)
    child(metrics.candidates, scene).observe(len(asked.ids))
    for layer, arm in output.treatment.assignments.items():
        child(metrics.served, scene, layer, arm).inc()
    metrics.count_features(scene, output.counts)
    if output.found_items is not None:
        scored = len(asked.ids) - output.degraded.get(FEWER_CANDIDATES, 0)
        child(metrics.item_lookups, scene, "hit").inc(output.found_items)
        child(metrics.item_lookups, scene, "miss").inc(scored - output.found_items)
    for reason in output.degraded:
        child(metrics.degraded, scene, reason).inc()
    if invalid := output.degraded.get(INVALID_SCORE, 0):
        child(metrics.invalid_scores, scene, output.treatment.formula_name).inc(invalid)
    if output.reranked is not None:
        for rule, count in output.reranked.moved.items():
            child(metrics.rerank_moved, scene, rule).inc(count)
        for rule, count in output.reranked.unmet.items():
            child(metrics.rerank_unmet, scene, rule).inc(count)
    if FEATURE_STORE in output.degraded:
        child(metrics.feature_store_errors, scene).inc()
