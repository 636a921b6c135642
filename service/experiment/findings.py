"""A finding: one thing wrong or doubtful in a plan, and the place in the document where it is."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """A sentence about the value at a JSON pointer (RFC 6901).

    Formulas have `line`, `column` (1-based) and `caret`: the text line with a marker under it.
    """

    severity: Severity
    pointer: str
    message: str
    line: int | None = None
    column: int | None = None
    caret: str | None = None

    def __str__(self) -> str:
        where = f"{self.pointer or '/'}: {self.message}"
        return f"{where}\n{self.caret}" if self.caret else where


def pointer(*path: object) -> str:
    """JSON pointer of a path of keys and indexes: ("formulas", "a/b", 0) -> "/formulas/a~1b/0".

    No path names the whole document.
    """
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)


def errors(findings: Iterable[Finding]) -> list[Finding]:
    return [f for f in findings if f.severity == "error"]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The known name nearest to `name` as "; did you mean 'x'?", or else what there is."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=1)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f" (known: {', '.join(names) or 'none'})"
