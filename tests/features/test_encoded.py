"""One request encodes to the blocks of the model; the store's mistakes stay the store's."""

from typing import Any

import numpy as np
import pytest

from service.contract.encode import encode_request
from service.contract.features import Attribute, Categorical, FeatureSchema, Lookup, Numeric
from service.features.encoded import Encoded, encode
from service.features.errors import InlineError
from service.features.resolve import Inline, resolve
from service.features.store import Record, Records

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="age", side="user", vocabulary=("young", "old"), default="old"),
        Numeric(name="hour", side="context", default=12.0),
        Categorical(name="item_id", side="item", vocabulary=("a", "b", "c")),
        Numeric(name="price", side="item", default=7.0),
        Lookup(
            name="pair",
            side="cross",
            source="rates",
            source_side="user",
            key="author",
            key_side="item",
            columns=("rate",),
            default=(0.5,),
        ),
    ),
    attributes=(
        Attribute(name="price", default=8.0, min=0.0, max=99.0),
        Attribute(name="weight", default=2.0, min=0.0, max=9.0),
    ),
    item_id_feature="item_id",
)


def encoded(
    ids: str,
    *,
    stored_user: Record | None = None,
    items: list[Record | None] | None = None,
    **inline: Any,
) -> Encoded:
    records = Records(stored_user, items or [None] * len(ids))
    return encode(SCHEMA, resolve(SCHEMA, Inline("7", list(ids), **inline), records))


def test_blocks_are_those_of_the_contract() -> None:
    found = encoded("ab", context={"hour": 3}, columns={"price": [1.5, 2.5]})
    expected = encode_request(
        SCHEMA, {}, {"hour": 3}, {"item_id": ["a", "b"], "price": [1.5, 2.5]}, 2
    )
    assert found.blocks.keys() == expected.keys()
    for name, block in expected.items():
        np.testing.assert_array_equal(found.blocks[name], block)


def test_user_and_context_have_one_row_and_items_one_each() -> None:
    shapes = {name: block.shape for name, block in encoded("abc").blocks.items()}
    assert shapes == {
        "user_ids": (1, 1),
        "context_values": (1, 1),
        "item_ids": (3, 1),
        "item_values": (3, 1),
        "cross_values": (3, 1),
    }


def test_attributes_keep_their_digits_and_take_their_own_default() -> None:
    found = encoded("ab", columns={"price": [49.9, None], "weight": [0.1, 3]})
    assert found.attributes["price"].tolist() == [49.9, 8.0]
    assert found.attributes["weight"].tolist() == [0.1, 3.0]
    assert found.blocks["item_values"][:, 0].tolist() == [np.float32(49.9), 7.0]


def test_absent_values_are_counted_once_each() -> None:
    counts = encoded("ab", columns={"price": [1.0, None]}).counts
    assert counts.defaulted == {"age": 1, "hour": 1, "price": 1, "weight": 2}


def test_bad_stored_values_become_defaults_of_their_own_place() -> None:
    items: list[Record | None] = [{"price": "9"}, {"price": 3.0, "weight": []}, {"price": True}]
    found = encoded("abc", stored_user={"age": 1.5}, items=items)
    assert found.attributes["price"].tolist() == [8.0, 3.0, 8.0]
    assert found.attributes["weight"].tolist() == [2.0, 2.0, 2.0]
    assert found.blocks["user_ids"].tolist() == [[2]]
    assert found.bad_features == 4
    assert found.counts.defaulted == {"age": 1, "hour": 1, "price": 2, "weight": 3}


def test_bad_entry_of_a_stored_map_takes_away_that_entry_only() -> None:
    rates = {"x": [0.9], "y": "oops"}
    items: list[Record | None] = [{"author": "x"}, {"author": "y"}, {"author": "z"}]
    found = encoded("abc", stored_user={"rates": rates}, items=items)
    assert found.blocks["cross_values"][:, 0].tolist() == [np.float32(0.9), 0.5, 0.5]
    assert found.bad_features == 1


def test_bad_stored_key_is_nobodys_key() -> None:
    items: list[Record | None] = [{"author": "x"}, {"author": 1.5}]
    found = encoded("ab", stored_user={"rates": {"x": [0.9]}}, items=items)
    assert found.blocks["cross_values"][:, 0].tolist() == [np.float32(0.9), 0.5]
    assert found.bad_features == 1


def test_good_candidate_does_not_notice_a_bad_one() -> None:
    good: Record = {"price": 3.0, "author": "x"}
    user = {"rates": {"x": [0.9], "y": [1, 2]}}
    alone = encoded("a", stored_user=user, items=[good])
    beside = encoded("ab", stored_user=user, items=[good, {"price": "bad", "author": "y"}])
    for name in ("item_ids", "item_values", "cross_values"):
        np.testing.assert_array_equal(alone.blocks[name][0], beside.blocks[name][0])


def test_two_thousand_bad_values_are_all_set_aside() -> None:
    ids = "a" * 2000
    found = encoded(ids, items=[{"price": "9"}] * 2000)
    assert found.bad_features == 2000
    assert set(found.attributes["price"]) == {8.0}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"columns": {"price": [1.0, "9"]}}, "feature 'price', row 1: '9' is not a number"),
        ({"columns": {"weight": [None, 1e39]}},
         "feature 'weight', row 1: 1e+39 is not finite, or too large for float32"),
        ({"user": {"age": 1.5}},
         "feature 'age', row 0: 1.5 is neither a string nor an integer"),
        ({"context": {"hour": None}, "user": {"rates": 3}, "columns": {"author": ["x", "y"]}},
         "feature 'rates', row 0: 3 is not a map of key to numbers"),
        ({"user": {"rates": {"y": [0.1, 0.2]}}, "columns": {"author": ["x", "y"]}},
         "feature 'rates', row 0: [0.1, 0.2] is not a list of 1 finite numbers"),
    ],
)  # fmt: skip
def test_bad_inline_value_is_refused(given: Any, sentence: str) -> None:
    with pytest.raises(InlineError) as caught:
        encoded("ab", **given)
    assert str(caught.value) == sentence


def test_bad_inline_value_is_found_beside_bad_stored_ones() -> None:
    items: list[Record | None] = [{"price": "stored"}, None, {"price": "stored"}]
    with pytest.raises(InlineError, match="row 1: 'inline'") as caught:
        encoded("abc", items=items, columns={"price": [None, "inline", None]})
    assert (caught.value.side, caught.value.row) == ("item", 1)
