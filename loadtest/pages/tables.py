"""What all pages are made of: rounds of one thing grouped, medians over them, Markdown tables."""

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from statistics import median
from typing import Any

Run = Mapping[str, Any]
Row = Sequence[str]

NOTHING = "–"  # no request to take a figure from


def stages(runs: Sequence[Run]) -> list[str]:
    groups = grouped((r for r in runs if r["stages_ms"]), "contender", "form", "candidates")
    names = list(
        dict.fromkeys(n for group in groups.values() for r in group for n in r["stages_ms"])
    )

    def medians(group: Sequence[Run]) -> list[str]:
        return [middle(group, lambda r, n=name: r["stages_ms"].get(n, 0.0), 3) for name in names]

    rows = [(*map(str, key), *medians(group)) for key, group in groups.items()]
    if not rows:
        return []
    return ["Stages, ms (`Server-Timing`):", table(("server", "form", "candidates", *names), rows)]


def grouped(runs: Any, *names: str) -> dict[tuple[Any, ...], list[Run]]:
    """Rounds of the same thing together; groups in the order in which they were first measured."""

    def key(run: Run) -> tuple[Any, ...]:
        return tuple(run[name] for name in names)

    listed = list(runs)
    first = {k: at for at, k in reversed(list(enumerate(map(key, listed))))}
    ordered = sorted(listed, key=lambda run: first[key(run)])
    return {k: list(group) for k, group in groupby(ordered, key)}


def ratio(runs: Sequence[Run], base: Sequence[Run]) -> str:
    """Median over rounds of the ratio within a round: what drifts between rounds cancels."""
    of_round = {run["round"]: run["full_per_s"] for run in base}
    pairs = [
        run["full_per_s"] / of_round[run["round"]] for run in runs if of_round.get(run["round"])
    ]
    return f"{median(pairs):.2f}" if pairs else NOTHING


def latencies(runs: Sequence[Run], *names: str, of: str = "latency_ms") -> list[str]:
    answered = [run for run in runs if run.get(of)]
    return [middle(answered, lambda run, n=name: run[of][n]) for name in names]


def cpu_ms(run: Run) -> float:
    return run["server_cpu_s"] / max(run["full"], 1) * 1e3


def generator_ms(run: Run) -> float:
    """CPU of the generator a request, its reading of the replies included."""
    return run["generator_cpu_s"] / max(run["requests"], 1) * 1e3


def middle(runs: Sequence[Run], number: Callable[[Run], float], digits: int = 1) -> str:
    return f"{median(map(number, runs)):.{digits}f}" if runs else NOTHING


def table(head: Row, rows: Sequence[Row]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
