"""The page of `bench overload`: goodput as a share of each round's own capacity."""

from statistics import median

from loadtest.pages.tables import grouped, latencies, middle, table
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
        refused = [run for run in runs if run["refused_latency_ms"]]
        rows.append(
            (
                f"{load:g}",
                middle(runs, lambda run: run["rate"]),
                f"{median(shares):.0%} ({min(shares):.0%}–{max(shares):.0%})",
                middle(runs, lambda run: 100 * run["in_time_per_s"] / capacity[run["round"]], 0),
                str(sum(run["refused"] for run in runs)),
                str(sum(run["refused_with_retry_after"] for run in runs)),
                middle(refused, lambda run: run["refused_latency_ms"]["p99"]),
                *latencies(runs, "p99", of="full_latency_ms"),
                str(sum(run["statuses"].get("0", 0) for run in runs)),
                middle(runs, lambda run: run["rss_mib"][-1] - run["rss_mib"][0]),
            )
        )
    plots["goodput"] = bar_plot("goodput", goodput, "% of capacity")
    head = (
        "× capacity", "offered/s", "full answers in time, of capacity", "degraded ones too, %",
        "refused", "with Retry-After",
        "refusal p99 ms", "full answer p99 ms", "unanswered", "memory growth MiB",
    )  # fmt: skip
    return [table(head, rows)]
