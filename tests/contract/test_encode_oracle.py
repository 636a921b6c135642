"""Encoding whole columns gives, counts and refuses what encoding value by value does."""

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from service.contract.encode import Column, Counts, encode_request, encode_side, look_up, numbers
from service.contract.errors import EncodeError
from service.contract.features import Categorical, FeatureSchema, Lookup
from tests.contract import slow_encode
from tests.contract.schemas import FULL

ROWS = 5

words = st.sampled_from(["a", "b", "c", "x", "y", "0", "1", "712", "zz", ""])
oddities: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.floats(),
    st.integers(-3, 10**40),
    st.sampled_from([10**400, 1e39, np.int64(1), np.float32(2.5), np.str_("a"), np.True_]),
    st.lists(words, max_size=2),
    st.dictionaries(words, words, max_size=1),
)
# mostly what a feature takes: a column with an oddity in every row shows only the first refusal
categories = st.one_of(words, words, st.none(), st.integers(-2, 3), words, oddities)
lists = st.one_of(
    st.none(),
    st.lists(words, max_size=5),
    st.lists(words, max_size=5).map(tuple),
    st.lists(st.one_of(words, st.none(), st.integers(0, 3)), max_size=5),
    st.lists(categories, max_size=4),
    oddities,
)
plain_numbers = st.one_of(st.floats(-1e9, 1e9), st.integers(-9, 9), st.none())
any_number = st.one_of(plain_numbers, plain_numbers, oddities)
rates = st.lists(st.floats(-1, 1), min_size=1, max_size=1)
entries = st.one_of(rates, rates, rates, st.none(), st.lists(any_number, max_size=2), oddities)


def columns(values: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any] | None]:
    return st.one_of(st.none(), st.lists(values, min_size=ROWS, max_size=ROWS))


def said(encode: Callable[[Counts], Any]) -> tuple[Any, ...]:
    """What an encoding gives and counts, or how it refuses."""
    counts = Counts()
    try:
        found = encode(counts)
    except EncodeError as err:
        return ("refused", err.feature, err.row, repr(err.value), err.rule)
    return ("encoded", found, counts)


def same(fast: tuple[Any, ...], slow: tuple[Any, ...]) -> None:
    assert fast[0] == slow[0], f"{fast} is not {slow}"
    if fast[0] == "refused":
        assert fast == slow
        return
    assert fast[2] == slow[2]
    fast_arrays, slow_arrays = (
        found if isinstance(found, dict) else {"": found} for found in (fast[1], slow[1])
    )
    assert fast_arrays.keys() == slow_arrays.keys()
    for name, array in slow_arrays.items():
        assert fast_arrays[name].dtype == array.dtype
        assert fast_arrays[name].flags.c_contiguous
        np.testing.assert_array_equal(fast_arrays[name], array)


@settings(max_examples=300)
@given(columns(categories), columns(lists), columns(any_number))
def test_item_columns(
    video_id: list[Any] | None, tags: list[Any] | None, length: list[Any] | None
) -> None:
    given_columns = {"video_id": video_id, "tags": tags, "videolen_s": length}
    raw: dict[str, Column] = {n: c for n, c in given_columns.items() if c is not None}
    same(
        said(lambda counts: encode_side(FULL, "item", raw, ROWS, counts)),
        said(lambda counts: slow_encode.encode_side(FULL, "item", raw, ROWS, counts)),
    )


SEVERAL = FeatureSchema(
    features=(
        Categorical(name="short", side="item", vocabulary=("a", "b", "0", "12345678", "")),
        Categorical(name="same", side="item", shares="short", default="b"),
        Categorical(name="other", side="item", vocabulary=("b", "a", "712"), default="zz"),
        Categorical(name="long", side="item", vocabulary=("a", "123456789")),
        Categorical(name="hashed", side="item", hash_buckets=7),
    )
)
strings = st.one_of(words, words, st.text(max_size=3), st.sampled_from(["12345678", "123456789"]))
nearly_strings = st.one_of(strings, strings, strings, strings, categories, st.just("a\0b"))
string_columns = st.one_of(
    columns(strings),
    columns(strings),
    columns(strings).map(lambda column: column and np.array(column, object)),
    columns(strings).map(lambda column: column and np.array(column)),
    columns(nearly_strings),
)


@settings(max_examples=300)
@given(st.fixed_dictionaries({feature.name: string_columns for feature in SEVERAL}))
def test_several_columns_of_strings(given_columns: dict[str, Column | None]) -> None:
    raw: dict[str, Column] = {n: c for n, c in given_columns.items() if c is not None}
    same(
        said(lambda counts: encode_side(SEVERAL, "item", raw, ROWS, counts)),
        said(lambda counts: slow_encode.encode_side(SEVERAL, "item", raw, ROWS, counts)),
    )


@settings(max_examples=300)
@given(
    st.fixed_dictionaries(
        {}, optional={"user_id": categories, "city": categories, "recent": lists, "age": any_number}
    ),
    st.fixed_dictionaries({}, optional={"tab": categories}),
)
def test_one_user_in_one_context(user: dict[str, Any], context: dict[str, Any]) -> None:
    same(
        said(lambda counts: encode_request(FULL, user, context, {}, ROWS, counts)),
        said(lambda counts: slow_encode.encode_request(FULL, user, context, {}, ROWS, counts)),
    )


@settings(max_examples=200)
@given(columns(categories), columns(lists))
def test_hashed_columns(cities: list[Any] | None, recent: list[Any] | None) -> None:
    """Several users at once, as in a log."""
    raw: dict[str, Column] = {
        n: c for n, c in {"city": cities, "recent": recent}.items() if c is not None
    }
    same(
        said(lambda counts: encode_side(FULL, "user", raw, ROWS, counts)),
        said(lambda counts: slow_encode.encode_side(FULL, "user", raw, ROWS, counts)),
    )


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    """A map in which several keys share an entry, as records read once do."""
    pool = draw(st.lists(entries, min_size=1, max_size=4))
    return {key: draw(st.sampled_from(pool)) for key in draw(st.sets(words))}


maps = st.one_of(tables(), tables(), tables(), st.none(), oddities)
keys = st.one_of(words, words, st.none(), st.integers(0, 1), lists)


@settings(max_examples=500)
@given(
    st.one_of(
        st.tuples(
            st.lists(maps, min_size=1, max_size=1),
            st.one_of(
                st.lists(words, min_size=ROWS, max_size=ROWS),
                st.lists(st.lists(words, max_size=3), min_size=ROWS, max_size=ROWS),
                st.lists(keys, min_size=ROWS, max_size=ROWS),
            ),
        ),
        st.tuples(
            st.lists(maps, min_size=ROWS, max_size=ROWS), st.lists(keys, min_size=1, max_size=1)
        ),
        st.tuples(
            st.lists(tables(), min_size=ROWS, max_size=ROWS),
            st.lists(words, min_size=ROWS, max_size=ROWS),
        ),
    )
)
def test_lookups(pair: tuple[list[Any], list[Any]]) -> None:
    feature = FULL.by_name["user_tag_rates"]
    assert isinstance(feature, Lookup)
    same(
        said(lambda _: look_up(feature, *pair, ROWS)),
        said(lambda _: slow_encode.look_up(feature, *pair, ROWS)),
    )


@given(st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=12, max_size=12))
def test_a_mean_of_many_is_rounded_as_a_sum_in_order(found: list[list[float]]) -> None:
    feature = Lookup(
        name="wide",
        side="cross",
        source="user_tag",
        source_side="user",
        key="tags",
        key_side="item",
        columns=("a", "b", "c"),
        default=(0.0, 0.0, 0.0),
    )
    table = {str(n): entry for n, entry in enumerate(found)}
    listed = [list(table), list(table)[:7], []]
    np.testing.assert_array_equal(
        look_up(feature, [table], listed, 3), slow_encode.look_up(feature, [table], listed, 3)
    )


@settings(max_examples=200)
@given(
    st.one_of(
        st.lists(any_number, max_size=8),
        st.lists(st.floats(width=32), max_size=8).map(np.array),
        st.lists(st.integers(-9, 9), max_size=8).map(np.array),
        st.lists(plain_numbers, max_size=8).map(lambda v: np.array(v, object)),
    )
)
def test_numbers(column: Column) -> None:
    same(
        said(lambda counts: numbers("age", column, 7.0, len(column), counts)),
        said(lambda counts: slow_encode.numbers("age", column, 7.0, len(column), counts)),
    )
