import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.decoding import decode_rank
from service.api.messages import Form
from service.errors import InvalidRequest


def decode(document, most=2000):
    return decode_rank(json.dumps(document).encode(), most)


def refused(document, most=2000):
    with pytest.raises(InvalidRequest) as refusal:
        decode(document, most)
    return refusal.value.faults[0].pointer, refusal.value.detail


COLUMNS = {
    "scene": "feed",
    "user": {"id": "7", "features": {"age": "24-30"}},
    "candidates": {"ids": ["a", "b"], "features": {"x": [1.5, None], "t": [["u"], []]}},
}
ROWS = {
    "scene": "feed",
    "user": {"id": "7", "features": {"age": "24-30"}},
    "items": [{"id": "a", "features": {"x": 1.5, "t": ["u"]}}, {"id": "b", "features": {"t": []}}],
}


def test_both_forms_mean_the_same():
    columns, rows = decode(COLUMNS), decode(ROWS)
    assert (columns.form, rows.form) == (Form.COLUMNS, Form.ROWS)
    assert columns.ids == rows.ids == ["a", "b"]
    assert columns.columns == rows.columns == {"x": [1.5, None], "t": [["u"], []]}


def test_a_candidate_value_is_pointed_at_in_the_form_it_came_in():
    assert decode(COLUMNS).place_of("a/b", 1) == "/candidates/features/a~1b/1"
    assert decode(ROWS).place_of("x", 1) == "/items/1/features/x"


def test_empty_candidates_are_a_request():
    assert decode({"candidates": {"ids": []}}).ids == []
    assert decode({"items": []}).ids == []


def test_null_is_absent():
    body = decode({"scene": None, "user": None, "limit": None, "items": [{"id": "a"}]})
    assert (body.request.scene, body.request.user, body.request.limit) == (None, None, None)


@pytest.mark.parametrize(
    ("document", "pointer", "words"),
    [
        ([], "", "the body must be a JSON object, not a list"),
        ({"scene": "feed"}, "", "give the candidates, as candidates (columns) or as items (rows)"),
        (COLUMNS | ROWS, "/candidates", "not both"),
        (ROWS | {"limt": 3}, "/limt", "unknown key 'limt' (did you mean 'limit'?)"),
        (ROWS | {"zzz": 3}, "/zzz", "unknown key 'zzz' (known: request_id, scene, user,"),
        (
            {"items": [], "user": {"uid": "1"}},
            "/user/uid",
            "unknown key 'uid' (did you mean 'id'?)",
        ),
        ({"items": [{"id": "a", "feature": {}}]}, "/items/0/feature", "did you mean 'features'?"),
        ({"candidates": {"ids": [], "x": []}}, "/candidates/x", "(known: ids, features)"),
        ({"items": [], "user": {"id": 7}}, "/user/id", "must be a string, not an integer"),
        ({"candidates": {"ids": ["a", 5239]}}, "/candidates/ids/1", "must be a string"),
        ({"items": [{"id": "a"}, {"id": 5}]}, "/items/1/id", "must be a string, not an integer"),
        ({"items": [{"features": {}}]}, "/items/0/id", "'id' is missing"),
        ({"items": [{"id": ""}]}, "/items/0/id", "must not be empty"),
        (
            {"items": [{"id": "x" * 257}]},
            "/items/0/id",
            "must have at most 256 characters, not 257",
        ),
        ({"items": ["a"]}, "/items/0", "must be an object, not a string"),
        ({"items": {}}, "/items", "must be a list, not an object"),
        ({"candidates": []}, "/candidates", "must be an object, not a list"),
        ({"candidates": {}}, "/candidates/ids", "'ids' is missing"),
        ({"items": [], "limit": 0}, "/limit", "must be greater than or equal to 1, not 0"),
        ({"items": [], "bucket": 10_000}, "/bucket", "must be less than 10000, not 10000"),
        ({"items": [], "bucket": "x"}, "/bucket", "must be an integer or an object, not a string"),
        ({"items": [], "limit": 1.0}, "/limit", "must be an integer, not a number"),
        ({"items": [], "limit": "5"}, "/limit", "must be an integer, not a string"),
        (
            {"items": [], "explain": 1},
            "/explain",
            "must be true or false or an object, not an integer",
        ),
        ({"items": [], "heads": "no"}, "/heads", "must be true or false, not a string"),
        ({"items": [], "scene": 3}, "/scene", "must be a string"),
        ({"items": [], "context": []}, "/context", "must be an object, not a list"),
        (
            {"items": [], "request_id": "r" * 129},
            "/request_id",
            "must have at most 128 characters, not 129",
        ),
        (
            {"items": [], "explain": {"compare": ["a"]}},
            "/explain/compare",
            "must have at least 2 entries, not 1",
        ),
        (
            {"items": [], "bucket": {"fusion": -1}},
            "/bucket/fusion",
            "must be greater than or equal to 0, not -1",
        ),
        (
            {"candidates": {"ids": ["a"], "features": {"x": 1.0}}},
            "/candidates/features/x",
            "must be a list, not a number",
        ),
        (
            {"candidates": {"ids": ["a", "b"], "features": {"x": [1]}}},
            "/candidates/features/x",
            "has 1 values for 2 ids",
        ),
        (
            {"candidates": {"ids": ["a", "b", "a"]}},
            "/candidates/ids/2",
            "'a' is already at /candidates/ids/0",
        ),
        ({"items": [{"id": "a"}, {"id": "a"}]}, "/items/1/id", "'a' is already at /items/0/id"),
        (
            {"candidates": {"ids": ["a"], "features": {"x": [1e39]}}},
            "/candidates/features/x/0",
            "1e+39 is absurdly large",
        ),
        (
            {"items": [{"id": "a"}, {"id": "b", "features": {"x": [-(10**35)]}}]},
            "/items/1/features/x/0",
            "-1e+35 is absurdly large",
        ),
        (
            {"items": [], "user": {"features": {"m": {"k": [1e99]}}}},
            "/user/features/m/k/0",
            "1e+99",
        ),
        ({"items": [], "context": {"hour": 1e99}}, "/context/hour", "1e+99 is absurdly large"),
    ],
)
def test_a_broken_rule_is_refused_with_its_place_and_its_words(document, pointer, words):
    place, detail = refused(document)
    assert place == pointer
    assert words in detail


@pytest.mark.parametrize("form", ["candidates", "items"])
def test_more_candidates_than_the_limit_are_refused_with_the_limit(form):
    ids = [str(i) for i in range(2001)]
    document = (
        {"candidates": {"ids": ids}}
        if form == "candidates"
        else {"items": [{"id": i} for i in ids]}
    )
    place, detail = refused(document)
    assert detail == "2001 candidates are too many: at most 2000 are ranked at once"
    assert place == ("/candidates/ids" if form == "candidates" else "/items")
    assert len(decode(document, most=2001).ids) == 2001


def test_more_features_than_a_request_may_name_are_refused():
    names = {f"f{i}": [1] for i in range(1001)}
    place, detail = refused({"candidates": {"ids": ["a"], "features": names}})
    assert (place, detail) == (
        "/candidates/features",
        "1001 features are too many: at most 1000 are read",
    )


def test_at_most_ten_faults_are_listed():
    with pytest.raises(InvalidRequest) as refusal:
        decode({"candidates": {"ids": list(range(100))}})
    assert len(refusal.value.faults) == 10


values = st.none() | st.floats(-1e9, 1e9) | st.text(max_size=5) | st.lists(st.text(max_size=3))
candidates = st.lists(
    st.tuples(st.text(min_size=1, max_size=5), st.dictionaries(st.sampled_from("abc"), values)),
    unique_by=lambda item: item[0],
)


@given(candidates)
def test_rows_turned_into_columns_keep_every_value(items):
    body = decode({"items": [{"id": i, "features": f} for i, f in items]})
    assert body.ids == [i for i, _ in items]
    for row, (_, features) in enumerate(items):
        for name, column in body.columns.items():
            assert column[row] == features.get(name)
    assert not re.search("candidates", body.place_of("a", 0))
