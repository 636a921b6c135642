"""The page of `bench growth`: time of a request beside the arithmetic floor."""

from loadtest.pages.tables import grouped, latencies, table
from loadtest.result_files import Result
from loadtest.svg import line_plot


def growth(result: Result, plots: dict[str, str]) -> list[str]:
    rate = result.settings["gemm_gflop_per_s"]
    rows, took, floor = [], [], []
    for (variant, candidates), runs in grouped(result.runs, "variant", "candidates").items():
        floor_ms = runs[0]["gflop"] / rate * 1e3
        (p50,) = latencies(runs, "p50")
        if len({run["candidates"] for run in result.runs if run["variant"] == variant}) > 1:
            took.append((candidates, float(p50)))
            floor.append((candidates, floor_ms))
        share = f"{float(p50) / floor_ms:.2f}"
        rows.append((variant, str(candidates), p50, f"{floor_ms:.1f}", share))
    lines = {"one request, p50": took, "whole graph, one core": floor}
    plots["candidates"] = line_plot("time against candidates", "candidates", "ms", lines)
    head = ("model", "candidates", "p50 ms", f"floor ms at {rate:g} GFLOP/s", "× floor")
    note = (
        "The floor is the arithmetic of the whole graph on one core at the rate that a float32"
        " matrix product reaches here; less than 1 × means that part of it was not computed."
    )
    return [table(head, rows), note]
