"""Which values are refused: the same ones that encoding them one by one refuses."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.encode import encode_side
from service.contract.errors import EncodeError
from service.contract.features import (
    Attribute,
    Categorical,
    FeatureSchema,
    Lookup,
    MultiValued,
    Numeric,
    Sequence,
)
from service.features.refused import refused_values

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="brand", side="item", vocabulary=("a", "b")),
        Categorical(name="maker", side="item", shares="brand"),
        MultiValued(name="tags", side="item", max_length=2, hash_buckets=4),
        Sequence(name="seen", side="item", max_length=2, shares="brand"),
        Numeric(name="price", side="item", default=1.0),
        Lookup(
            name="pair",
            side="cross",
            source="rates",
            source_side="user",
            key="author",
            key_side="item",
            columns=("shown", "rate"),
            default=(0.0, 0.1),
        ),
    ),
    attributes=(Attribute(name="weight", default=1.0, min=0.0, max=9.0),),
)

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-9, 9),
    st.just(10**400),
    st.floats(),
    st.text(max_size=3),
    st.lists(st.one_of(st.text(max_size=2), st.integers(), st.floats()), max_size=3),
    st.dictionaries(st.text(max_size=1), st.integers(), max_size=1),
)


@pytest.mark.parametrize("name", ["brand", "maker", "tags", "seen", "price"])
@given(values=st.lists(ANYTHING, max_size=20))
def test_refused_are_those_that_encoding_one_by_one_refuses(name: str, values: list[Any]) -> None:
    expected = []
    for row, value in enumerate(values):
        try:
            encode_side(SCHEMA, "item", {name: [value]}, 1)
        except EncodeError:
            expected.append(row)
    found = refused_values(SCHEMA, "item", name, values)
    assert list(found) == expected
    assert all(refusal.instead is None for refusal in found.values())


def test_attribute_is_checked_as_a_number() -> None:
    found = refused_values(SCHEMA, "item", "weight", [1, "2", None, float("inf"), True])
    assert list(found) == [1, 3, 4]
    assert found[1].cause.rule == "is not a number"


def test_key_of_a_lookup_is_checked_as_a_key() -> None:
    found = refused_values(SCHEMA, "item", "author", ["x", 3, 1.5, None, ["x", "y"], [1.5]])
    assert list(found) == [2, 5]


def test_map_keeps_its_good_entries() -> None:
    rates = {"x": [1, 0.5], "y": [1], "z": "no", "w": None}
    found = refused_values(SCHEMA, "user", "rates", [rates])
    assert found[0].instead == {"x": [1, 0.5], "w": None}
    assert found[0].count == 2
    assert found[0].cause.rule == "is not a list of 2 finite numbers"


def test_what_is_no_map_is_taken_away() -> None:
    found = refused_values(SCHEMA, "user", "rates", [[1, 2]])
    assert (found[0].instead, found[0].count) == (None, 1)
    assert found[0].cause.rule == "is not a map of key to numbers"


def test_absent_values_are_never_refused() -> None:
    for name in ("brand", "tags", "price", "weight", "author"):
        assert refused_values(SCHEMA, "item", name, [None] * 5) == {}
    assert refused_values(SCHEMA, "user", "rates", [None]) == {}
