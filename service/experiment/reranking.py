"""The plan key `rerank`: the order's light rules after fusion, of the plan or of an arm.

Values come from what ranking has at hand: a category is a single-valued categorical item feature
of the model, by its encoded id (items out of its vocabulary are alike to no other), an attribute
one of the model's item attributes. `service.rerank` says what each rule does.
"""

from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from service.contract.features import Name
from service.contract.manifest import Manifest
from service.experiment.findings import Finding, did_you_mean, pointer

MOST_PLACES = 1_000
_MMR_PLACES = 100  # one product of the vectors with one of them for each

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Place = Annotated[int, Field(ge=1, le=MOST_PLACES)]
ItemId = Annotated[str, Field(min_length=1, max_length=256)]
Path = tuple[str | int, ...]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Decay(_Strict):
    """The k-th item of a category, by score, keeps floor + (1 - floor)·factor^(k - 1) of it."""

    by: Name
    factor: Share
    floor: Share = 0.0


class Cap(_Strict):
    """At most `most` items of a category among any `window` places in a row."""

    by: Name
    most: Place
    window: Place


class Fresh(_Strict):
    """At least `least` of the `first` places go to items whose attribute is at most `below`."""

    by: Name
    below: Annotated[float, Field(allow_inf_nan=False)]
    least: Place
    first: Place


class Mmr(_Strict):
    """Diversity for the `first` places, by a category or by attributes taken as a vector."""

    by: Name | Annotated[tuple[Name, ...], Field(min_length=1, max_length=64)]
    weight: Share
    first: Annotated[int, Field(ge=1, le=_MMR_PLACES)] = 30


class Rerank(_Strict):
    """All rules; `{}` in an arm switches those of the plan off.

    `pins`: item id -> place. Caps, fresh and pins hold for the first `places`; what follows them is
    in the order of decay and MMR.
    """

    decay: Annotated[tuple[Decay, ...], Field(max_length=4)] = ()
    mmr: Mmr | None = None
    caps: Annotated[tuple[Cap, ...], Field(max_length=4)] = ()
    fresh: Fresh | None = None
    pins: Annotated[dict[ItemId, Place], Field(max_length=50)] = {}
    places: Place = 100

    @cached_property
    def has_rules(self) -> bool:
        return bool(self.decay or self.mmr or self.caps or self.fresh or self.pins)

    @cached_property
    def categories(self) -> frozenset[str]:
        """Item features whose ids it reads."""
        return frozenset(name for _, name in self._categories())

    @cached_property
    def attributes(self) -> frozenset[str]:
        """Item attributes it reads."""
        return frozenset(name for _, name in self._attributes())

    def names(self) -> Iterator[tuple[Path, str, bool]]:
        """(path within the rules, name, whether it is a category)."""
        yield from ((path, name, True) for path, name in self._categories())
        yield from ((path, name, False) for path, name in self._attributes())

    def _categories(self) -> Iterator[tuple[Path, str]]:
        for key in ("decay", "caps"):
            yield from (((key, i, "by"), rule.by) for i, rule in enumerate(getattr(self, key)))
        if self.mmr is not None and isinstance(self.mmr.by, str):
            yield ("mmr", "by"), self.mmr.by

    def _attributes(self) -> Iterator[tuple[Path, str]]:
        if self.fresh is not None:
            yield ("fresh", "by"), self.fresh.by
        if self.mmr is not None and not isinstance(self.mmr.by, str):
            yield from ((("mmr", "by", i), name) for i, name in enumerate(self.mmr.by))


def disagreements(rerank: Rerank, at: Path) -> Iterator[Finding]:
    """What the rules cannot mean, whatever the model."""

    def error(path: Path, message: str) -> Finding:
        return Finding("error", pointer(*at, *path), message)

    for i, cap in enumerate(rerank.caps):
        if cap.most >= cap.window:
            yield error(
                ("caps", i, "most"),
                f"{cap.most} of {cap.window} places in a row is no cap; most is less than window",
            )
    fresh = rerank.fresh
    if fresh is not None and fresh.least > fresh.first:
        yield error(
            ("fresh", "least"), f"{fresh.least} new items do not fit into {fresh.first} places"
        )
    if fresh is not None and fresh.first > rerank.places:
        yield error(("fresh", "first"), _beyond(fresh.first, rerank))
    taken: dict[int, str] = {}
    for id_, place in rerank.pins.items():
        if place > rerank.places:
            yield error(("pins", id_), _beyond(place, rerank))
        other = taken.setdefault(place, id_)
        if other != id_:
            yield error(("pins", id_), f"place {place} is pinned to {other!r} already")


def _beyond(place: int, rerank: Rerank) -> str:
    return f"the rules hold for the first {rerank.places} places, not for {place}; raise places"


def unknown_names(rerank: Rerank, at: Path, manifest: Manifest) -> Iterator[Finding]:
    """Names that a model does not have as what a rule takes them for."""
    schema = manifest.schema_
    known: dict[bool, Any] = {
        True: schema.item_categories,
        False: [attribute.name for attribute in schema.attributes],
    }
    for path, name, is_category in rerank.names():
        if name not in known[is_category]:
            what = "single-valued categorical item feature" if is_category else "item attribute"
            hint = did_you_mean(name, known[is_category])
            message = f"model {manifest.id} has no {what} {name!r}{hint}"
            yield Finding("error", pointer(*at, *path), message)
