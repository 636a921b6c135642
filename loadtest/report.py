"""`python -m loadtest.report FILE…`: result files -> Markdown tables and SVG plots beside them."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from loadtest.contenders import BASELINE
from loadtest.result_files import Result
from loadtest.samples import pooled_percentiles
from loadtest.svg import bar_plot, line_plot

Run = Mapping[str, Any]
Row = Sequence[str]

DEADLINE_MS = 40.0  # what the project promises end to end

_NOTHING = "–"  # no request to take a figure from


def write_report(path: Path) -> Path:
    """Write `<result>.md`, with its plots `<result>*.svg`; the path of the page.

    Raises:
        ResultError: `path` is no result.
    """
    result = Result.read(path)
    plots: dict[str, str] = {}
    sections = _SECTIONS[result.kind](result, plots)
    for name, content in plots.items():
        path.with_name(f"{path.stem}-{name}.svg").write_text(content)
    images = [f"![{name}]({path.stem}-{name}.svg)" for name in plots]
    page = path.with_suffix(".md")
    page.write_text("\n\n".join([_heading(result, path), *sections, *images]) + "\n")
    return page


def _heading(result: Result, path: Path) -> str:
    machine, source = result.machine, result.source
    settings = "; ".join(f"{name}: {_shown(value)}" for name, value in result.settings.items())
    lines = [
        f"# {result.kind}, {result.started_at}",
        "",
        f"- {machine['cores']} cores of {machine['cpu']}, {machine['memory_gib']} GiB,"
        f" load average before {machine['load_average_1m']:.2f}",
        f"- commit {source['commit'][:12]}{' with changes' if source['is_dirty'] else ''};"
        f" Python {result.versions['python']}, ONNX Runtime {result.versions.get('onnxruntime')}",
        f"- {settings}",
        f"- all figures, versions and CPU flags: [{path.name}]({path.name})",
        *(f"- **{note}**" for note in result.notes),
    ]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _compare(result: Result, plots: dict[str, str]) -> list[str]:
    groups = _grouped(result.runs, "connections", "contender", "form")
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
                _ratio(runs, base.get(connections, [])),
                *_latencies(runs, "p50", "p99"),
                _middle(runs, _cpu_ms),
                str(sum(run["requests"] - run["full"] for run in runs)),
            )
        )
    plots["throughput"] = bar_plot(f"full answers at {most} connections", bars, "requests/s")
    head = (
        "server", "form", "connections", "requests/s (lowest–highest)", f"× {BASELINE}",
        "p50 ms", "p99 ms", "server CPU ms a request", "not full",
    )  # fmt: skip
    return [_table(head, rows), *_stages(result.runs)]


def _curve(result: Result, plots: dict[str, str]) -> list[str]:
    groups = _grouped((r for r in result.runs if r["loop"] == "open"), "candidates", "load")
    rows, lines = [], {}
    for (candidates, load), runs in groups.items():
        pooled = pooled_percentiles([run["histogram"] for run in runs]) or {}
        p50, p99 = _latencies(runs, "p50", "p99")
        if p99 != _NOTHING:
            lines.setdefault(f"{candidates} candidates", []).append((load * 100, float(p99)))
        rows.append(
            (
                str(candidates),
                f"{load:.0%}",
                _middle(runs, lambda run: run["rate"]),
                p50,
                p99,
                f"{pooled['p99_9']:.1f}" if pooled else _NOTHING,
                str(sum(run["requests"] for run in runs)),
                str(sum(run["requests"] - run["full"] for run in runs)),
                *_latencies(runs, "p99", of="lag_ms"),
            )
        )
    plots["p99"] = line_plot(
        "p99 against offered load", "% of capacity", "ms", lines, limit=("40 ms", DEADLINE_MS)
    )
    head = (
        "candidates", "of capacity", "offered/s", "p50 ms", "p99 ms", "p99.9 ms, rounds pooled",
        "requests", "not full", "generator late, p99 ms",
    )  # fmt: skip
    return [_table(head, rows), *_stages(result.runs)]


def _overload(result: Result, plots: dict[str, str]) -> list[str]:
    capacity = {r["round"]: r["full_per_s"] for r in result.runs if r["loop"] == "closed"}
    groups = _grouped((r for r in result.runs if r["loop"] == "open"), "load")
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
                _middle(runs, lambda run: run["rate"]),
                f"{median(shares):.0%} ({min(shares):.0%}–{max(shares):.0%})",
                _middle(runs, lambda run: 100 * run["in_time_per_s"] / capacity[run["round"]], 0),
                str(sum(run["refused"] for run in runs)),
                str(sum(run["refused_with_retry_after"] for run in runs)),
                _middle(refused, lambda run: run["refused_latency_ms"]["p99"]),
                *_latencies(runs, "p99", of="full_latency_ms"),
                str(sum(run["statuses"].get("0", 0) for run in runs)),
                _middle(runs, lambda run: run["rss_mib"][-1] - run["rss_mib"][0]),
            )
        )
    plots["goodput"] = bar_plot("goodput", goodput, "% of capacity")
    head = (
        "× capacity", "offered/s", "full answers in time, of capacity", "degraded ones too, %",
        "refused", "with Retry-After",
        "refusal p99 ms", "full answer p99 ms", "unanswered", "memory growth MiB",
    )  # fmt: skip
    return [_table(head, rows)]


def _growth(result: Result, plots: dict[str, str]) -> list[str]:
    rate = result.settings["gemm_gflop_per_s"]
    rows, took, floor = [], [], []
    for (variant, candidates), runs in _grouped(result.runs, "variant", "candidates").items():
        floor_ms = runs[0]["gflop"] / rate * 1e3
        (p50,) = _latencies(runs, "p50")
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
    return [_table(head, rows), note]


_SECTIONS: Mapping[str, Callable[[Result, dict[str, str]], list[str]]] = {
    "compare": _compare,
    "curve": _curve,
    "overload": _overload,
    "growth": _growth,
}


def _stages(runs: Sequence[Run]) -> list[str]:
    groups = _grouped((r for r in runs if r["stages_ms"]), "contender", "form", "candidates")
    names = list(
        dict.fromkeys(n for group in groups.values() for r in group for n in r["stages_ms"])
    )

    def medians(group: Sequence[Run]) -> list[str]:
        return [_middle(group, lambda r, n=name: r["stages_ms"].get(n, 0.0), 3) for name in names]

    rows = [(*map(str, key), *medians(group)) for key, group in groups.items()]
    if not rows:
        return []
    return ["Stages, ms (`Server-Timing`):", _table(("server", "form", "candidates", *names), rows)]


def _grouped(runs: Any, *names: str) -> dict[tuple[Any, ...], list[Run]]:
    """Rounds of the same thing together; groups in the order in which they were first measured."""

    def key(run: Run) -> tuple[Any, ...]:
        return tuple(run[name] for name in names)

    listed = list(runs)
    first = {k: at for at, k in reversed(list(enumerate(map(key, listed))))}
    ordered = sorted(listed, key=lambda run: first[key(run)])
    return {k: list(group) for k, group in groupby(ordered, key)}


def _ratio(runs: Sequence[Run], base: Sequence[Run]) -> str:
    """Median over rounds of the ratio within a round: what drifts between rounds cancels."""
    of_round = {run["round"]: run["full_per_s"] for run in base}
    pairs = [
        run["full_per_s"] / of_round[run["round"]] for run in runs if of_round.get(run["round"])
    ]
    return f"{median(pairs):.2f}" if pairs else _NOTHING


def _latencies(runs: Sequence[Run], *names: str, of: str = "latency_ms") -> list[str]:
    answered = [run for run in runs if run[of]]
    return [_middle(answered, lambda run, n=name: run[of][n]) for name in names]


def _cpu_ms(run: Run) -> float:
    return run["server_cpu_s"] / max(run["full"], 1) * 1e3


def _middle(runs: Sequence[Run], number: Callable[[Run], float], digits: int = 1) -> str:
    return f"{median(map(number, runs)):.{digits}f}" if runs else _NOTHING


def _table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(files: Annotated[list[Path], typer.Argument(help="result files")]) -> None:
    """Write the page and the plots of each result file beside it."""
    for file in files:
        typer.echo(write_report(file))


if __name__ == "__main__":
    typer.run(main)
