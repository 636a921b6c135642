"""Every value comes from the request, else the store, else nobody."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.contract.features import Categorical, FeatureSchema, Lookup, Numeric
from service.features.resolve import Inline, missing_names, needs_items, needs_user, resolve
from service.features.store import Records

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="user_id", side="user", hash_buckets=10),
        Categorical(name="age", side="user", vocabulary=("young", "old")),
        Numeric(name="hour", side="context", default=0.0),
        Categorical(name="item_id", side="item", hash_buckets=10),
        Numeric(name="price", side="item", default=1.0),
        Lookup(
            name="user_author",
            side="cross",
            source="author_rates",
            source_side="user",
            key="author",
            key_side="item",
            columns=("rate",),
            default=(0.0,),
        ),
    ),
    user_id_feature="user_id",
    item_id_feature="item_id",
)


def no_records(items: int) -> Records:
    return Records(None, [None] * items)


def test_inline_goes_before_the_store_and_null_is_absent() -> None:
    inline = Inline("7", ["a", "b", "c"], {"age": None}, {}, {"price": [5.0, None, None]})
    records = Records({"age": "old"}, [{"price": 9.0}, {"price": 2.0}, None])
    raw = resolve(SCHEMA, inline, records)
    assert raw.user["age"] == "old"
    assert raw.items["price"] == [5.0, 2.0, None]
    assert [raw.is_inline("item", "price", row) for row in range(3)] == [True, False, False]
    assert not raw.is_inline("user", "age", 0)


def test_ids_of_the_request_feed_the_id_features() -> None:
    raw = resolve(SCHEMA, Inline("7", ["a", "b"]), no_records(2))
    assert raw.user["user_id"] == "7"
    assert raw.items["item_id"] == ["a", "b"]


def test_request_without_a_user_id_leaves_it_absent() -> None:
    assert "user_id" not in resolve(SCHEMA, Inline(None, ["a"]), no_records(1)).user


def test_values_given_for_id_features_do_not_replace_the_ids() -> None:
    inline = Inline("7", ["a"], {"user_id": "8"}, {}, {"item_id": ["b"]})
    records = Records({"user_id": "9"}, [{"item_id": "c"}])
    raw = resolve(SCHEMA, inline, records)
    assert (raw.user["user_id"], raw.items["item_id"]) == ("7", ["a"])
    assert raw.unknown == {"user_id": 1, "item_id": 1}


def test_context_feeds_context_features_only() -> None:
    raw = resolve(SCHEMA, Inline("7", ["a"], {}, {"hour": 3, "age": "old"}), no_records(1))
    assert raw.context == {"hour": 3}
    assert "age" not in raw.user
    assert raw.unknown == {"age": 1}


def test_store_says_nothing_about_the_context() -> None:
    raw = resolve(SCHEMA, Inline("7", ["a"]), Records({"hour": 5}, [{"hour": 5}]))
    assert raw.context == {}


def test_unknown_names_of_the_request_are_counted_and_those_of_the_store_are_not() -> None:
    inline = Inline("7", ["a"], {"shoe": 44}, {"moon": 1}, {"colour": ["red"]})
    raw = resolve(SCHEMA, inline, Records({"more": 1}, [{"other": 2}]))
    assert raw.unknown == {"shoe": 1, "moon": 1, "colour": 1}
    assert set(raw.user) == {"user_id"}
    assert "other" not in raw.items


def test_a_context_name_that_experiments_read_is_not_unknown() -> None:
    context = {"hour": 3, "device": "d1", "moon": 1}
    inline = Inline("7", ["a"], {"device": "d1"}, context, units=frozenset({"device", "hour"}))
    raw = resolve(SCHEMA, inline, no_records(1))
    assert raw.context == {"hour": 3}
    assert raw.unknown == {"device": 1, "moon": 1}  # the user's device is read by nothing


def test_a_user_name_that_experiments_read_is_not_unknown() -> None:
    inline = Inline("7", ["a"], {"is_new": 1, "moon": 1}, user_units=frozenset({"is_new"}))
    assert resolve(SCHEMA, inline, no_records(1)).unknown == {"moon": 1}


def test_what_is_looked_up_cannot_be_given() -> None:
    assert SCHEMA.given_names["item"] == {"price", "author"}
    assert SCHEMA.given_names["user"] == {"age", "author_rates"}
    raw = resolve(SCHEMA, Inline("7", ["a"], {}, {}, {"user_author": [0.5]}), no_records(1))
    assert raw.unknown == {"user_author": 1}


def test_maps_and_keys_of_lookups_are_raw_values() -> None:
    inline = Inline("7", ["a"], {"author_rates": {"x": [0.1]}}, {}, {"author": ["x"]})
    raw = resolve(SCHEMA, inline, no_records(1))
    assert raw.user["author_rates"] == {"x": [0.1]}
    assert raw.items["author"] == ["x"]


def test_store_is_needed_for_any_value_that_is_absent() -> None:
    user = {"age": "old", "author_rates": {}}
    items: dict[str, Any] = {"price": [1.0, 2.0], "author": ["x", "y"]}
    ids = ["a", "b"]
    assert not needs_user(SCHEMA, Inline("7", ids, user, {}, items))
    assert needs_user(SCHEMA, Inline("7", ids, {"age": "old"}, {}, items))
    assert not needs_user(SCHEMA, Inline(None, ids, {}, {}, items))
    assert not needs_items(SCHEMA, Inline("7", ids, {}, {}, items))
    assert needs_items(SCHEMA, Inline("7", ids, user, {}, items | {"price": [1.0, None]}))
    assert not needs_items(SCHEMA, Inline("7", ids, user, {}, items | {"price": [0.0, 0]}))
    assert needs_items(SCHEMA, Inline("7", ids, user, {}, items | {"price": [0.0, None]}))
    assert needs_items(SCHEMA, Inline("7", ids, user, {}, {"price": [1.0, 2.0]}))
    assert not needs_items(SCHEMA, Inline("7", []))


def test_missing_names_are_those_nobody_has() -> None:
    inline = Inline("7", ["a", "b"], {}, {}, {"price": [1.0, None]})
    raw = resolve(SCHEMA, inline, Records({"age": "old"}, [None, {"author": "x"}]))
    assert missing_names(SCHEMA, raw) == (["author_rates", "hour"], [["author"], ["price"]])


VALUES = st.none() | st.integers(0, 9)


@given(st.lists(st.tuples(VALUES, VALUES), max_size=12))
def test_merging_is_first_that_is_not_null(pairs: list[tuple[int | None, int | None]]) -> None:
    inline = Inline(
        "7", [str(n) for n in range(len(pairs))], columns={"price": [p[0] for p in pairs]}
    )
    records = Records(None, [None if p[1] is None else {"price": p[1]} for p in pairs])
    raw = resolve(SCHEMA, inline, records)
    expected = [a if a is not None else b for a, b in pairs]
    assert list(raw.values("item", "price")) == expected
