"""The page of `bench curve`: latencies against offered load."""

from collections.abc import Sequence

from loadtest.measuring import PROMISED_MS
from loadtest.pages.tables import (
    NOTHING,
    Run,
    generator_ms,
    grouped,
    latencies,
    middle,
    stages,
    table,
)
from loadtest.result_files import Result
from loadtest.samples import pooled_percentiles
from loadtest.svg import line_plot


def curve(result: Result, plots: dict[str, str]) -> list[str]:
    groups = grouped((r for r in result.runs if r["loop"] == "open"), "candidates", "load")
    rows, lines = [], {}
    for (candidates, load), runs in groups.items():
        pooled = pooled_percentiles([run["histogram"] for run in runs]) or {}
        p50, p99 = latencies(runs, "p50", "p99")
        if p99 != NOTHING:
            lines.setdefault(f"{candidates} candidates", []).append((load * 100, float(p99)))
        rows.append(
            (
                str(candidates),
                f"{load:.0%}",
                middle(runs, lambda run: run["rate"]),
                p50,
                p99,
                f"{pooled['p99_9']:.1f}" if pooled else NOTHING,
                _in_time(runs),
                str(sum(run["requests"] for run in runs)),
                str(sum(run["statuses"].get("200", 0) - run["full"] for run in runs)),
                str(sum(run["requests"] - run["statuses"].get("200", 0) for run in runs)),
                *latencies(runs, "p99", of="lag_ms"),
                middle(runs, generator_ms, 2),
            )
        )
    plots["p99"] = line_plot(
        "p99 against offered load",
        "% of capacity",
        "ms",
        lines,
        limit=(f"{PROMISED_MS:g} ms", PROMISED_MS),
    )
    head = (
        "candidates", "of capacity", "offered/s", "p50 ms", "p99 ms", "p99.9 ms, rounds pooled",
        f"within {PROMISED_MS:g} ms", "requests", "degraded", "no answer",
        "generator late, p99 ms", "generator CPU ms a request",
    )  # fmt: skip
    return [table(head, rows), *stages(result.runs)]


def _in_time(runs: Sequence[Run]) -> str:
    """Share of the requests, full answers and degraded ones; older results have another limit."""
    if any(run.get("limit_ms") != PROMISED_MS for run in runs):
        return NOTHING
    answers = sum(run["in_time_per_s"] * run["seconds"] for run in runs)
    return f"{answers / sum(run['requests'] for run in runs):.1%}"
