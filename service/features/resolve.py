"""Where each raw value comes from: the request, else the store, else nobody (then the default)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.contract.encode import Column
from service.contract.features import FeatureSchema, Side
from service.features.store import Record, Records

RAW_SIDES: tuple[Side, ...] = ("user", "context", "item")


@dataclass(frozen=True)
class Inline:
    """Raw values that a request brings; `columns`: one value per candidate, None where absent.

    `units`, `user_units`: context and user names that the experiments read, whether or not a
    feature does.
    """

    user_id: str | None
    ids: Sequence[str]
    user: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, Column] = field(default_factory=dict)
    units: frozenset[str] = frozenset()
    user_units: frozenset[str] = frozenset()


@dataclass(frozen=True)
class RawValues:
    """Raw values by name, ready to encode; a name or a value that is not there is nobody's.

    `unknown` counts the request's names that nothing reads.
    """

    inline: Inline
    user: dict[str, Any]
    context: dict[str, Any]
    items: dict[str, Column]  # one value per candidate
    unknown: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        return len(self.inline.ids)

    def values(self, side: Side, name: str) -> Column:
        """The raw values of a name: one per candidate for items, one otherwise."""
        if side == "item":
            return self.items.get(name, (None,) * self.rows)
        return ((self.user if side == "user" else self.context).get(name),)

    def is_inline(self, side: Side, name: str, row: int) -> bool:
        """Whether the request itself brought that value."""
        if side == "item":
            column = self.inline.columns.get(name)
            return column is not None and column[row] is not None
        given = self.inline.user if side == "user" else self.inline.context
        return given.get(name) is not None


def resolve(schema: FeatureSchema, inline: Inline, records: Records) -> RawValues:
    """Merge request and store, value by value.

    `user.id` feeds `schema.user_id_feature`, the candidate ids feed `schema.item_id_feature`.
    Inline values of those two names are ignored and counted, like every name that nothing reads.
    """
    names = schema.given_names
    unknown: Counter[str] = Counter()
    if inline.user:
        unknown.update(inline.user.keys() - inline.user_units - names["user"])
    if inline.context:
        unknown.update(inline.context.keys() - inline.units - names["context"])
    if inline.columns:
        unknown.update(inline.columns.keys() - names["item"])
    raw = RawValues(
        inline,
        user=_merged(names["user"], inline.user, records.user),
        context=_merged(names["context"], inline.context, None),
        items=_columns(names["item"], inline.columns, records.items),
        unknown=unknown,
    )
    if schema.user_id_feature is not None and inline.user_id is not None:
        raw.user[schema.user_id_feature] = inline.user_id
    if schema.item_id_feature is not None:
        raw.items[schema.item_id_feature] = inline.ids
    return raw


def needs_user(schema: FeatureSchema, inline: Inline) -> bool:
    """Whether some value of the user is not in the request."""
    return inline.user_id is not None and any(
        inline.user.get(name) is None for name in schema.given_names["user"]
    )


def needs_items(schema: FeatureSchema, inline: Inline) -> bool:
    """Whether some value of a candidate is not in the request."""
    columns = (inline.columns.get(name) for name in schema.given_names["item"])
    return bool(inline.ids) and any(column is None or _has_gaps(column) for column in columns)


def _has_gaps(column: Column) -> bool:
    # mostly nothing is false, and that is quicker to see
    return not all(column) and None in column


def missing_names(schema: FeatureSchema, raw: RawValues) -> tuple[list[str], list[list[str]]]:
    """Names without a value: those of user and context together, and those of each candidate."""
    shared = [
        name
        for side in ("user", "context")
        for name in sorted(schema.given_names[side])
        if raw.values(side, name)[0] is None
    ]
    columns = {name: raw.values("item", name) for name in sorted(schema.given_names["item"])}
    per_item = [
        [name for name, column in columns.items() if column[row] is None] for row in range(raw.rows)
    ]
    return shared, per_item


def _merged(
    names: frozenset[str], inline: Mapping[str, Any], record: Record | None
) -> dict[str, Any]:
    if not inline:
        found = record or {}
        return {n: v for n in names if (v := found.get(n)) is not None}
    values = {}
    for name in names:
        value = inline.get(name)
        if value is None and record is not None:
            value = record.get(name)
        if value is not None:
            values[name] = value
    return values


def _columns(
    names: frozenset[str], inline: Mapping[str, Column], records: Sequence[Record | None]
) -> dict[str, Column]:
    stored = [(row, record) for row, record in enumerate(records) if record]
    if not stored:
        return {name: inline[name] for name in names & inline.keys()}
    columns: dict[str, Column] = {}
    for name in names:
        given = inline.get(name)
        column: list[Any] = [None] * len(records) if given is None else list(given)
        for row, record in stored:
            if column[row] is None:
                column[row] = record.get(name)
        columns[name] = column
    return columns
