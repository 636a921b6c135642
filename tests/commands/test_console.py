"""Tables are read by people and by programs: without a terminal nothing is wrapped or cut."""

import io
from dataclasses import dataclass

import pytest
from rich.console import Console
from rich.table import Table

from service.commands import console

LONG = "item-" + "0123456789" * 15


@dataclass
class Printed:
    """What a console of 60 columns was told."""

    console: Console

    @property
    def lines(self) -> list[str]:
        return self.console.file.getvalue().splitlines()


@pytest.fixture(params=[False, True], ids=["piped", "terminal"])
def printed(request, monkeypatch):
    file = io.StringIO()
    settings = {"highlight": False, "soft_wrap": True, "color_system": None}
    fake = Console(file=file, width=60, force_terminal=request.param, **settings)
    monkeypatch.setattr(console, "out", fake)
    return Printed(fake)


def table():
    found = Table("item", "place", "message", box=None)
    found.add_row(LONG, "1", "what moved it [up]")
    return found


def test_no_cell_is_cut(printed):
    console.show(table(), markup=False)
    if printed.console.is_terminal:
        text = "".join(printed.lines)
        assert sum(sign.isdigit() for sign in text) == 151
        assert "…" not in text
    else:
        (_, row) = printed.lines
        assert row.split() == [LONG, "1", "what", "moved", "it", "[up]"]


def test_columns_stand_below_their_headings(printed):
    narrow = Table("item", "place", box=None)
    narrow.add_row("i1", "12")
    console.show(narrow)
    heading, row = printed.lines
    assert heading.index("place") == row.index("12")
