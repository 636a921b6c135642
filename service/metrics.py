"""Every metric of the service in one place: name, meaning, labels. Label values are bounded sets.

Scenes, features and formulas come from plans and packages; what callers send (unknown scenes,
unknown feature names, ids) never becomes a label.
"""

from collections.abc import Mapping
from functools import cache
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from service.contract.encode import Counts

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
NO_SCENE = ""  # the scene label of a request that named none, or one that has no plan

_LATENCY_S = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.1, 0.25, 1, 5)
_OVERLAPS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.98, 1)
_TAUS = (-0.5, 0, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1)
_CANDIDATES = (1, 10, 50, 100, 200, 300, 500, 1000, 1500, 2000)


M = TypeVar("M", Counter, Gauge, Histogram)


class Metrics:
    """The metrics of one application, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter(
            "finerank_requests", "Rank requests answered", ["scene", "status"], registry=registry
        )
        self.request_seconds = Histogram(
            "finerank_request_seconds",
            "Whole rank requests, first byte to answer",
            ["scene"],
            buckets=_LATENCY_S,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "finerank_stage_seconds",
            "Stages of a rank request",
            ["stage"],
            buckets=_LATENCY_S,
            registry=registry,
        )
        self.candidates = Histogram(
            "finerank_candidates",
            "Candidates of a rank request",
            ["scene"],
            buckets=_CANDIDATES,
            registry=registry,
        )
        self.defaulted = Counter(
            "finerank_features_defaulted",
            "Raw values absent everywhere, replaced by the declared default",
            ["scene", "feature"],
            registry=registry,
        )
        self.item_lookups = Counter(
            "finerank_item_cache_lookups",
            "Candidates looked up in the item cache; what it has is not defaulted or counted anew",
            ["scene", "result"],
            registry=registry,
        )
        self.item_bytes = Gauge(
            "finerank_item_cache_bytes",
            "Memory of the item cache in use",
            ["model"],
            registry=registry,
        )
        self.out_of_vocabulary = Counter(
            "finerank_features_out_of_vocabulary",
            "Raw values outside their feature's vocabulary",
            ["scene", "feature"],
            registry=registry,
        )
        self.unknown_features = Counter(
            "finerank_features_unknown",
            "Feature names in requests that the model does not have",
            ["scene"],
            registry=registry,
        )
        self.degraded = Counter(
            "finerank_degraded",
            "Answers that gave something up, by reason",
            ["scene", "reason"],
            registry=registry,
        )
        self.refused = Counter(
            "finerank_refused",
            "Rank requests answered 503, by reason: overload, or why nothing was scored",
            ["reason"],
            registry=registry,
        )
        self.in_progress = Gauge(
            "finerank_requests_in_progress",
            "Rank requests let in and not done, work that nobody waits for included",
            registry=registry,
        )
        self.backlog_seconds = Gauge(
            "finerank_backlog_seconds",
            "Predicted work of the requests in progress, per inference thread",
            registry=registry,
        )
        self.predicted_seconds = Gauge(
            "finerank_predicted_seconds",
            "What scoring 500 candidates is expected to take, as learned from the requests",
            ["model"],
            registry=registry,
        )
        self.invalid_scores = Counter(
            "finerank_invalid_scores",
            "Candidates for which the formula gave no finite score",
            ["scene", "formula"],
            registry=registry,
        )
        self.served = Counter(
            "finerank_served",
            "Rank requests answered in an arm of an experiment",
            ["scene", "layer", "arm"],
            registry=registry,
        )
        self.sample_ratio_p = Gauge(
            "finerank_sample_ratio_p_value",
            "Chance that arms served so far from plan are as planned; below 0.001 is a mismatch",
            ["scene", "layer", "experiment"],
            registry=registry,
        )
        self.plan_version = Gauge(
            "finerank_plan_version", "Plan version that ranks now", ["scene"], registry=registry
        )
        self.plan_refused = Gauge(
            "finerank_plan_refused",
            "1 while the live plan of the scene cannot be used here; /healthz says why",
            ["scene"],
            registry=registry,
        )
        self.plan_writes = Counter(
            "finerank_plan_writes",
            "Plans published over HTTP",
            ["scene", "action"],
            registry=registry,
        )
        self.shadow_requests = Counter(
            "finerank_shadow_requests",
            "Requests taken for the shadow of a plan, by what became of them: compared; busy or"
            " stopped, because requests needed the threads; failed",
            ["scene", "result"],
            registry=registry,
        )
        self.shadow_candidates = Counter(
            "finerank_shadow_candidates",
            "Candidates scored in shadow",
            ["scene"],
            registry=registry,
        )
        self.shadow_invalid = Counter(
            "finerank_shadow_invalid_scores",
            "Candidates without a finite score in shadow",
            ["scene"],
            registry=registry,
        )
        self.shadow_overlap = Histogram(
            "finerank_shadow_overlap",
            "Share of the best k candidates that the answer and its shadow have in common",
            ["scene", "k"],
            buckets=_OVERLAPS,
            registry=registry,
        )
        self.shadow_tau = Histogram(
            "finerank_shadow_tau",
            "Kendall's tau-b of the best 50 candidates as served and as in shadow",
            ["scene"],
            buckets=_TAUS,
            registry=registry,
        )
        self.guardrail_stops = Counter(
            "finerank_guardrail_stops",
            "Arms that this replica stopped because they broke a limit of their plan",
            ["scene", "limit"],
            registry=registry,
        )
        self.model_loaded = Gauge(
            "finerank_model_loaded", "1 for each loaded model", ["model"], registry=registry
        )
        self.model_refused = Gauge(
            "finerank_model_refused",
            "1 for each model that could not load; /healthz says why",
            ["model"],
            registry=registry,
        )
        self.feature_store_errors = Counter(
            "finerank_feature_store_errors",
            "Requests for which the feature store did not answer in time",
            ["scene"],
            registry=registry,
        )
        self.store_up = Gauge(
            "finerank_plan_store_up",
            "1 while the plan store answers; ranking does not depend on it",
            registry=registry,
        )
        self.log_requests = Counter(
            "finerank_log_requests",
            "Sampled requests by what became of them: written (in a finished file), queue_full, "
            "write_failed",
            ["result"],
            registry=registry,
        )
        self.log_waiting = Gauge(
            "finerank_log_waiting_candidates",
            "Candidates of the requests that wait for the serving log",
            registry=registry,
        )
        self.threads = Gauge("finerank_inference_threads", "Thread budget", registry=registry)

        self._child = cache(lambda metric, *labels: metric.labels(*labels))

    def child(self, metric: M, *labels: str) -> M:
        """`metric.labels(...)`, found once: for counters and histograms of the rank path."""
        found: M = self._child(metric, *labels)
        return found

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
        return generate_latest(self.registry)
