"""The page of the swap drill: failures, tails beside quiet rounds, memory swap by swap."""

from statistics import median

from loadtest.pages.tables import table
from loadtest.result_files import Result
from loadtest.svg import line_plot


def swap(result: Result, plots: dict[str, str]) -> list[str]:
    summary = result.runs[0]
    p99, memory = summary["p99"], summary["memory"]
    failed = {kind: sum(found.values()) for kind, found in summary["failures"].items()}
    rows = [
        ("requests while quiet / swapping", _both(summary["requests"])),
        ("not full while quiet / swapping", _both(failed)),
        ("replies that mixed versions", str(len(summary["mixed_replies"]))),
        ("refused swaps", str(len(summary["refused_swaps"]))),
        ("p99 quiet / swapping, ms", f"{p99['quiet_p99_ms']} / {p99['swapping_p99_ms']}"),
        ("ratio of p99 (95 % interval)", f"{p99['ratio']} ({p99['low']}–{p99['high']})"),
        ("memory, MiB a swap", f"{memory['mib_per_swap']} ± {memory['standard_error']}"),
        ("seconds a swap, median", f"{median(summary['swap_s']):.1f}"),
    ]
    plots["memory"] = line_plot(
        "memory before each swap",
        "swap",
        "MiB",
        {"resident": [(float(at), mib) for at, mib in enumerate(summary["rss_mib"], start=1)]},
    )
    return [table(("what", "measured"), rows)]


def _both(counts: dict[str, int]) -> str:
    return f"{counts['quiet']} / {counts['swapping']}"
