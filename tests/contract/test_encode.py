"""Encoding: what each raw value becomes, what is counted, what is refused."""

import hashlib
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.encode import (
    Counts,
    encode_request,
    encode_rows,
    encode_side,
    look_up,
    numbers,
)
from service.contract.errors import EncodeError
from service.contract.features import Lookup
from tests.contract.schemas import FULL

USER = {
    "user_id": "712",
    "city": "Ghent",
    "recent": ["c", "zz", "a", "b"],
    "age": 41,
    "user_tab": {"1": [3, 0.5]},
    "user_author": {"9": [0.9]},
    "user_tag": {"x": [0.2], "y": [0.6]},
}
ITEMS: dict[str, list[Any]] = {
    "video_id": ["b", "nope"],
    "tags": [["y", "x"], None],
    "videolen_s": [12.5, None],
    "author": [9, "10"],
    "video_tab": [{"1": [0.7]}, {"0": [0.1]}],
}


def hashed(text: str, buckets: int) -> int:
    return 1 + int(hashlib.sha256(text.encode()).hexdigest()[:16], 16) % buckets


def test_request_becomes_the_documented_arrays() -> None:
    counts = Counts()
    blocks = encode_request(FULL, USER, {"tab": 1}, ITEMS, 2, counts)
    assert blocks["user_ids"].tolist() == [[1, hashed("Ghent", 50), 3, 0, 1]]
    assert blocks["user_values"].tolist() == [[41.0]]
    assert blocks["context_ids"].tolist() == [[2]]
    assert blocks["context_values"].tolist() == [[3.0, 0.5]]
    assert blocks["item_ids"].tolist() == [[2, 2, 1], [0, 0, 0]]
    assert blocks["item_values"].tolist() == [[12.5], [10.0]]
    expected = np.array([[0.9, 0.4, 0.7], [0.4, 0.4, 0.4]], np.float32)
    np.testing.assert_array_equal(blocks["cross_values"], expected)
    assert counts.defaulted == {"tags": 1, "videolen_s": 1}
    assert counts.out_of_vocabulary == {"recent": 1, "video_id": 1}
    assert counts.unknown == {}
    for name, (_, dtype, width) in FULL.inputs.items():
        assert blocks[name].dtype == dtype
        assert blocks[name].shape[1] == width
        assert blocks[name].flags.c_contiguous


def test_nothing_given_is_all_defaults_and_all_counted() -> None:
    counts = Counts()
    blocks = encode_request(FULL, {}, {}, {}, 3, counts)
    assert blocks["user_ids"].tolist() == [[0, hashed("nowhere", 50), 0, 0, 0]]
    assert blocks["context_ids"].tolist() == [[2]]
    assert blocks["context_values"].tolist() == [[0.0, np.float32(0.4)]]
    assert blocks["item_values"].tolist() == [[10.0]] * 3
    assert counts.defaulted == dict.fromkeys(
        ("user_id", "city", "recent", "age", "tab"), 1
    ) | dict.fromkeys(("video_id", "tags", "videolen_s"), 3)


def test_unknown_names_are_ignored_and_counted() -> None:
    counts = Counts()
    with_extra = encode_request(FULL, USER | {"shoe": 4}, {"tab": 1}, ITEMS, 2, counts)
    without = encode_request(FULL, USER, {"tab": 1}, ITEMS, 2)
    assert counts.unknown == {"shoe": 1}
    for name, block in without.items():
        np.testing.assert_array_equal(with_extra[name], block)


@given(st.integers(-(10**30), 10**30))
def test_an_integer_is_its_decimal_text(value: int) -> None:
    as_int = encode_side(FULL, "user", {"city": [value]}, 1)["user_ids"]
    as_text = encode_side(FULL, "user", {"city": [str(value)]}, 1)["user_ids"]
    np.testing.assert_array_equal(as_int, as_text)


@pytest.mark.parametrize("value", [1.0, True, ["a"], {"a": 1}, float("nan")])
def test_other_values_are_no_category(value: object) -> None:
    with pytest.raises(
        EncodeError, match=r"feature 'tab', row 0: .* is neither a string nor an integer"
    ):
        encode_side(FULL, "context", {"tab": [value]}, 1)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("12", "'12' is not a number"),
        (True, "True is not a number"),
        ([1], r"\[1\] is not a number"),
        (math.inf, "inf is not finite, or too large for float32"),
        (math.nan, "nan is not finite, or too large for float32"),
        (1e39, "1e\\+39 is not finite, or too large for float32"),
        (10**400, "is too large for float32"),
    ],
)
def test_bad_number_is_refused_with_feature_row_and_value(value: object, said: str) -> None:
    with pytest.raises(EncodeError, match=said) as caught:
        encode_side(FULL, "item", {"videolen_s": [1.0, value]}, 2)
    assert (caught.value.feature, caught.value.row) == ("videolen_s", 1)


def test_null_in_a_list_is_absent_and_takes_no_place() -> None:
    whole = encode_side(FULL, "item", {**ITEMS, "tags": [["y", "x"], []]}, 2)
    with_null = encode_side(FULL, "item", {**ITEMS, "tags": [[None, "y", None, "x"], [None]]}, 2)
    assert with_null["item_ids"].tolist() == whole["item_ids"].tolist()


def test_a_list_is_needed_for_a_multi_valued_feature() -> None:
    with pytest.raises(EncodeError, match="feature 'tags', row 0: 'x,y' is not a list of strings"):
        encode_side(FULL, "item", {"tags": ["x,y"]}, 1)


def test_a_column_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="feature 'videolen_s' has 1 values for 2 rows"):
        encode_side(FULL, "item", {"videolen_s": [1.0]}, 2)


def test_nan_in_a_float_array_is_absent() -> None:
    counts = Counts()
    assert numbers("age", np.array([1.0, np.nan]), 7.0, 2, counts).tolist() == [1.0, 7.0]
    assert counts.defaulted == {"age": 1}


def test_lookup_by_a_list_takes_the_mean_of_what_is_found() -> None:
    rates = FULL.by_name["user_tag_rates"]
    assert isinstance(rates, Lookup)
    maps = [{"x": [0.2], "y": [0.6]}]
    found = look_up(rates, maps, [["x", "y"], ["x", "q"], [None, "x"], ["q"], [], None], 6)
    np.testing.assert_allclose(found[:, 0], [0.4, 0.2, 0.2, 0.4, 0.4, 0.4], rtol=1e-7)


@pytest.mark.parametrize("entry", [[1.0, 2.0], ["a"], "a", [float("nan")], [None], {}])
def test_a_garbled_map_entry_is_refused(entry: object) -> None:
    rates = FULL.by_name["user_author_rates"]
    assert isinstance(rates, Lookup)
    with pytest.raises(
        EncodeError, match=r"feature 'user_author', row 0: .* is not a list of 1 finite numbers"
    ):
        look_up(rates, [{"9": entry}], ["9"], 1)


def test_a_map_must_be_a_map() -> None:
    rates = FULL.by_name["user_author_rates"]
    assert isinstance(rates, Lookup)
    with pytest.raises(EncodeError, match="is not a map of key to numbers"):
        look_up(rates, ["9"], ["9"], 1)


def test_a_row_encodes_the_same_alone_in_a_request_and_in_a_log() -> None:
    """Training's joined lookups and serving's maps give the same arrays."""
    request = encode_request(FULL, USER, {"tab": "1"}, ITEMS, 2)
    log = encode_rows(
        FULL,
        {
            "user": {n: [USER[n]] * 2 for n in ("user_id", "city", "recent", "age")},
            "context": {"tab": ["1", "1"], "user_tab_rates": np.array([[3, 0.5]] * 2)},
            "item": {n: ITEMS[n] for n in ("video_id", "tags", "videolen_s")},
            "cross": {
                "user_author_rates": np.array([[0.9], [np.nan]]),
                "user_tag_rates": [[0.4], None],
                "video_tab_rates": np.array([[0.7], [0.4]]),
            },
        },
        2,
    )
    for name, (side, _, _) in FULL.inputs.items():
        wide = request[name] if side in ("item", "cross") else np.repeat(request[name], 2, axis=0)
        np.testing.assert_array_equal(log[name], wide)


def test_a_missing_category_with_a_default_differs_from_an_unknown_one() -> None:
    ids = encode_side(FULL, "context", {"tab": [None, "9", "0"]}, 3)["context_ids"]
    assert ids.tolist() == [[2], [0], [1]]
