"""The page of `bench overload`: goodput as a share of each round's own capacity."""

from statistics import median

from loadtest.pages.tables import generator_ms, grouped, latencies, middle, table
from loadtest.result_files import Result
from loadtest.svg import bar_plot


def overload(result: Result, plots: dict[str, str]) -> list[str]:
    capacity = {r["round"]: r["full_per_s"] for r in result.runs if r["loop"] == "closed"}
    groups = grouped((r for r in result.runs if r["loop"] == "open"), "load")
    rows, goodput = [], {}
    for (load,), runs in groups.items():
        shares = [run["goodput_per_s"] / capacity[run["round"]] for run in runs]
        goodput[f"{load:g} × capacity"] = tuple(
            100 * share for share in (median(shares), min(shares), max(shares))
        )
        rows.append(
            (
                f"{load:g}",
                middle(runs, lambda run: run["rate"]),
                f"{median(shares):.0%} ({min(shares):.0%}–{max(shares):.0%})",
                middle(runs, lambda run: 100 * run["in_time_per_s"] / capacity[run["round"]], 0),
                str(sum(run["refused"] for run in runs)),
                str(sum(run["refused_with_retry_after"] for run in runs)),
                *latencies(runs, "p99", of="refused_latency_ms"),
                *latencies(runs, "p99", of="refused_from_sent_ms"),
                *latencies(runs, "p99", of="full_latency_ms"),
                str(sum(run["statuses"].get("0", 0) for run in runs)),
                middle(runs, lambda run: run["rss_mib"][-1] - run["rss_mib"][0]),
                *latencies(runs, "p99", of="lag_ms"),
                middle(runs, generator_ms, 2),
            )
        )
    plots["goodput"] = bar_plot("goodput", goodput, "% of capacity")
    head = (
        "× capacity", "offered/s", "full answers in time, of capacity", "degraded ones too, %",
        "refused", "with Retry-After",
        "refusal p99 ms", "the same from when it was sent", "full answer p99 ms", "unanswered",
        "memory growth MiB", "generator late, p99 ms", "generator CPU ms a request",
    )  # fmt: skip
    return [table(head, rows)]
