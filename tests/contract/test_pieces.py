"""Reading in pieces gives what reading at once gives, and refuses what it refuses."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contract.pieces import read_pieces

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


def as_is(index: int, element: Any) -> Any:
    return element


@given(
    VALUES | st.fixed_dictionaries({"a": VALUES | st.fixed_dictionaries({"b": VALUES})}),
    st.sampled_from([None, 1]),
)
def test_any_document_is_read_as_the_standard_parser_does(document: Any, indent: int | None):
    text = json.dumps(document, indent=indent)
    assert read_pieces(text, ("a", "b"), as_is) == json.loads(text)


def test_elements_of_the_large_array_are_read_one_by_one():
    text = '{"x": [9], "a": {"b" : [ 1 , "]}" , [2]], "c": []}}'
    found = read_pieces(text, ("a", "b"), lambda index, element: (index, element))
    assert found == {"x": [9], "a": {"b": [(0, 1), (1, "]}"), (2, [2])], "c": []}}


@pytest.mark.parametrize(
    "text",
    ["", "{", '{"a"', '{"a" 1}', '{"a": 1', '{"a": 1,}', '{"a": {"b": [1}}', "{1: 2}", "{} x",
     '{"a": {"b": [1,]}}', '{"a": {"b": [1 2]}}', '{"a": NaN}', '{"a": {"b": [-Infinity]}}'],
)  # fmt: skip
def test_what_is_no_json_is_refused(text: str):
    with pytest.raises(ValueError, match=r".+"):
        read_pieces(text, ("a", "b"), as_is)
