"""`finerank outcomes`: what users did, by arm; with logged propensities what a draft is worth."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from service.api.drafts import batches_of_log, draft_of
from service.commands import console
from service.commands.plan_client import Refused, read_document
from service.commands.plan_options import Scene, show_findings
from service.commands.preview import read_draft
from service.contract.errors import ContractError
from service.experiment.errors import PlanInvalid
from service.settings import SettingsError
from service.traffic.batch import ItemNames
from service.traffic.errors import NoParquet, TrafficError
from service.traffic.off_policy import Estimate

if TYPE_CHECKING:
    from service.traffic.outcomes import Arm, Outcomes

_ALL = 1 << 62


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("outcomes", rich_help_panel="Serving")(outcomes)


def outcomes(
    scene: Scene,
    file: Annotated[
        Path, typer.Argument(help="Parquet or CSV: request_id, numbers, perhaps item_id.")
    ],
    log: Annotated[Path, typer.Option(help="Directory of the serving log.")],
    draft: Annotated[
        Path | None, typer.Option(help="Estimate this plan; needs item_id and propensity.")
    ] = None,
    first: Annotated[int, typer.Option(min=1, help="Places that count, with --draft.")] = 5,
    models: Annotated[
        Path | None, typer.Option(help="Directory of model packages, with --draft.")
    ] = None,
) -> None:
    """Join outcomes to logged requests: the mean a request of each arm, with 95 % intervals.

    A request without a row counts as 0 of everything. All requests of a user are one observation.

    [dim]finerank outcomes feed clicks.parquet --log logs[/]
    """
    try:
        from service.traffic.log_files import find_files
        from service.traffic.outcomes import arms, join, read_outcomes
    except ImportError:
        raise console.fail(str(NoParquet("joining outcomes"))) from None
    with console.refusals(Refused, SettingsError, ContractError, PlanInvalid, TrafficError):
        read = read_outcomes(file)
        joined = join(find_files(log, scene), read)
        for sentence in joined.gone:
            console.warn(sentence)
        console.out.print(
            f"{len(joined.totals):,} requests of {len(set(joined.user)):,} users;"
            f" {joined.matched:,} have outcomes"
        )
        if not joined.matched:
            raise console.fail("no request id of the outcomes is in the log")
        _show_arms(list(arms(joined)))
        if draft is not None:
            _show_worth(scene, read, log, draft, first, models)


def _show_arms(found: "Sequence[Arm]") -> None:
    if not found:
        console.out.print("no request of the log was in an experiment")
        return
    table = Table("layer", "arm", "outcome", "requests", "users", box=None)
    for column in ("mean a request", "against control", "lift"):
        table.add_column(column, justify="right")
    for arm in found:
        apart, lift = "", ""
        if arm.difference is not None:
            apart = f"{arm.difference[0]:+.4g} ± {arm.difference[1]:.2g}"
        if arm.lift is not None:
            lift = f"{arm.lift[0]:+.2%} ± {arm.lift[1]:.2%}"
        mean = f"{arm.mean.value:.4g} ± {arm.mean.half_width:.2g}"
        counts = f"{arm.mean.requests:,}", f"{arm.mean.users:,}"
        table.add_row(arm.layer, arm.arm, arm.outcome, *counts, mean, apart, lift)
    console.show(table)


def _show_worth(
    scene: str, read: "Outcomes", log: Path, draft: Path, first: int, models: Path | None
) -> None:
    from service.traffic.worth import worth

    findings, snapshot = read_draft(scene, read_document(draft), models)
    show_findings(findings)
    names = ItemNames()
    _, batches = batches_of_log(log, scene, _ALL, names)
    table = Table("outcome", "order", box=None, title=f"mean a place of the first {first}")
    for column in ("SNIPS", "doubly robust", "effective rows"):
        table.add_column(column, justify="right")
    for one in worth(batches, names, draft_of(snapshot), read, first):
        rows = "" if one.snips is None else f"{one.snips.effective_rows:,.0f}"
        table.add_row(one.outcome, one.policy, _shown(one.snips), _shown(one.doubly_robust), rows)
    console.show(table)


def _shown(estimate: Estimate | None) -> str:
    return (
        "nothing shown"
        if estimate is None
        else f"{estimate.value:.4g} ± {1.96 * estimate.error:.2g}"
    )
