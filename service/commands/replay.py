"""`finerank replay`: recompute logged requests against their packages, and name what differs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from service.commands import console
from service.contract.errors import ContractError, PackageError
from service.contract.repository import ModelRef, Repository
from service.scoring.errors import RuntimeProblem
from service.scoring.package import HEAD_TOLERANCE, load_package
from service.scoring.threads import cpu_budget
from service.settings import SettingsError, load_settings
from service.traffic.errors import FileGone, NoParquet, TrafficError

if TYPE_CHECKING:
    # They import pyarrow, which serving does without.
    from service.traffic.log_files import LogFile
    from service.traffic.replay import Difference, Replay


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay", rich_help_panel="Serving")(replay)


def replay(
    log: Annotated[Path, typer.Argument(help="Directory of a serving log.")],
    scene: Annotated[str | None, typer.Option(help="Absent: every scene of the log.")] = None,
    models: Annotated[Path | None, typer.Option(help="Directory of model packages.")] = None,
    last: Annotated[
        int | None, typer.Option(min=1, help="At most so many requests of each scene.")
    ] = None,
) -> None:
    """Encode logged requests again, byte for byte, and run their heads again.

    Raw values come from the log, schemas and graphs from the packages. Exits with 1 when anything
    differs.
    """
    try:
        from service.traffic.log_files import find_files, scenes_of
        from service.traffic.logged import Items, read_logged
    except ImportError:
        raise console.fail(str(NoParquet("reading a serving log"))) from None

    same = True
    with console.refusals(SettingsError, TrafficError, ContractError, RuntimeProblem):
        repository = Repository(load_settings(models=models).models)
        for name in [scene] if scene is not None else scenes_of(log):
            for model, files in _by_model(find_files(log, name), last).items():
                found, items = _prepare(repository, model), Items(log, name, model)
                with _bar(f"{name} {model}", sum(rows for _, rows in files)) as advance:
                    for file, rows in files:
                        try:
                            for logged in read_logged(file, rows):
                                found.add(logged, items)
                                advance()
                        except FileGone as err:
                            console.warn(str(err))
                _show(name, model, found)
                same &= not found.differences
    if not same:
        raise typer.Exit(1)


def _by_model(files: "list[LogFile]", last: int | None) -> "dict[str, list[tuple[LogFile, int]]]":
    """Model -> files with how many of their last requests are wanted."""
    chosen: dict[str, list[tuple[LogFile, int]]] = {}
    left = last
    for file in files:
        rows = file.rows if left is None else min(file.rows, left)
        left = None if left is None else left - rows
        if rows:
            chosen.setdefault(file.about["model"], []).append((file, rows))
    return chosen


def _prepare(repository: Repository, model: str) -> "Replay":
    """A package that is refused is still compared as far as its manifest goes."""
    from service.traffic.replay import Replay

    ref = ModelRef.parse(model)
    version = repository.resolve(ref)
    manifest = repository.manifest(ref.name, version)
    tolerance = HEAD_TOLERANCE
    if ref.variant is not None:
        tolerance = manifest.variant(ref.variant).tolerance
    try:
        threads = cpu_budget().threads
        loaded = load_package(repository, ref.name, version, threads, variant=ref.variant)
    except PackageError as err:
        console.warn(f"heads are not compared, the package is refused: {err}")
        return Replay(manifest.schema_, None, tolerance)
    return Replay(loaded.schema, loaded.graphs.run, tolerance)


def _show(scene: str, model: str, found: "Replay") -> None:
    what = "encodings" if found.run is None else "encodings and heads"
    said = (
        f"{len(found.differences)} things differ" if found.differences else f"{what} are the same"
    )
    console.out.print(
        f"{scene} {model}: {found.requests:,} requests, {found.candidates:,} candidates: {said}"
    )
    if found.unknown_items:
        console.warn(
            f"{found.unknown_items:,} candidates were not compared: the log lacks the stored record"
            " that they were scored from"
        )
    for difference in sorted(found.differences.values(), key=lambda d: -d.count):
        _show_difference(difference)


def _show_difference(difference: "Difference") -> None:
    largest = f", by {difference.largest:.3g} at most" if difference.largest else ""
    console.out.print(f"  [red]{escape(difference.what)}[/]: {difference.count:,} values{largest}")
    for example in difference.examples:
        item = "" if example.item_id is None else f" item {example.item_id}"
        raw = f", raw value {example.raw}" if example.raw else ""
        values = f": logged {example.logged:g}, now {example.now:g}"
        if example.logged != example.logged and example.now != example.now:
            values = ""
        line = f"    request {example.request_id}{item}{raw}{values}"
        console.out.print(line, markup=False)


@contextmanager
def _bar(title: str, total: int) -> Iterator[Callable[[], None]]:
    columns = TextColumn(f"replaying {title}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console.err, transient=True) as progress:
        bar = progress.add_task("", total=total)
        yield lambda: progress.advance(bar)
