"""How commands speak: results on stdout, everything else on stderr, refusals as one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


class Misused(Exception):
    """An argument that no service has to be asked about; the sentence says which and why."""


_ANY_WIDTH = 100_000
_MISUSED = 2  # as typer leaves where an option is unknown


def show(table: Table, *, markup: bool = True) -> None:
    """Print a table; nothing is cut. What has no terminal's width is as wide as it needs to be."""
    for column in table.columns:
        column.overflow = "fold"
    if not out.is_terminal:
        options = out.options.update(max_width=_ANY_WIDTH, markup=markup)
        table.width = Measurement.get(out, options, table).maximum
    out.print(table, markup=markup)


def fail(sentence: str) -> typer.Exit:
    """Say what is wrong; raise what this gives to leave with status 1."""
    err.print(f"[bold red]error:[/] {_plain(sentence)}")
    return typer.Exit(1)


def misused(sentence: str) -> typer.Exit:
    """The same for a wrong command line, which needs no service to be wrong: status 2."""
    fail(sentence)
    return typer.Exit(_MISUSED)


def warn(sentence: str) -> None:
    err.print(f"[yellow]warning:[/] {_plain(sentence)}")


def ask(question: str) -> bool:
    """The answer of a person; no, where nobody can answer."""
    try:
        return typer.confirm(question, err=True)
    except typer.Abort:
        err.print()
        return False


@contextmanager
def refusals(*errors: type[Exception]) -> Iterator[None]:
    """Turn these errors into a sentence and status 1, without a traceback; `Misused` into 2."""
    try:
        yield
    except errors as error:
        leave = misused if isinstance(error, Misused) else fail
        raise leave(str(error)) from None


def _plain(sentence: str) -> str:
    return sentence.replace("[", r"\[")
