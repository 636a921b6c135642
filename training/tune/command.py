"""`finerank tune`: read, search, say what was found, write the draft and the page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table as Shown

from service.fusion import compile_formula
from training.report.page import Table
from training.tune.errors import TuneError
from training.tune.lists import Lists, read_lists
from training.tune.objectives import parse_bound, parse_objective
from training.tune.off_policy import UNLOGGED
from training.tune.planned import PlannedFormula
from training.tune.result_page import front_table, params_table, result_page
from training.tune.search import Found, Search, Trial


@dataclass(frozen=True)
class Wanted:
    """What the user asked for, as typed."""

    formula: str | None = None
    maximize: Sequence[str] = ()
    keep: Sequence[str] = ()
    only: Sequence[str] = ()
    define: Sequence[str] = ()
    list_by: Sequence[str] = ()
    propensity: str | None = None
    trials: int = 200
    seed: int = 1
    check: float = 0.3
    choose: int | None = None
    storage: Path | None = None


def tune(
    plan: Path, predictions: Path | pl.DataFrame, wanted: Wanted, console: Console
) -> tuple[Search, Found, Lists]:
    """Search, and show what was found; the lists are those of users held out.

    Raises:
        TuneError: what was asked for does not fit the plan or the rows.
        FormulaError: the formula does not compile against the predictions.
    """
    if not wanted.maximize:
        raise TuneError("say what to maximise, as in --maximize like.auc --maximize watch@10")
    formula = PlannedFormula.read(plan, wanted.formula)
    lists = read_lists(predictions, list_by=wanted.list_by, propensity=wanted.propensity)
    for text in wanted.define:
        lists = _define(lists, text)
    searched, held_out = lists.split(wanted.check, wanted.seed)
    if not searched.rows:
        raise TuneError(f"a check share of {wanted.check:g} leaves no row to search on")
    search = Search(
        formula=formula,
        lists=searched,
        objectives=[parse_objective(text, lists) for text in wanted.maximize],
        bounds=[parse_bound(text, lists) for text in wanted.keep],
        only=wanted.only,
    )
    with _bar(console) as bar:
        task = bar.add_task("searching", total=wanted.trials)
        found = search.run(
            wanted.trials,
            seed=wanted.seed,
            storage=wanted.storage,
            told=lambda done: bar.update(task, completed=done),
        )
    if wanted.choose is not None:
        found = replace(found, chosen=_numbered(found, wanted.choose))
    _show(search, found, lists, console)
    return search, found, held_out


def score_log(plan: Path, data: Path, days: str, models: Path, console: Console) -> pl.DataFrame:
    """What `finerank evaluate --predictions` would write for the plan's model."""
    # Only here is a model run, and ONNX Runtime needed.
    from service.contract.repository import Repository
    from training.data.days import Days
    from training.evaluate import evaluate, predictions_frame

    model = PlannedFormula.read(plan, None).plan.model
    return predictions_frame(evaluate(Repository(models), model, data, Days.parse(days), console))


def write_draft(search: Search, found: Found, path: Path) -> None:
    """The plan with the chosen params to six figures: `finerank plan validate` takes it."""
    values = {name: float(f"{value:.6g}") for name, value in found.chosen.params.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    document = search.formula.draft(values)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def write_page(search: Search, found: Found, held_out: Lists, directory: Path) -> None:
    result_page(search, found, held_out).write(directory)


def _define(lists: Lists, text: str) -> Lists:
    """`watch=vcr * videolen_s`: a label made of labels and attributes, in the formula language."""
    name, equals, expression = (part.strip() for part in text.partition("="))
    if not equals or not name.isidentifier():
        raise TuneError(f"definition {text!r} is not NAME=EXPRESSION, as in watch=vcr*videolen_s")
    attributes = [a for a in lists.attributes if a not in lists.labels]
    formula = compile_formula(expression, heads=list(lists.labels), attributes=attributes)
    columns = {**lists.attributes, **lists.labels}
    return lists.with_label(name, formula(columns, rows=lists.rows).values)


def _numbered(found: Found, number: int) -> Trial:
    for trial in found.trials:
        if trial.number == number:
            return trial
    raise TuneError(f"there is no trial {number} (there are 0 to {found.trials[-1].number})")


def _show(search: Search, found: Found, lists: Lists, console: Console) -> None:
    for title, table in (
        ("params", params_table(search, found)),
        ("Pareto front", front_table(search, found)),
    ):
        console.print(_shown(title, table))
    if not found.front:
        console.print("[yellow]warning:[/] no trial keeps every bound")
    elif found.chosen.params == found.control.params:
        console.print("[yellow]warning:[/] nothing that was tried beats the control")
    if lists.propensity is None:
        console.print(f"[yellow]note:[/] {UNLOGGED}", highlight=False)


def _shown(title: str, table: Table) -> Shown:
    shown = Shown(*table.head, title=title, title_justify="left")
    for row in table.rows:
        shown.add_row(*row)
    return shown


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(
        *columns,
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
