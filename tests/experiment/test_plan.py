"""A plan document is read strictly, and everything wrong in it is said at its place."""

import json
from typing import Any

import pytest

from service.experiment.errors import PlanInvalid
from service.experiment.findings import Finding
from service.experiment.plan import parse_plan
from tests.experiment.packages import PLAN, plan, without


def findings(document: Any) -> list[tuple[str, str]]:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(document)
    return [(f.pointer, f.message) for f in caught.value.findings]


def test_the_plan_of_the_design_is_read():
    read = parse_plan(PLAN)
    assert read.scene == "feed"
    assert read.deadline_ms == 40
    assert read.formulas["base"].params["b"].max == 5
    assert read.layers[0].experiments[0].arms[1].set.params == {"b": 1.6}
    assert read.force["712"] == {"fusion": "vcr-up/treatment"}


def test_bytes_and_mapping_read_the_same():
    assert parse_plan(json.dumps(PLAN).encode()) == parse_plan(PLAN)


def test_a_plan_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        parse_plan(PLAN).scene = "other"


def test_the_last_of_two_equal_json_keys_wins():
    text = json.dumps(PLAN)[:-1] + ', "deadline_ms": 60}'
    assert parse_plan(text.encode()).deadline_ms == 60


@pytest.mark.parametrize(
    ("path", "pointer", "message"),
    [
        ("formulae", "/formulae", "unknown key 'formulae'; did you mean 'formulas'?"),
        (
            "formulas/base/lets",
            "/formulas/base/lets",
            "unknown key 'lets'; did you mean 'let'?",
        ),
        (
            "formulas/power/multiplicative/vcr/exponent",
            "/formulas/power/multiplicative/vcr/exponent",
            "unknown key 'exponent' (known: bias, max, min, scale, weight)",
        ),
        (
            "layers/0/experiments/0/arms/0/sets",
            "/layers/0/experiments/0/arms/0/sets",
            "unknown key 'sets'; did you mean 'set'?",
        ),
        (
            "layers/0/experiments/0/arms/1/set/param",
            "/layers/0/experiments/0/arms/1/set/param",
            "unknown key 'param'; did you mean 'params'?",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_one(path: str, pointer: str, message: str):
    assert (pointer, message) in findings(plan((path, {})))


@pytest.mark.parametrize("key", ["input"])
def test_a_reserved_key_is_refused_as_reserved(key: str):
    expected = (f"/{key}", f"the key {key!r} is reserved and not supported by this version")
    assert findings(plan((key, {}))) == [expected]


@pytest.mark.parametrize("key", ["format", "scene", "model", "formulas", "default"])
def test_a_missing_key_is_named(key: str):
    assert findings(without(key)) == [(f"/{key}", f"the key {key!r} is missing")]


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("deadline_ms", "40", 'must be a number, not "40"'),
        ("deadline_ms", 0, "must be greater than or equal to 1, not 0"),
        ("deadline_ms", 5001, "must be less than or equal to 5000, not 5001"),
        ("deadline_ms", True, "must be a number, not true"),
        ("format", 2, "must be 1, not 2"),
        ("formulas/base/params/a/value", None, "must be a number, not null"),
        ("formulas/power/multiplicative/ctr", True, "must be a number, not true"),
        ("formulas/power/videolen/scale_s", 0, "must be greater than 0, not 0"),
        ("formulas/power/videolen/combine", "+", "must be '*' or '/', not \"+\""),
        (
            "layers/0/experiments/0/arms/0/share",
            -1,
            "must be greater than or equal to 0, not -1",
        ),
        (
            "layers/0/experiments/0/buckets/0/1",
            10_000,
            "must be less than 10000, not 10000",
        ),
        (
            "layers/0/experiments/0/buckets/0/0",
            -1,
            "must be greater than or equal to 0, not -1",
        ),
    ],
)
def test_a_wrong_value_is_refused_at_its_place(path: str, value: Any, message: str):
    place, said = findings(plan((path, value)))[0]
    assert place.startswith(f"/{path}")
    assert said == message


def test_a_number_that_is_not_finite_is_refused():
    found = findings(plan(("formulas/base/params/a/value", float("inf"))))
    assert found == [("/formulas/base/params/a/value", "must be a finite number, not Infinity")]
    (_, said), *_ = findings(json.dumps(plan(("deadline_ms", float("nan")))).encode())
    assert said == "the plan is not JSON: NaN is no JSON number"


def test_bytes_that_are_no_json_say_where():
    (place, said), *_ = findings(b'{"format": 1,')
    assert place == ""
    assert said.startswith("the plan is not JSON: Expecting property name")
    assert findings(b"[]") == [("", "the plan is not a JSON object")]
    assert findings(b"\xff")[0][1].startswith("the plan is not JSON: 'utf-8' codec")
    assert "the plan is not JSON" in findings(b"[" * 100_000)[0][1]


def test_names_that_would_break_keys_and_identifiers_are_refused():
    for path, value in [("scene", "a/b"), ("scene", "{x}"), ("layers/0/name", "a:b")]:
        assert findings(plan((path, value)))[0][0] == f"/{path}"
    assert findings(plan(("formulas/two words", {"score": "ctr"})))[0][0] == "/formulas/two words"


def test_a_pointer_escapes_slashes_and_tildes():
    found = findings(plan(("force/712", {"a/b~c": "x/y"})))
    assert found[0][0] == "/force/712/a~1b~0c"


def test_all_findings_are_told_at_once_errors_first():
    error = PlanInvalid([Finding("warning", "/b", "late"), Finding("error", "/a", "wrong")])
    assert [f.severity for f in error.findings] == ["error", "warning"]
    assert str(error) == "/a: wrong; /b: late"
    assert len(findings(plan(("shadow", 1), ("rerank", 1)))) == 2


def test_more_formulas_than_a_check_may_compile_are_refused():
    document = {**PLAN, "formulas": {**PLAN["formulas"]}}
    document["formulas"] |= {f"f{n}": {"score": "ctr"} for n in range(128 - len(PLAN["formulas"]))}
    assert len(parse_plan(document).formulas) == 128
    document["formulas"]["one_more"] = {"score": "ctr"}
    [(pointer, message)] = findings(document)
    assert pointer == "/formulas"
    assert message == "must have at most 128 entries, not 129"
