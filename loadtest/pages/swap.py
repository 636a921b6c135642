"""The page of the swap drill: failures, tails beside quiet rounds, memory swap by swap."""

from statistics import median

from loadtest.pages.tables import table
from loadtest.result_files import Result
from loadtest.svg import line_plot


def swap(result: Result, plots: dict[str, str]) -> list[str]:
    summary = result.runs[0]
    memory, swap_s, every_s = summary["memory"], summary["swap_s"], result.settings["every_s"]
    failed = {kind: sum(found.values()) for kind, found in summary["failures"].items()}
    rows = [
        ("requests while quiet / swapping", _both(summary["requests"])),
        ("not full while quiet / swapping", _both(failed)),
        ("replies that mixed versions", str(len(summary["mixed_replies"]))),
        ("refused swaps", str(len(summary["refused_swaps"]))),
        *(row for p in ("p50", "p99") if p in summary for row in _latency(p, summary[p])),
        ("memory, MiB a swap", f"{memory['mib_per_swap']} ± {memory['standard_error']}"),
        ("seconds a swap, median / longest", f"{median(swap_s):.1f} / {max(swap_s):.1f}"),
        (f"swaps longer than {every_s:g} s", str(sum(s > every_s for s in swap_s))),
    ]
    plots["memory"] = line_plot(
        "memory before each swap",
        "swap",
        "MiB",
        {"resident": [(float(at), mib) for at, mib in enumerate(summary["rss_mib"], start=1)]},
    )
    return [table(("what", "measured"), rows)]


def _latency(percentile: str, found: dict[str, float]) -> list[tuple[str, str]]:
    quiet, swapping = (found[f"{kind}_{percentile}_ms"] for kind in ("quiet", "swapping"))
    return [
        (f"{percentile} quiet / swapping, ms", f"{quiet} / {swapping}"),
        (
            f"ratio of {percentile} (95 % interval)",
            f"{found['ratio']} ({found['low']}–{found['high']})",
        ),
    ]


def _both(counts: dict[str, int]) -> str:
    return f"{counts['quiet']} / {counts['swapping']}"
