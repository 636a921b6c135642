"""The page of the stall drill: what was answered in time while inference stood still."""

from loadtest.pages.tables import NOTHING, generator_ms, latencies, table
from loadtest.result_files import Result


def stall(result: Result, plots: dict[str, str]) -> list[str]:
    head = (
        "requests", "in time", "in time during stalls", "degraded during stalls", "unexplained",
        "back to full answers after, ms (longest)", "generator late, p99 ms",
        "generator CPU ms a request", "passed",
    )  # fmt: skip
    rows = [
        (
            str(run["requests"]),
            f"{run['in_time']:.2%}",
            f"{run['in_time_in_stalls']:.2%}",
            f"{run['degraded_in_stalls']:.1%}",
            str(run["unexplained"]),
            _longest(run["recovered_ms"]),
            *latencies([run], "p99", of="lag_ms"),
            f"{generator_ms(run):.2f}" if "generator_cpu_s" in run else NOTHING,
            "yes" if run["passed"] else "no",
        )
        for run in result.runs
    ]
    return [table(head, rows)]


def _longest(recovered_ms: list[float | None]) -> str:
    known = [ms for ms in recovered_ms if ms is not None]
    return "never" if len(known) < len(recovered_ms) else f"{max(known, default=0.0):.0f}"
