from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from service.contract.encode import Counts
from service.metrics import Metrics


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    text = metrics.exposition().decode()
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_what_encoding_met_is_counted_by_feature():
    metrics = Metrics()
    counts = Counts(Counter(age=2), Counter(item_id=3), Counter(typo=1, other=4))
    metrics.count_features("feed", counts)
    found = samples(metrics)
    assert found["finerank_features_defaulted_total", "age", "feed"] == 2
    assert found["finerank_features_out_of_vocabulary_total", "feed", "item_id"] == 3
    assert found["finerank_features_unknown_total", "feed"] == 5


def test_names_that_callers_make_up_never_become_labels():
    metrics = Metrics()
    metrics.count_features("feed", Counts(unknown=Counter({f"made-up-{n}": 1 for n in range(99)})))
    assert "made-up" not in metrics.exposition().decode()


def test_what_is_counted_later_is_there_when_the_metrics_are_read_and_only_once():
    metrics = Metrics()
    for answered in range(1, 21):  # more than are counted at once
        metrics.later(metrics.requests.labels("feed", "200").inc)
        if answered in (3, 20):
            assert samples(metrics)["finerank_requests_total", "200", "feed"] == answered


@pytest.mark.parametrize("answered", [3, 16], ids=["when read", "with the last of a lot"])
def test_an_answer_that_cannot_be_counted_is_logged_and_costs_the_others_nothing(answered):
    metrics = Metrics()

    def broken() -> None:
        raise ZeroDivisionError("a bug")

    with capture_logs() as logs:
        metrics.later(broken)
        for _ in range(answered - 1):
            metrics.later(metrics.requests.labels("feed", "200").inc)
        assert samples(metrics)["finerank_requests_total", "200", "feed"] == answered - 1
    assert [(entry["event"], repr(entry["exc_info"])) for entry in logs] == [
        ("answer_not_counted", "ZeroDivisionError('a bug')")
    ]


def test_a_gauge_forgets_what_is_gone():
    metrics = Metrics()
    metrics.replace(metrics.model_loaded, {"m/1": 1, "m/2": 1})
    metrics.replace(metrics.model_loaded, {"m/2": 1})
    found = samples(metrics)
    assert ("finerank_model_loaded", "m/1") not in found
    assert found["finerank_model_loaded", "m/2"] == 1


def test_two_applications_in_one_process_count_apart():
    one, other = Metrics(), Metrics()
    one.requests.labels("feed", "200").inc()
    assert ("finerank_requests_total", "200", "feed") not in samples(other)


def test_every_metric_is_named_after_the_service_and_described():
    ours = [
        family
        for family in Metrics().registry.collect()
        if not family.name.startswith(("process_", "python_"))
    ]
    assert len(ours) > 15
    for family in ours:
        assert family.name.startswith("finerank_")
        assert family.documentation
