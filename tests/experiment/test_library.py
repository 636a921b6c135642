"""Libraries written out into plans: formulas that come from one, functions that texts use."""

import pytest

from service.experiment.errors import PlanInvalid
from service.experiment.findings import Finding
from service.experiment.library import check_library, expand, pins
from service.experiment.plan import parse_plan
from service.experiment.snapshot import check_plan
from tests.experiment.packages import ToyModels, plan

SHARED = {
    "format": 1,
    "library": "shared",
    "let": {"length(x)": "1 / (1 + curve(x))", "curve(x)": "log1p(x / 30)", "unused": "ctr"},
    "formulas": {
        "base": {
            "score": "ctr^a * length(videolen_s) * boost",
            "let": {"boost": "1 + vcr"},
            "params": {"a": {"value": 0.3, "min": 0, "max": 2}},
        },
        "sum": {"additive": {"ctr": 1.0, "like": 4.0}},
    },
}
PINNED = {"shared": (3, SHARED)}


def written(**formulas):
    document = plan(("formulas", {"base": {"score": "ctr"}, **formulas}), ("layers", []))
    return {**document, "force": {}, "library": {"shared": 3}}


def told(document, pinned=PINNED) -> list[Finding]:
    with pytest.raises(PlanInvalid) as caught:
        expand(document, pinned)
    return list(caught.value.findings)


def test_a_formula_that_comes_from_a_library_is_written_out_with_the_functions_it_uses():
    found = expand(written(base={"from": "shared/base"}), PINNED).document
    assert found["formulas"]["base"] == {
        "score": "ctr^a * length(videolen_s) * boost",
        "let": {
            "boost": "1 + vcr",
            "length(x)": "1 / (1 + curve(x))",
            "curve(x)": "log1p(x / 30)",
        },
        "params": {"a": {"value": 0.3, "min": 0, "max": 2}},
    }
    checked = check_plan(parse_plan(found), 1, ToyModels())
    assert checked.snapshot is not None
    assert SHARED["formulas"]["base"]["let"] == {"boost": "1 + vcr"}


def test_params_and_lets_of_its_own_come_on_top():
    spec = {
        "from": "shared/base",
        "params": {"a": 0.7, "z": {"value": 1, "min": 0, "max": 2}},
        "let": {"boost": "z", "length(y)": "1 / y"},
    }
    found = expand(written(base=spec), PINNED).document["formulas"]["base"]
    assert found["params"] == {
        "a": {"value": 0.7, "min": 0, "max": 2},
        "z": {"value": 1, "min": 0, "max": 2},
    }
    assert found["let"] == {"boost": "z", "length(y)": "1 / y"}


def test_a_text_of_the_plan_may_use_functions_of_a_library():
    found = expand(written(mine={"score": "vcr * length(videolen_s)"}), PINNED).document
    assert list(found["formulas"]["mine"]["let"]) == ["length(x)", "curve(x)"]
    assert "let" not in found["formulas"]["base"]


def test_a_let_of_an_arm_may_use_functions_of_a_library():
    document = plan(("layers/0/experiments/0/arms/1/set", {"let": {"f(x)": "length(x)"}}))
    found = expand({**document, "library": {"shared": 3}}, PINNED).document
    checked = check_plan(parse_plan(found), 1, ToyModels())
    assert checked.snapshot is not None, checked.findings


def test_a_plan_without_libraries_is_itself():
    assert expand(plan(), {}).document == plan()
    assert pins(plan()) == {}
    for strange in ([], 3, {"library": []}, {"library": {"a": "x", "b": True}}):
        assert pins(strange) == {}
        assert expand(strange, {}).document == strange


def test_a_finding_in_a_text_of_a_library_is_told_where_the_library_is_pinned():
    broken = {**SHARED, "let": {**SHARED["let"], "curve(x)": "log1p(x / thirty)"}}
    expanded = expand(written(base={"from": "shared/base"}), {"shared": (4, broken)})
    checked = check_plan(parse_plan(expanded.document), 1, ToyModels())
    (found,) = expanded.told(checked.findings)
    assert found.pointer == "/library/shared"
    assert found.message.startswith("unknown name 'thirty'")
    assert found.message.endswith("(from let curve(x) of library shared/4)")
    assert found.caret is not None


@pytest.mark.parametrize(
    ("spec", "pointer", "words"),
    [
        ({"from": "shred/base"}, "/formulas/base/from", "no library 'shred' is pinned; did you"),
        ({"from": "shared/bse"}, "/formulas/base/from", "library shared/3 has no formula 'bse'"),
        ({"from": 3}, "/formulas/base/from", "no library '3' is pinned"),
        ({"from": "shared/base", "score": "ctr"}, "/formulas/base/score", "has only params and"),
    ],
)
def test_a_formula_that_comes_from_nowhere_is_refused(spec, pointer, words):
    (found,) = told(written(base=spec))
    assert found.pointer == pointer
    assert words in found.message


def test_a_function_in_two_libraries_is_refused_unless_one_is_the_formulas_own():
    both = {**PINNED, "other": (1, {**SHARED, "library": "other"})}
    (found,) = told(written(mine={"score": "length(videolen_s) * ctr"}), both)
    assert found.pointer == "/formulas/mine"
    assert found.message == "'length' is in the libraries shared and other"
    assert expand(written(base={"from": "shared/base"}), both).document


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"library": "other"}, "/library", "the library says 'other', the path 'shared'"),
        ({"lets": {}}, "/lets", "unknown key 'lets'; did you mean 'let'?"),
        ({"let": {"f(x)": "log1p("}}, "/let/f(x)", "this bracket is never closed"),
        ({"let": {"f(x)": "g(x)", "g(x)": "f(x)"}}, "/let/", "a let may not use itself"),
        ({"formulas": {"b": {"score": "ctr +"}}}, "/formulas/b/score", "expected a number"),
        ({"formulas": {"b": {}}}, "/formulas/b", "give exactly one of"),
        ({"formulas": {"b": {"score": "x", "let": {"y": "*"}}}}, "/formulas/b/let/y", "expected"),
    ],
)
def test_a_library_whose_texts_cannot_be_parsed_is_refused(change, pointer, words):
    with pytest.raises(PlanInvalid) as caught:
        check_library("shared", {**SHARED, **change})
    finding = caught.value.findings[0]
    assert finding.pointer.startswith(pointer)
    assert words in finding.message


def test_a_library_is_accepted_with_names_that_only_a_model_knows():
    check_library("shared", SHARED)
