"""A doubt: something about a formula that is legal and looks wrong, and its place."""

from dataclasses import dataclass
from typing import Literal

from service.fusion.errors import Place
from service.fusion.expand import Placed

_SHOWN = 40  # characters of an expression

Kind = Literal["invalid", "remote", "sign", "constant", "branch", "idle"]


@dataclass(frozen=True)
class Doubt:
    """Something about a formula that is legal and looks wrong.

    `kind`: "invalid" (may have no value), "remote" (the same, only next to 0, where no head is),
    "sign" (a factor that may be ≤ 0), "constant" (a term that is always the same), "branch" (never
    taken), "idle" (never changes the order).
    """

    kind: Kind
    message: str
    place: Place


def text_of(node: Placed) -> str:
    """An expression as its author wrote it, on one line."""
    first, last = node.place.span
    text = " ".join(node.place.source[first:last].split())
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
