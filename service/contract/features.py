"""The feature schema: what a raw value may be, whose side it is on, where its encoding lands.

A schema is written by training and read by serving; `encode` turns raw values into arrays by it.
Each side (user, context, item, cross) is encoded into at most two blocks:
`<side>_ids` (rows, K) int32 and `<side>_values` (rows, M) float32, features in schema order.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

from service.contract.words import WordTable

Side = Literal["user", "context", "item", "cross"]
SIDES: tuple[Side, ...] = get_args(Side)

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Vocabulary(_Strict):
    """How a categorical value becomes an id: by a vocabulary, by hashing, as another feature does.

    Id 0 is out-of-vocabulary; a listed value has id 1 + its position; a hashed value has id
    1 + (first 8 bytes of SHA-256 of its UTF-8, big-endian) mod `hash_buckets`.
    """

    vocabulary: tuple[str, ...] | None = None
    hash_buckets: Annotated[int, Field(ge=1)] | None = None
    shares: Name | None = None  # ids and embedding rows of that categorical feature

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [s is not None for s in (self.vocabulary, self.hash_buckets, self.shares)]
        if sum(given) != 1:
            raise ValueError("give exactly one of vocabulary, hash_buckets, shares")
        if self.vocabulary is not None and len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError("the vocabulary lists a value twice")
        return self

    @property
    def own_rows(self) -> int:
        """Embedding rows it brings: out-of-vocabulary + values; 0 when it shares another's."""
        if self.vocabulary is not None:
            return 1 + len(self.vocabulary)
        return 0 if self.hash_buckets is None else 1 + self.hash_buckets


class Categorical(_Vocabulary):
    """One value of a set. Raw: a string, or an integer as its decimal text. Encoded: one id."""

    kind: Literal["categorical"] = "categorical"
    name: Name
    side: Side
    default: str | None = None  # the value an absent one stands for; None is out-of-vocabulary

    @property
    def ids(self) -> int:
        return 1


class MultiValued(_Vocabulary):
    """A set of values. Raw: a list of strings. Encoded: `max_length` ids; id 0 is 'nothing'."""

    kind: Literal["multi"] = "multi"
    name: Name
    side: Side
    max_length: Annotated[int, Field(ge=1)]

    @property
    def ids(self) -> int:
        return self.max_length


class Sequence(_Vocabulary):
    """Values in time order, newest first. Raw: a list of strings. Encoded like `MultiValued`."""

    kind: Literal["sequence"] = "sequence"
    name: Name
    side: Side
    max_length: Annotated[int, Field(ge=1)]

    @property
    def ids(self) -> int:
        return self.max_length


class Numeric(_Strict):
    """One number, passed through as float32: transforms live in the graph."""

    kind: Literal["numeric"] = "numeric"
    name: Name
    side: Side
    default: float
    unit: str | None = None

    @property
    def width(self) -> int:
        return 1


class Lookup(_Strict):
    """Rates of a pair, kept as a map on one side and looked up by a value of the other side.

    `source` is the raw name of a map {key value: [numbers]} on `source_side` (say user_author on
    user); `key` is the raw name whose value on `key_side` picks the entry (say author_id on item).
    A key that is a list (tags) takes the mean of the entries found. Nothing found: `default`, which
    is a known answer ("this pair has no history"), not a missing feature. The looked-up numbers
    belong to `side`.
    """

    kind: Literal["lookup"] = "lookup"
    name: Name
    side: Side
    source: Name
    source_side: Literal["user", "item"]
    key: Name
    key_side: Literal["context", "item"]
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    default: tuple[float, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.default) != len(self.columns):
            raise ValueError(
                f"{self.name}: {len(self.columns)} columns but {len(self.default)} defaults"
            )
        sides: dict[tuple[str, str], Side] = {
            ("user", "item"): "cross",
            ("item", "context"): "cross",
            ("user", "context"): "context",
        }
        expected = sides.get((self.source_side, self.key_side))
        if expected != self.side:
            raise ValueError(
                f"{self.name}: a {self.source_side} map looked up by a {self.key_side} value"
                f" belongs to side {expected!r}, not {self.side!r}"
            )
        return self

    @property
    def width(self) -> int:
        return len(self.columns)


Feature = Annotated[
    Categorical | MultiValued | Sequence | Numeric | Lookup, Field(discriminator="kind")
]
IdFeature = Categorical | MultiValued | Sequence
ValueFeature = Numeric | Lookup


class Attribute(_Strict):
    """An item value that formulas may use (videolen_s, price): unit, default, observed range."""

    name: Name
    unit: str | None = None
    default: float
    min: float
    max: float


class FeatureSchema(_Strict):
    """All features of a model, and which of them `user.id` and the candidate id feed."""

    features: tuple[Feature, ...]
    attributes: tuple[Attribute, ...] = ()
    user_id_feature: Name | None = None
    item_id_feature: Name | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [f.name for f in self.features]
        if twice := sorted({n for n in names if names.count(n) > 1}):
            raise ValueError(f"features named twice: {', '.join(twice)}")
        for feature in self.features:
            shares = getattr(feature, "shares", None)
            if shares is not None:
                target = next((f for f in self.features if f.name == shares), None)
                if not isinstance(target, Categorical) or target.shares is not None:
                    raise ValueError(
                        f"{feature.name} shares {shares!r}, which is no categorical feature"
                        " with a vocabulary of its own"
                    )
        for role, side, name in (
            ("user_id_feature", "user", self.user_id_feature),
            ("item_id_feature", "item", self.item_id_feature),
        ):
            if name is not None and not any(
                f.name == name and f.side == side for f in self.features
            ):
                raise ValueError(f"{role} {name!r} is no {side} feature of the schema")
        return self

    def __iter__(self) -> Iterator[Feature]:  # type: ignore[override]
        return iter(self.features)

    @cached_property
    def by_name(self) -> dict[str, Feature]:
        return {f.name: f for f in self.features}

    @cached_property
    def vocabularies(self) -> dict[str, dict[str, int] | int]:
        """Id feature -> {value: id}, or its number of hash buckets; shared: the same object."""
        own: dict[str, dict[str, int] | int] = {}
        listed: dict[tuple[str, ...], dict[str, int]] = {}  # equal ones once: caches are small
        for f in self.features:
            if isinstance(f, IdFeature) and f.vocabulary is not None:
                if f.vocabulary not in listed:
                    ids = {value: id_ for id_, value in enumerate(f.vocabulary, start=1)}
                    listed[f.vocabulary] = ids
                own[f.name] = listed[f.vocabulary]
            elif isinstance(f, IdFeature) and f.hash_buckets is not None:
                own[f.name] = f.hash_buckets
        for f in self.features:
            if isinstance(f, IdFeature) and f.shares is not None:
                own[f.name] = own[f.shares]
        return own

    @cached_property
    def item_words(self) -> WordTable:
        """The vocabularies of short words of categorical item features: requests have many items.

        Loading a package makes it: the first request must not wait for that.
        """
        items = [f.name for f in self.id_features("item") if isinstance(f, Categorical)]
        return WordTable.of({name: self.vocabularies[name] for name in items})

    @cached_property
    def raw_names(self) -> dict[Side, frozenset[str]]:
        """Raw value names each side may bring: features, lookup maps and keys, attributes."""
        names: dict[Side, set[str]] = {side: set() for side in SIDES}
        for f in self.features:
            names[f.side].add(f.name)
            if isinstance(f, Lookup):
                names[f.source_side].add(f.source)
                names[f.key_side].add(f.key)
        names["item"].update(a.name for a in self.attributes)
        return {side: frozenset(found) for side, found in names.items()}

    @cached_property
    def given_names(self) -> dict[Side, frozenset[str]]:
        """The raw names that a request or record gives: not ids, and not what is looked up."""
        fed = {self.user_id_feature, self.item_id_feature}
        derived = {f.name for f in self.features if isinstance(f, Lookup)}
        return {side: names - fed - derived for side, names in self.raw_names.items()}

    @cached_property
    def item_categories(self) -> dict[str, int]:
        """Single-valued categorical item feature -> its column in `item_ids`; not the item's id."""
        columns, at = {}, 0
        for feature in self.id_features("item"):
            if isinstance(feature, Categorical) and feature.name != self.item_id_feature:
                columns[feature.name] = at
            at += feature.ids
        return columns

    def id_features(self, side: Side) -> tuple[IdFeature, ...]:
        """Features of the side that land in `<side>_ids`, in column order."""
        return self._id_features[side]

    def value_features(self, side: Side) -> tuple[ValueFeature, ...]:
        """Features of the side that land in `<side>_values`, in column order."""
        return self._value_features[side]

    @cached_property
    def _id_features(self) -> dict[Side, tuple[IdFeature, ...]]:
        ids = [f for f in self.features if not isinstance(f, ValueFeature)]
        return {side: tuple(f for f in ids if f.side == side) for side in SIDES}

    @cached_property
    def _value_features(self) -> dict[Side, tuple[ValueFeature, ...]]:
        values = [f for f in self.features if isinstance(f, ValueFeature)]
        return {side: tuple(f for f in values if f.side == side) for side in SIDES}

    def ids_width(self, side: Side) -> int:
        return self._widths[side][0]

    def values_width(self, side: Side) -> int:
        return self._widths[side][1]

    @cached_property
    def _widths(self) -> dict[Side, tuple[int, int]]:
        return {
            side: (
                sum(f.ids for f in self.id_features(side)),
                sum(f.width for f in self.value_features(side)),
            )
            for side in SIDES
        }

    @cached_property
    def inputs(self) -> dict[str, tuple[Side, str, int]]:
        """Model input name -> (side, dtype, width); blocks of width 0 are left out."""
        blocks: dict[str, tuple[Side, str, int]] = {}
        for side in SIDES:
            if width := self.ids_width(side):
                blocks[f"{side}_ids"] = (side, "int32", width)
            if width := self.values_width(side):
                blocks[f"{side}_values"] = (side, "float32", width)
        return blocks
