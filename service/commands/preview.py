"""`finerank plan preview`: what a draft would change in the order of the last requests."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from service.api.drafts import batches_of_log
from service.api.drafts import preview as run
from service.commands import console
from service.commands.plan_client import Document, PlanClient, Refused, read_document
from service.commands.plan_options import URL, File, Scene, Url, show_findings
from service.commands.preview_text import show
from service.contract.errors import ContractError
from service.contract.repository import Repository
from service.experiment.errors import PlanInvalid
from service.experiment.findings import Finding
from service.experiment.packages import PackageReader, ResolvedModels
from service.experiment.plan import parse_plan
from service.experiment.snapshot import Snapshot, check_plan
from service.settings import SettingsError, load_settings
from service.traffic.batch import ItemNames
from service.traffic.errors import TrafficError


def preview(
    scene: Scene,
    file: File,
    last: Annotated[int, typer.Option(min=1, help="At most so many requests.")] = 200,
    log: Annotated[
        Path | None, typer.Option(help="Read this serving log, and need no service.")
    ] = None,
    models: Annotated[
        Path | None, typer.Option(help="Directory of model packages, with --log.")
    ] = None,
    url: Url = URL,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Compare the order of the last requests with the order that a draft would have given them.

    No model runs: heads are those that were served. This is a change of order, not lift. What is
    said @k is about the first k places, over the requests with more than k candidates.

    [dim]finerank plan preview feed draft.json --last 10000 --log logs[/]
    """
    with console.refusals(Refused, SettingsError, ContractError, PlanInvalid, TrafficError):
        document = read_document(file)
        if log is not None:
            report = _offline(scene, document, last, log, models)
        else:
            with PlanClient(url, scene) as client:
                report = client.preview(document, last)
    show_findings(report["findings"])
    if as_json:
        console.out.print(json.dumps(report, indent=1, ensure_ascii=False), markup=False)
    else:
        show(report)


def _offline(scene: str, document: Document, last: int, log: Path, models: Path | None) -> Document:
    findings, snapshot = read_draft(scene, document, models)
    names = ItemNames()
    requests, batches = batches_of_log(log, scene, last, names)
    columns = TextColumn("comparing requests"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console.err, transient=True) as progress:
        bar = progress.add_task("", total=requests)
        report = run(snapshot, batches, names, lambda done: progress.advance(bar, done))
    return {"scene": scene, "source": "log", **report, "findings": findings}


def read_draft(
    scene: str, document: Document, models: Path | None
) -> tuple[list[Document], Snapshot]:
    """The warnings of a draft and its snapshot, with the packages of this machine.

    Raises:
        Exit: it has errors; they have been shown.
        Refused, PlanInvalid, ContractError: as their names say.
    """
    plan = parse_plan(document)
    if plan.scene != scene:
        raise Refused(f"the plan is of scene {plan.scene!r}, not {scene!r}")
    reader = PackageReader(Repository(load_settings(models=models).models))
    checked = check_plan(plan, 0, ResolvedModels(reader, {}))
    findings = [_shown(finding) for finding in checked.findings]
    if checked.snapshot is None:
        show_findings(findings)
        raise console.fail("the draft has errors")
    return findings, checked.snapshot


def _shown(finding: Finding) -> Document:
    return {k: v for k, v in vars(finding).items() if v is not None}
