"""The numbers that stand for a run are those of its requests, none left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.samples import (
    UNANSWERED,
    Sample,
    degraded_reasons,
    goodput,
    histogram,
    percentiles,
    pooled_percentiles,
    stage_medians,
    summarise,
)


def answered(due_at: float, latency_ms: float, **fields: object) -> Sample:
    return Sample(due_at, due_at, due_at + latency_ms / 1e3, 200, 500, **fields)


def test_latency_counts_from_when_a_request_was_due() -> None:
    late = Sample(due_at=1.0, sent_at=1.5, done_at=1.51, status=200, candidates=1)
    assert late.latency_ms == pytest.approx(510)
    assert summarise([late], 2.0)["lag_ms"]["max"] == pytest.approx(500)


def test_of_a_refusal_the_time_from_its_sending_is_known_too() -> None:
    refusals = [Sample(1.0, 1.5, 1.51, 503, 1), Sample(2.0, 2.0, 2.03, 503, 1)]
    summary = summarise(refusals, 3.0)
    assert summary["refused_latency_ms"]["max"] == pytest.approx(510)
    assert summary["refused_from_sent_ms"]["max"] == pytest.approx(30)
    assert summarise([answered(0, 10)], 3.0)["refused_from_sent_ms"] is None


def test_only_full_answers_in_time_are_goodput() -> None:
    samples = [
        answered(0.1, 10),
        answered(0.2, 50),
        answered(0.3, 10, degraded=("deadline",)),
        Sample(0.4, 0.4, 0.41, 503, 500, retry_after=True),
        Sample(0.5, None, 2.0, UNANSWERED, 500),
    ]
    assert goodput(samples, 40, seconds=2.0) == {"goodput_per_s": 0.5, "in_time_per_s": 1.0}
    summary = summarise(samples, 2.0)
    assert summary["statuses"] == {"0": 1, "200": 3, "503": 1}
    assert summary["full_per_s"] == 1.0
    assert summary["refused_latency_ms"]["max"] == pytest.approx(10)
    assert summary["latency_ms"]["max"] == pytest.approx(1500)


def test_an_answer_after_the_run_is_no_throughput_of_it() -> None:
    summary = summarise([answered(0.5, 100), answered(0.95, 100)], 1.0)
    assert (summary["full"], summary["full_per_s"]) == (2, 1.0)


@pytest.mark.parametrize(
    ("body", "reasons"),
    [
        (b'{"degraded":[],"ids":["a"]}', ()),
        (b'{"degraded": ["feature_store", "late"]}', ("feature_store", "late")),
        (b'{"items":[]}', ()),
    ],
)
def test_reasons_are_found_in_the_bytes(body: bytes, reasons: tuple[str, ...]) -> None:
    assert degraded_reasons(body) == reasons


def test_stages_come_from_full_answers_only() -> None:
    samples = [
        answered(0, 1, server_timing="parse;dur=1, infer;dur=8"),
        answered(0, 1, server_timing="parse;dur=3, infer;dur=10"),
        answered(0, 1, server_timing="parse;dur=100", degraded=("late",)),
    ]
    assert stage_medians(samples) == {"parse": 2.0, "infer": 9.0}


def test_no_values_have_no_percentiles() -> None:
    assert percentiles([]) is None
    assert pooled_percentiles([]) is None


@given(st.lists(st.floats(0.01, 1e5), min_size=1, max_size=50))
def test_pooled_percentiles_are_the_true_ones_or_up_to_1_percent_more(values: list[float]) -> None:
    half = len(values) // 2
    pooled = pooled_percentiles([histogram(values[:half]), histogram(values[half:])])
    true = percentiles(values)
    for name in true:
        assert true[name] * 0.999 - 0.001 <= pooled[name] <= true[name] * 1.011 + 0.001


def test_percentiles_are_values_that_occurred() -> None:
    values = np.arange(1.0, 101.0).tolist()
    assert percentiles(values) == {"p50": 50, "p90": 90, "p99": 99, "p99_9": 100, "max": 100}
