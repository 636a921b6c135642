"""The report reads what the bench writes and states its medians, ratios and warnings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from loadtest.contenders import BASELINE
from loadtest.report import write_report
from loadtest.result_files import Result, ResultError
from loadtest.samples import Sample, summarise

MACHINE = {
    "cpu": "a processor",
    "cpu_flags": ["avx2"],
    "cores": 2,
    "memory_gib": 8.0,
    "load_average_1m": 0.1,
}


def run(per_s: int, *, latency_ms: float = 10.0, refused: int = 0, **what: Any) -> dict[str, Any]:
    """A run of one second, as the bench records it."""
    samples = [
        Sample(0, 0, latency_ms / 1e3, 200, 500, server_timing="infer;dur=7.5")
        for _ in range(per_s)
    ] + [Sample(0, 0.0005, 0.002, 503, 500, retry_after=True) for _ in range(refused)]
    return (
        what
        | summarise(samples, 1.0)
        | {
            "goodput_per_s": float(per_s),
            "in_time_per_s": float(per_s) + 2,
            "limit_ms": 40.0,
            "server_cpu_s": per_s * 0.012,
            "generator_cpu_s": 0.1,
            "rss_mib": [100.0, 100.5],
        }
    )


def write(directory: Path, kind: str, runs: Sequence[dict[str, Any]], **fields: Any) -> Path:
    values = {
        "settings": {"rounds": 2},
        "started_at": "2026-11-22T07:00:00+00:00",
        "machine": MACHINE,
        "versions": {"python": "3.11.7", "onnxruntime": "1.31.1"},
        "source": {"commit": "0123456789abcdef", "is_dirty": False},
    }
    return Result(kind=kind, runs=runs, **(values | fields)).write(directory)


def compare_runs() -> list[dict[str, Any]]:
    rates = {("finerank", "ids"): (80, 30), (BASELINE, "rows"): (20, 10)}
    return [
        run(rate, loop="closed", round=at, contender=who, form=form, candidates=500, connections=4)
        for (who, form), rounds in rates.items()
        for at, rate in enumerate(rounds, start=1)
    ]


def plots_of(page: Path) -> list[Path]:
    return sorted(page.parent.glob("*.svg"))


def test_a_result_survives_its_file(tmp_path: Path) -> None:
    runs = compare_runs()
    path = write(tmp_path, "compare", runs)
    assert path.name == "20261122T070000-compare.json"
    assert Result.read(path).runs == runs
    with pytest.raises(FileExistsError):
        write(tmp_path, "compare", runs)


def test_throughput_is_the_median_and_ratios_are_taken_within_a_round(tmp_path: Path) -> None:
    page = write_report(write(tmp_path, "compare", compare_runs()))
    text = page.read_text()
    # 80/20 = 4 and 30/10 = 3; of the medians it would be 55/15 = 3.67.
    assert (
        "| finerank | ids | 4 | 55.0 (30.0–80.0) | 3.50 | 10.0 | 10.0 | 12.0 | 2.29 | 0 |" in text
    )
    assert f"| {BASELINE} | rows | 4 | 15.0 (10.0–20.0) | 1.00 |" in text
    assert "| server | form | candidates | infer |" in text
    assert "| finerank | ids | 500 | 7.500 |" in text
    assert "commit 0123456789ab;" in text


def test_a_busy_machine_and_changed_files_are_said(tmp_path: Path) -> None:
    source = {"commit": "0123456789abcdef", "is_dirty": True}
    path = write(tmp_path, "compare", compare_runs(), notes=["it was busy"], source=source)
    text = write_report(path).read_text()
    assert "**it was busy**" in text
    assert "0123456789ab with changes" in text


def test_the_curve_has_a_line_for_each_size_and_pools_the_tail(tmp_path: Path) -> None:
    runs = [
        run(
            100, latency_ms=5 * load * at, loop="open", round=at, contender="finerank", form="ids",
            candidates=size, load=load, rate=100.0,
        )
        for at in (1, 2)
        for size in (100, 500)
        for load in (0.5, 0.7)
    ]  # fmt: skip
    page = write_report(write(tmp_path, "curve", runs))
    # Medians of the rounds' 3.5 and 7 ms; the pooled tail is the worse round's.
    row = "| 500 | 70% | 100.0 | 5.2 | 5.2 | 7.0 | 102.0% | 200 | 0 | 0 | 0.0 | 1.00 |"
    assert row in page.read_text()
    (plot,) = plots_of(page)
    assert "500 candidates" in plot.read_text()


def test_overload_states_goodput_as_a_share_of_its_own_rounds_capacity(tmp_path: Path) -> None:
    what = {"contender": "finerank", "form": "ids", "candidates": 500}
    runs = [
        run(100, loop="closed", round=1, connections=4, **what),
        run(95, refused=300, loop="open", round=1, load=4.0, rate=400.0, **what),
    ]
    text = write_report(write(tmp_path, "overload", runs)).read_text()
    goodput = "| 4 | 400.0 | 95% (95%–95%) | 97 | 300 | 300 "
    assert goodput + "| 2.0 | 1.5 | 10.0 | 0 | 0.5 | 0.5 | 0.25 |" in text


@pytest.mark.parametrize(
    ("field", "lacks"), [("limit_ms", "| – | 100 |"), ("", "| 102.0% | 100 |")]
)
def test_what_an_older_result_did_not_measure_is_not_stated(
    tmp_path: Path, field: str, lacks: str
) -> None:
    what = {"contender": "finerank", "form": "ids", "candidates": 500, "rate": 100.0}
    one = run(100, loop="open", round=1, load=0.5, **what)
    one.pop(field, None)
    assert lacks in write_report(write(tmp_path, "curve", [one])).read_text()


def test_growth_stands_beside_the_arithmetic_floors(tmp_path: Path) -> None:
    def grown(variant: str, candidates: int, latency_ms: float, **sizes: int) -> dict[str, Any]:
        return run(
            10, latency_ms=latency_ms, loop="closed", round=1, contender="finerank", form="ids",
            candidates=candidates, variant=variant, gflop=candidates / 250,
            pair_gflop=candidates / 500, connections=1,
            **({"experts": 7, "tasks": 5, "items": 20_000} | sizes),
        )  # fmt: skip

    runs = [
        grown("bench", 100, 5.0),
        grown("bench", 500, 25.0),
        grown("shared-8", 500, 40.0, experts=13),
        grown("items-2000", 500, 24.0, items=2_000),
    ]
    settings = {"gemm_gflop_per_s": 100.0}
    page = write_report(write(tmp_path, "growth", runs, settings=settings))
    tables = page.read_text().split("\n## Time of a request against ")[1:]
    assert [table.split("\n")[0] for table in tables] == [
        "candidates",
        "experts, 500 candidates",
        "items, 500 candidates",
    ]
    bench = "| 25.0 | 25.0 | 10.0 | 2.50 | 20.0 | 1.25 | 12.0 | 10.00 |"
    assert f"| 500 {bench}" in tables[0]
    assert f"| 7 {bench}\n| 13 | 40.0 " in tables[1]
    assert (
        f"| 2,000 | 24.0 | 24.0 | 10.0 | 2.40 | 20.0 | 1.20 | 12.0 | 10.00 |\n| 20,000 {bench}"
        in (tables[2])
    )
    assert [plot.stem.rpartition("-")[2] for plot in plots_of(page)] == [
        "candidates",
        "experts",
        "items",
    ]


def test_the_page_of_a_stall_drill_says_how_long_it_took_to_recover(tmp_path: Path) -> None:
    what = {
        "requests": 400, "in_time": 0.9925, "in_time_in_stalls": 0.98, "degraded_in_stalls": 0.4,
        "unexplained": 0,
    }  # fmt: skip
    runs = [
        what
        | {"recovered_ms": [12.0, 31.4], "passed": True}
        | {"lag_ms": {"p99": 0.25}, "generator_cpu_s": 0.04},
        what | {"recovered_ms": [12.0, None], "passed": False},
    ]
    text = write_report(write(tmp_path, "stall", runs)).read_text()
    assert "| 400 | 99.25% | 98.00% | 40.0% | 0 | 31 | 0.2 | 0.10 | yes |" in text
    assert "| 0 | never | – | – | no |" in text


def test_the_page_of_a_swap_drill_states_failures_tails_and_memory(tmp_path: Path) -> None:
    summary = {
        "requests": {"quiet": 900, "swapping": 910},
        "failures": {"quiet": {}, "swapping": {"status 503": 2}},
        "refused_swaps": [],
        "mixed_replies": [],
        "p50": {
            "quiet_p50_ms": 8.0, "swapping_p50_ms": 8.1, "ratio": 1.0125, "low": 1.0, "high": 1.02,
        },
        "p99": {
            "quiet_p99_ms": 20.0, "swapping_p99_ms": 21.0, "ratio": 1.05, "low": 0.98, "high": 1.1,
        },
        "memory": {"mib_per_swap": 0.01, "standard_error": 0.02},
        "swap_s": [1.5, 2.5, 2.0],
        "rss_mib": [400.0, 401.0, 400.5],
    }  # fmt: skip
    page = write_report(write(tmp_path, "swap", [summary], settings={"every_s": 2.0}))
    text = page.read_text()
    assert "| not full while quiet / swapping | 0 / 2 |" in text
    assert "| ratio of p99 (95 % interval) | 1.05 (0.98–1.1) |" in text
    assert "| p50 quiet / swapping, ms | 8.0 / 8.1 |" in text
    assert "| seconds a swap, median / longest | 2.0 / 2.5 |" in text
    assert "| swaps longer than 2 s | 1 |" in text
    assert plots_of(page)


def test_plots_are_well_formed(tmp_path: Path) -> None:
    page = write_report(write(tmp_path, "compare", compare_runs()))
    for plot in plots_of(page):
        assert ElementTree.parse(plot).getroot().tag.endswith("svg")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "cannot be read"),
        ("{}", "no bench result of format 1"),
        ('{"format": 1}', "lacks kind"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: str, why: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(ResultError, match=why):
        write_report(path)
