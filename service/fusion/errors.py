"""What is wrong with a formula, and the place in its text."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

Span = tuple[int, int]  # [first, last) offsets into a source text, in characters

_SHOWN_BEFORE, _SHOWN_AFTER = 60, 40  # characters of a long line kept around the caret
_CUT = "…"


@dataclass(frozen=True)
class Place:
    """A span of a text: of the score, or of the let named in `where` ("let f(x)")."""

    source: str
    span: Span = (0, 0)
    where: str = "score"

    @property
    def line(self) -> int:
        """1-based."""
        return self.source.count("\n", 0, self.span[0]) + 1

    @property
    def column(self) -> int:
        """1-based, in characters."""
        return self.span[0] - (self.source.rfind("\n", 0, self.span[0]) + 1) + 1

    @property
    def excerpt(self) -> str:
        """The line of the place, … where it is cut, and a second line with the caret."""
        text = self.source.split("\n")[self.line - 1]
        at = self.column - 1
        width = max(1, min(self.span[1] - self.span[0], len(text) - at))
        first, end = max(0, at - _SHOWN_BEFORE), at + _SHOWN_AFTER
        before = _CUT * (first > 0) + text[first:at]
        shown = before + text[at:end] + _CUT * (end < len(text))
        # Tabs stay tabs, so that the caret lines up however wide they are drawn.
        indent = "".join(c if c == "\t" else " " for c in before)
        marks = "^" + "~" * (min(width, _SHOWN_AFTER) - 1)
        return f"    {shown}\n    {indent}{marks}"


class FormulaError(ValueError):
    """A formula that cannot be compiled. `str()`: the sentence, the line, a caret at the place.

    Attributes:
        message: the sentence alone.
        source: the text that holds the error: the score, or the text of the let named in `where`.
        span: the offsets of the place in `source`.
        line: 1-based line of the place.
        column: 1-based column of the place, in characters.
        excerpt: the line of the place, and a second line with the caret.
        suggestion: what was probably meant, if anything is near.
        where: "score" or "let f(x)".
    """

    def __init__(
        self,
        message: str,
        *,
        source: str,
        span: Span = (0, 0),
        suggestion: str | None = None,
        where: str = "score",
    ) -> None:
        self.message, self.source, self.span = message, source, span
        self.suggestion, self.where = suggestion, where
        place = Place(source, span, where)
        self.line, self.column, self.excerpt = place.line, place.column, place.excerpt
        super().__init__(
            f"{message}\n  {where}, line {self.line}, column {self.column}\n{self.excerpt}"
        )


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was probably meant to be; letter case is no difference."""
    by_lower = {k.lower(): k for k in sorted(known, reverse=True)}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return by_lower[close[0]] if close else None
