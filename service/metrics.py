"""Every metric of the service in one place: name, meaning, labels. Label values are bounded sets.

Scenes, features and formulas come from plans and packages; what callers send (unknown scenes,
unknown feature names, ids) never becomes a label.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service.contract.encode import Counts

log = structlog.get_logger("finerank.metrics")

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NO_SCENE = ""  # the scene label of a request that named none, or one that has no plan

_LATENCY_S = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.1, 0.25, 1, 5)
_OVERLAPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98, 1)
_TAUS = (-0.5, 0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
_CANDIDATES = (1, 10, 50, 100, 200, 300, 500, 1000, 1500, 2000)
_AT_ONCE = 16  # answers that are counted together: 0.4 ms

M = TypeVar("M", Counter, Gauge, Histogram)


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        counter = partial(Counter, registry=registry)
        gauge = partial(Gauge, registry=registry)
        histogram = partial(Histogram, registry=registry)
        self.requests = counter("finerank_requests", "Rank requests answered", ["scene", "status"])
        self.request_seconds = histogram(
            "finerank_request_seconds",
            "Whole rank requests, first byte to answer",
            ["scene"],
            buckets=_LATENCY_S,
        )
        self.stage_seconds = histogram(
            "finerank_stage_seconds",
            "Stages of a rank request",
            ["stage"],
            buckets=_LATENCY_S,
        )
        self.candidates = histogram(
            "finerank_candidates",
            "Candidates of a rank request",
            ["scene"],
            buckets=_CANDIDATES,
        )
        self.defaulted = counter(
            "finerank_features_defaulted",
            "Raw values absent everywhere, replaced by the declared default",
            ["scene", "feature"],
        )
        self.item_lookups = counter(
            "finerank_item_cache_lookups",
            "Candidates looked up in the item cache, by id or by content: their encoded features;"
            " what it has by id is not defaulted or counted anew",
            ["scene", "by", "result"],
        )
        self.item_bytes = gauge(
            "finerank_item_cache_bytes", "Memory of the item cache in use", ["model"]
        )
        self.out_of_vocabulary = counter(
            "finerank_features_out_of_vocabulary",
            "Raw values outside their feature's vocabulary",
            ["scene", "feature"],
        )
        self.unknown_features = counter(
            "finerank_features_unknown",
            "Feature names in requests that the model does not have",
            ["scene"],
        )
        self.degraded = counter(
            "finerank_degraded",
            "Answers that gave something up, by reason",
            ["scene", "reason"],
        )
        self.refused = counter(
            "finerank_refused",
            "Rank requests answered 503, by reason: overload, or why nothing was scored",
            ["reason"],
        )
        self.in_progress = gauge(
            "finerank_requests_in_progress",
            "Rank requests let in and not done, work that nobody waits for included",
        )
        self.backlog_seconds = gauge(
            "finerank_backlog_seconds",
            "Predicted work of the requests in progress, per inference thread",
        )
        self.predicted_seconds = gauge(
            "finerank_predicted_seconds",
            "What scoring 500 candidates is expected to take, as learned from the requests",
            ["model"],
        )
        self.invalid_scores = counter(
            "finerank_invalid_scores",
            "Candidates for which the formula gave no finite score",
            ["scene", "formula"],
        )
        self.served = counter(
            "finerank_served",
            "Rank requests answered in an arm of an experiment",
            ["scene", "layer", "arm"],
        )
        self.sample_ratio_p = gauge(
            "finerank_sample_ratio_p_value",
            "Chance that arms served so far from plan are as planned; below 0.001 is a mismatch",
            ["scene", "layer", "experiment"],
        )
        self.plan_version = gauge("finerank_plan_version", "Plan version that ranks now", ["scene"])
        self.plan_refused = gauge(
            "finerank_plan_refused",
            "1 while the live plan of the scene cannot be used here; /healthz says why",
            ["scene"],
        )
        self.plan_writes = counter(
            "finerank_plan_writes", "Plans published over HTTP", ["scene", "action"]
        )
        self.shadow_requests = counter(
            "finerank_shadow_requests",
            "Requests taken for the shadow of a plan, by what became of them: compared; busy or"
            " stopped, because requests needed the threads; failed",
            ["scene", "result"],
        )
        self.shadow_candidates = counter(
            "finerank_shadow_candidates", "Candidates scored in shadow", ["scene"]
        )
        self.shadow_invalid = counter(
            "finerank_shadow_invalid_scores",
            "Candidates without a finite score in shadow",
            ["scene"],
        )
        self.shadow_overlap = histogram(
            "finerank_shadow_overlap",
            "Share of the best k candidates that the answer and its shadow have in common",
            ["scene", "k"],
            buckets=_OVERLAPS,
        )
        self.shadow_tau = histogram(
            "finerank_shadow_tau",
            "Kendall's tau-b of the best 50 candidates as served and as in shadow",
            ["scene"],
            buckets=_TAUS,
        )
        self.guardrail_stops = counter(
            "finerank_guardrail_stops",
            "Arms that this replica stopped because they broke a limit of their plan",
            ["scene", "limit"],
        )
        self.model_loaded = gauge("finerank_model_loaded", "1 for each loaded model", ["model"])
        self.model_refused = gauge(
            "finerank_model_refused",
            "1 for each model that could not load; /healthz says why",
            ["model"],
        )
        self.feature_store_errors = counter(
            "finerank_feature_store_errors",
            "Requests for which the feature store did not answer in time",
            ["scene"],
        )
        self.store_up = gauge(
            "finerank_plan_store_up",
            "1 while the plan store answers; ranking does not depend on it",
        )
        self.log_requests = counter(
            "finerank_log_requests",
            "Sampled requests by what became of them: written (in a finished file), queue_full, "
            "write_failed",
            ["result"],
        )
        self.log_files_removed = counter(
            "finerank_log_files_removed",
            "Files of the serving log that were removed, because of their age or the log's size",
            ["why"],
        )
        self.rerank_moved = counter(
            "finerank_rerank_moved",
            "Candidates that rules after fusion put elsewhere, by rule",
            ["scene", "rule"],
        )
        self.rerank_unmet = counter(
            "finerank_rerank_unmet",
            "Places at which an answer breaks a rule after fusion: it could not be kept",
            ["scene", "rule"],
        )
        self.log_waiting = gauge(
            "finerank_log_waiting_candidates",
            "Candidates of the requests that wait for the serving log",
        )
        self.threads = gauge("finerank_inference_threads", "Thread budget")

        self._later: list[Callable[[], None]] = []
        self._child = cache(lambda metric, *labels: metric.labels(*labels))

    def child(self, metric: M, *labels: str) -> M:
        """`metric.labels(...)`, found once: for counters and histograms of the rank path."""
        found: M = self._child(metric, *labels)
        return found

    def later(self, count: Callable[[], None]) -> None:
        """Call `count` soon, with others, and before anybody reads the metrics.

        After an inference no CPU cache holds its code any more: alone, it takes 70 µs, so about 30.
        """
        self._later.append(count)
        if len(self._later) >= _AT_ONCE:
            self._count_now()

    def _count_now(self) -> None:
        waiting, self._later = self._later, []
        for count in waiting:
            try:
                count()
            except Exception as err:  # of one answer: neither the others nor who is here pay for it
                log.error("answer_not_counted", exc_info=err)

    def count_features(self, scene: str, counts: Counts) -> None:
        """Add what encoding met, by feature; names that no feature has are only counted."""
        for feature, count in counts.defaulted.items():
            self.child(self.defaulted, scene, feature).inc(count)
        for feature, count in counts.out_of_vocabulary.items():
            self.child(self.out_of_vocabulary, scene, feature).inc(count)
        if counts.unknown:
            self.child(self.unknown_features, scene).inc(counts.unknown.total())

    def replace(self, gauge: Gauge, values: Mapping[str, float]) -> None:
        """Set a one-label gauge to exactly these values: what is gone disappears."""
        gauge.clear()
        for label, value in values.items():
            gauge.labels(label).set(value)

    def exposition(self) -> bytes:
        """The text that `/metrics` answers."""
        self._count_now()
        return generate_latest(self.registry)
