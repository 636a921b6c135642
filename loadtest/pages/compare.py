"""The page of `bench compare`: requests a second beside the peers', ratios within a round."""

from statistics import median

from loadtest.contenders import BASELINE
from loadtest.pages.tables import (
    cpu_ms,
    generator_ms,
    grouped,
    latencies,
    middle,
    ratio,
    stages,
    table,
)
from loadtest.result_files import Result
from loadtest.svg import bar_plot


def compare(result: Result, plots: dict[str, str]) -> list[str]:
    groups = grouped(result.runs, "connections", "contender", "form")
    base = {k[0]: runs for k, runs in groups.items() if k[1] == BASELINE}
    rows, bars = [], {}
    most = max(key[0] for key in groups)
    for (connections, contender, form), runs in groups.items():
        rates = [run["full_per_s"] for run in runs]
        if connections == most:
            bars[f"{contender} ({form})"] = (median(rates), min(rates), max(rates))
        rows.append(
            (
                contender,
                form,
                str(connections),
                f"{median(rates):.1f} ({min(rates):.1f}–{max(rates):.1f})",
                ratio(runs, base.get(connections, [])),
                *latencies(runs, "p50", "p99"),
                middle(runs, cpu_ms),
                middle(runs, generator_ms, 2),
                str(sum(run["requests"] - run["full"] for run in runs)),
            )
        )
    plots["throughput"] = bar_plot(f"full answers at {most} connections", bars, "requests/s")
    head = (
        "server", "form", "connections", "requests/s (lowest–highest)", f"× {BASELINE}",
        "p50 ms", "p99 ms", "server CPU ms a request", "generator CPU ms a request",
        "not full",
    )  # fmt: skip
    return [table(head, rows), *stages(result.runs)]
