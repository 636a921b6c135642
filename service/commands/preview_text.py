"""The report of a preview as a person reads it."""

from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from service.commands import console

Report = dict[str, Any]


def show(report: Report) -> None:
    """Print it."""
    requests = report["requests"]
    for reason, count in report["skipped"].items():
        console.warn(f"{count} requests could not be compared: {reason}")
    if not requests:
        console.out.print("no answered requests to compare with")
        return
    console.out.print(
        f"{requests:,} requests, {_instant(report['first_at_s'])} to"
        f" {_instant(report['last_at_s'])}, from the {report['source']}: {report['note']}"
    )
    _show_order(report)
    _show_means(report)
    _show_lengths(report["lengths"])
    _show_movers(report["movers"])


def _show_order(report: Report) -> None:
    tau = report["tau_b"]
    if tau["mean"] is not None:
        console.out.print(
            f"Kendall's tau-b of the first {tau['depth']}: {tau['mean']:.3f}"
            f" (median {tau['median']:.3f}, a tenth below {tau['p10']:.3f})"
        )
    overlap = ", ".join(f"@{depth} {share:.1%}" for depth, share in report["overlap"].items())
    if overlap:
        console.out.print(f"overlap {overlap} (@k: the first k places, as served and as drafted)")
    longer = report["longer_than"]
    if min(longer.values()) < report["requests"]:
        told = ", ".join(f"@{depth} {count:,}" for depth, count in longer.items())
        console.out.print(f"only requests with more than k candidates count at k: {told}")
    console.out.print(
        f"another first item in {report['top1_changed']:.1%} of requests;"
        f" no change at all in {report['unchanged']:.1%}"
    )
    if report["newly_invalid"]:
        console.warn(f"{report['newly_invalid']:,} candidates have no score under the draft")
    if report["by_score_only"]:
        console.warn(
            f"{report['by_score_only']:,} requests are compared by score only: the draft has rules"
            " after fusion, and what those read was not logged"
        )
    if len(report["plans"]) > 1:
        told = ", ".join(f"{count:,} by {plan}" for plan, count in report["plans"].items())
        console.warn(
            f"several plan versions served these requests ({told}): what they changed between them"
            " is in this comparison, too"
        )


def _show_means(report: Report) -> None:
    table = Table("mean over the first k", box=None)
    depths = list(next(iter(report["means"].values()), {}))
    if not depths:
        return
    for depth in depths:
        table.add_column(f"@{depth}", justify="right")
        table.add_column("draft", justify="right")
        table.add_column("Δ", justify="right")
    for name, by_depth in report["means"].items():
        cells = []
        for depth in depths:
            found = by_depth[depth]
            if found["delta"] is None:
                cells += ["", "", ""]
                continue
            share = f" ({found['delta'] / found['served']:+.1%})" if found["served"] else ""
            cells += [f"{found['served']:.4g}", f"{found['draft']:.4g}"]
            cells.append(f"{found['delta']:+.3g}{share}")
        table.add_row(name, *cells)
    console.show(table)


def _show_lengths(lengths: list[dict[str, Any]]) -> None:
    if not lengths:
        return
    table = Table("length, first 10 places", "served", "draft", box=None)
    for one in lengths:
        below = "and longer" if one["below_s"] is None else f"to {one['below_s']:g} s"
        table.add_row(f"{one['from_s']:g} s {below}", f"{one['served']:.1%}", f"{one['draft']:.1%}")
    console.show(table)


def _show_movers(movers: dict[str, list[dict[str, Any]]]) -> None:
    table = Table(
        "item", "requests with it in the first 10", "draft", "mean place", "draft", box=None
    )
    for sign, colour in (("up", "green"), ("down", "red")):
        for item in movers[sign]:
            table.add_row(
                f"[{colour}]{'▲' if sign == 'up' else '▼'}[/] {escape(item['id'])}",
                str(item["served"]),
                str(item["draft"]),
                f"{item['mean_place_served']:.1f}",
                f"{item['mean_place_draft']:.1f}",
            )
    if table.row_count:
        console.show(table)


def _instant(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
