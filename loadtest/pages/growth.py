"""The page of `bench growth`: time of a request beside the arithmetic floor."""

from collections.abc import Sequence

from loadtest.pages.tables import Run, cpu_ms, generator_ms, grouped, latencies, middle, table
from loadtest.result_files import Result
from loadtest.svg import line_plot

_AT = 500  # candidates, while something else grows

# What grows, and by which variants of the bench model.
_GROWS = {
    "candidates": ("bench",),
    "experts": ("bench", "shared"),
    "tasks": ("bench", "tasks"),
    "items": ("bench", "items"),
}


def growth(result: Result, plots: dict[str, str]) -> list[str]:
    rate = result.settings["gemm_gflop_per_s"]
    sections = []
    for what, variants in _GROWS.items():
        runs = [
            run
            for run in result.runs
            if run["variant"].partition("-")[0] in variants
            and (what == "candidates" or run["candidates"] == _AT)
        ]
        groups = dict(sorted((key[0], some) for key, some in grouped(runs, what).items()))
        if len(groups) < 2:
            continue
        rows = [(f"{size:,}", *_figures(some, rate)) for size, some in groups.items()]
        at = "" if what == "candidates" else f", {_AT} candidates"
        head = (
            what, "p50 ms", "p99 ms", "floor ms, a pair", "× floor, a pair",
            "floor ms, whole graph", "× floor, whole graph", "server CPU ms a request",
            "generator CPU ms a request",
        )  # fmt: skip
        sections += [f"## Time of a request against {what}{at}", table(head, rows)]
        plots[what] = line_plot(
            f"time against {what}{at}",
            what,
            "ms",
            {
                "one request, p50": [(n, _p50(some)) for n, some in groups.items()],
                "floor, whole graph": [(n, _floor(s, "gflop", rate)) for n, s in groups.items()],
                "floor, a pair": [(n, _floor(s, "pair_gflop", rate)) for n, s in groups.items()],
            },
        )
    return [
        f"One request at a time, by ids. The floors are the arithmetic on one core at {rate:g}"
        " GFLOP/s, the rate that a float32 matrix product reaches here: of the whole graph, and of"
        " what the item cache leaves of it for each pair of user and item.",
        *sections,
    ]


def _figures(runs: Sequence[Run], rate: float) -> list[str]:
    pair, whole = _floor(runs, "pair_gflop", rate), _floor(runs, "gflop", rate)
    return [
        *latencies(runs, "p50", "p99"),
        f"{pair:.1f}",
        f"{_p50(runs) / pair:.2f}",
        f"{whole:.1f}",
        f"{_p50(runs) / whole:.2f}",
        middle(runs, cpu_ms),
        middle(runs, generator_ms, 2),
    ]


def _p50(runs: Sequence[Run]) -> float:
    return float(latencies(runs, "p50")[0])


def _floor(runs: Sequence[Run], what: str, rate: float) -> float:
    return float(runs[0][what]) / rate * 1e3
