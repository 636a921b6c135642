"""The page of `bench curve`: latencies against offered load."""

from loadtest.pages.tables import NOTHING, grouped, latencies, middle, stages, table
from loadtest.result_files import Result
from loadtest.samples import pooled_percentiles
from loadtest.svg import line_plot

DEADLINE_MS = 40.0  # what the project promises end to end


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
                str(sum(run["requests"] for run in runs)),
                str(sum(run["requests"] - run["full"] for run in runs)),
                *latencies(runs, "p99", of="lag_ms"),
            )
        )
    plots["p99"] = line_plot(
        "p99 against offered load", "% of capacity", "ms", lines, limit=("40 ms", DEADLINE_MS)
    )
    head = (
        "candidates", "of capacity", "offered/s", "p50 ms", "p99 ms", "p99.9 ms, rounds pooled",
        "requests", "not full", "generator late, p99 ms",
    )  # fmt: skip
    return [table(head, rows), *stages(result.runs)]
