import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.json_body import parse, require_sane_numbers
from service.errors import InvalidRequest, MalformedJson


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_a_number_json_does_not_have_is_refused_with_its_pointer(number):
    body = b'{"user": {"features": {"a": [1, {"b": %s}]}}}' % number.encode()
    with pytest.raises(MalformedJson, match="numbers are finite") as refusal:
        parse(body)
    assert refusal.value.faults[0].pointer == "/user/features/a/1/b"


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" + "0" * 400, "1" + "0" * 9000])
def test_a_number_beyond_a_double_is_refused_with_its_pointer(number):
    with pytest.raises(MalformedJson, match="beyond what a double can hold") as refusal:
        parse(b'{"candidates": {"ids": ["1"], "features": {"x": [%s]}}}' % number.encode())
    assert refusal.value.faults[0].pointer == "/candidates/features/x/0"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "the body is not JSON"),
        (b"{", "the body is not JSON"),
        (b'{"a": 1,}', "line 1 column 8"),
        (b'{"a":\n tru}', "line 2 column"),
        (b'"\xff"', "UTF-8"),
        (b'"\\ud800"', "surrogate"),
        (b"\xef\xbb\xbf{}", "byte order mark"),
        (b"{} {}", "unexpected content after document"),
        (b"[" * 5000, "depth limit exceeded"),
        (b'{"a": -}', "the body is not JSON"),
    ],
)
def test_what_is_no_json_is_refused_with_its_place(body, words):
    with pytest.raises(MalformedJson, match=words) as refusal:
        parse(body)
    assert refusal.value.faults[0].more["line"] >= 1


def test_the_last_duplicate_key_wins():
    assert parse(b'{"a": 1, "a": 2}') == {"a": 2}


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (1e31, ""),
        ([1, None, "x", True, -2e30], "/4"),
        ([10**40], "/0"),
        ({"map": {"k": [0.5, 1e300]}}, "/map/k/1"),
        ([[1e31]], "/0/0"),
    ],
)
def test_an_absurdly_large_number_is_refused_wherever_it_stands(value, place):
    with pytest.raises(InvalidRequest, match="is absurdly large: numbers lie within") as refusal:
        require_sane_numbers(value, "at")
    assert refusal.value.faults[0].pointer == "/at" + place


BORDER = [sign * math.nextafter(1e30, to) for sign in (1, -1) for to in (0.0, math.inf)]
plain = st.one_of(
    st.floats(-1e31, 1e31),
    st.sampled_from([*BORDER, 1e30, -1e30, 10**30, 10**30 + 1]),
    st.integers(-(2**63), 2**63),
    st.none() | st.booleans() | st.text(),
)


@given(st.lists(plain, max_size=8) | st.lists(st.sampled_from([*BORDER, 1e30]), max_size=8))
def test_a_column_is_refused_at_its_first_number_beyond_the_limit(column):
    large = [
        row for row, v in enumerate(column) if type(v) in (int, float) and not -1e30 <= v <= 1e30
    ]
    if not large:
        require_sane_numbers(column, "x")
        return
    with pytest.raises(InvalidRequest, match="is absurdly large") as refusal:
        require_sane_numbers(column, "x")
    assert refusal.value.faults[0].pointer == f"/x/{large[0]}"


def test_a_value_nested_too_deep_is_refused_without_recursion():
    value: object = 1
    for _ in range(1000):
        value = [value]
    with pytest.raises(InvalidRequest, match="is nested deeper than 16 levels"):
        require_sane_numbers(value, "user")


json_values = st.recursive(
    st.none() | st.booleans() | st.floats(-1e29, 1e29) | st.text() | st.integers(-(2**63), 2**63),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(json_values)
def test_ordinary_json_passes_unchanged(value):
    document = parse(json.dumps(value).encode())
    require_sane_numbers(document)
    assert document == value
