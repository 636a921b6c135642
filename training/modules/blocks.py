"""The embedded input as three blocks, so that a model can be cut between user, item and pair."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import accumulate
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

Block = Literal["user", "item", "cross"]


class Widths(NamedTuple):
    """Widths of the three blocks; 0 where a schema has nothing on that side."""

    user: int
    item: int
    cross: int

    @property
    def total(self) -> int:
        return self.user + self.item + self.cross


class Listed(NamedTuple):
    """A multi-valued feature before pooling: rows (B, L, dim), and where there is one (B, L)."""

    rows: Tensor
    present: Tensor


class Blocks:
    """User and context features (B, Du), item features (B, Di), cross features (B, Dx).

    Args:
        lists: features that something reads unpooled, by name.
        ids: features of which something reads the id (B,), by name.
    """

    def __init__(
        self,
        user: Tensor,
        item: Tensor,
        cross: Tensor,
        lists: Mapping[str, Listed] | None = None,
        ids: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.user, self.item, self.cross = user, item, cross
        self.lists, self.ids = lists or {}, ids or {}
        # Concatenated once here: every first layer then is one GEMM over all its experts.
        self.whole = torch.cat([block for block in (user, item, cross) if block.shape[1]], dim=1)
        # What `linear.multiply_together` has computed already, by the layer that will ask for it.
        self.products: dict[nn.Module, Tensor] = {}

    def with_cross(self, more: Tensor) -> "Blocks":
        """With further columns (B, D) at the end of the cross block."""
        return self.of(self.user, self.item, torch.cat([self.cross, more], dim=1))

    def of(self, user: Tensor, item: Tensor, cross: Tensor) -> "Blocks":
        """Other columns of the same rows."""
        return Blocks(user, item, cross, self.lists, self.ids)


@dataclass(frozen=True)
class Field:
    """Neighbouring columns of one block: an id feature (`dim` wide), a number, or what an input
    block computes. A lookup's number is named `lookup.column`.
    """

    name: str
    width: int
    block: Block
    embedded: bool  # rows of the embedding table, not numbers

    def matches(self, pattern: str) -> bool:
        """By a pattern with `*`; a lookup's name stands for all of its columns."""
        return fnmatchcase(self.name, pattern) or self.name.partition(".")[0] == pattern


class UnknownField(ValueError):
    """A pattern that matches nothing; the sentence says what there is."""


@dataclass(frozen=True)
class Layout:
    """What the columns of `Blocks.whole` are, in order."""

    fields: tuple[Field, ...]

    @property
    def widths(self) -> Widths:
        def total(block: str) -> int:
            return sum(field.width for field in self.fields if field.block == block)

        return Widths(total("user"), total("item"), total("cross"))

    @property
    def starts(self) -> tuple[int, ...]:
        """The first column of every field."""
        return tuple(accumulate((field.width for field in self.fields), initial=0))[:-1]

    def select(self, patterns: Iterable[str]) -> tuple[Field, ...]:
        """The fields that any of the patterns matches, in order.

        Raises:
            UnknownField: a pattern that matches no field.
        """
        patterns = tuple(patterns)
        for pattern in patterns:
            if not any(field.matches(pattern) for field in self.fields):
                known = ", ".join(field.name for field in self.fields)
                raise UnknownField(f"{pattern!r} matches no feature of the model ({known})")
        return tuple(f for f in self.fields if any(f.matches(pattern) for pattern in patterns))

    def columns(self, fields: Iterable[Field]) -> Tensor:
        """Column numbers (D) of these fields, in the layout's order."""
        chosen = set(fields)
        ranges = [
            torch.arange(start, start + field.width)
            for field, start in zip(self.fields, self.starts, strict=True)
            if field in chosen
        ]
        return torch.cat([*ranges, torch.empty(0, dtype=torch.int64)])

    def with_cross(self, name: str, width: int, *, embedded: bool = False) -> "Layout":
        """As `Blocks.with_cross`, under a name of its own."""
        if any(field.name == name for field in self.fields):
            raise UnknownField(f"two features or input blocks are named {name!r}")
        return Layout((*self.fields, Field(name, width, "cross", embedded)))
