"""`finerank tune`: its options; what it does is `command`'s."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from training.plainly import said_plainly


def tune(
    plan: Annotated[Path, typer.Argument(help="Plan document, JSON, as `plan get` prints it.")],
    maximize: Annotated[
        list[str],
        typer.Option(
            help="LABEL.auc, LABEL.gauc, LABEL.xauc, LABEL.ndcg@K, or NAME@K: the mean of a label"
            " or attribute among the first K of a list. Several give a Pareto front."
        ),
    ],
    formula: Annotated[str | None, typer.Option(help="Default: the plan's default.")] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Parquet of `finerank evaluate --predictions`.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Instead: the log, scored with the plan's model.")
    ] = None,
    days: Annotated[str | None, typer.Option(help="FIRST:LAST of the log.")] = None,
    models: Annotated[
        Path, typer.Option(envvar="FINERANK_MODELS", help="Directory of model packages.")
    ] = Path("models"),
    keep: Annotated[
        list[str],
        typer.Option(help="A bound, relative to the plan's own params: videolen_s@10>=0.98."),
    ] = [],  # noqa: B006
    only: Annotated[
        list[str], typer.Option(help="Search this param alone (repeat for more).")
    ] = [],  # noqa: B006
    define: Annotated[
        list[str], typer.Option(help="A label made of others: watch=vcr*videolen_s.")
    ] = [],  # noqa: B006
    list_by: Annotated[
        list[str],
        typer.Option(help="Columns that make a list; default request_id, or user_id and day."),
    ] = [],  # noqa: B006
    propensity: Annotated[
        str | None,
        typer.Option(help="Column of the chance with which a row was shown, if not `propensity`."),
    ] = None,
    trials: Annotated[int, typer.Option(min=1)] = 200,
    seed: int = 1,
    check: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of users held out to check the result.")
    ] = 0.3,
    choose: Annotated[
        int | None, typer.Option(help="Draft this trial instead of the chosen one.")
    ] = None,
    storage: Annotated[
        Path | None, typer.Option(help="Keep trials in this file and continue from it.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the plan with the found params.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a page to this directory.")] = None,
) -> None:
    """Search the params of a formula on logged rows, and draft a plan with them.

    [dim]finerank tune plan.json --predictions p.parquet --maximize like.auc --maximize vcr@10
    --keep "videolen_s@10>=0.98" --out draft.json[/]
    """
    with said_plainly():
        from training.tune import command

        console = Console()
        wanted = command.Wanted(
            formula=formula,
            maximize=maximize,
            keep=keep,
            only=only,
            define=define,
            list_by=list_by,
            propensity=propensity,
            trials=trials,
            seed=seed,
            check=check,
            choose=choose,
            storage=storage,
        )
        if (predictions is None) == (data is None) or (data is None) != (days is None):
            raise ValueError("give either --predictions, or --data and --days")
        rows = predictions or command.score_log(plan, data, days, models, console)
        search, found, held_out = command.tune(plan, rows, wanted, console)
        if out is not None:
            command.write_draft(search, found, out)
            console.print(f"draft: {out}", highlight=False)
        if report is not None:
            command.write_page(search, found, held_out, report)
            console.print(f"report: {report / 'index.html'}", highlight=False)
