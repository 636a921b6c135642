"""The shape of a document is refused in sentences: what is expected, and what is there."""

from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, ValidationError

from service.experiment.document import Plan
from service.experiment.errors import PlanInvalid
from service.experiment.library import check_library
from service.experiment.plan import parse_plan
from service.experiment.shape import shape_fault
from tests.experiment.packages import plan

LABEL = "must be 1 to 64 of a-z, A-Z, 0-9, '_', '.' and '-', beginning with no '.' or '-', not"
ARM = "layers/0/experiments/0/arms/0"


@pytest.mark.parametrize(
    ("path", "value", "place", "message"),
    [
        ("scene", "a b", "", f'{LABEL} "a b"'),
        ("scene", 7, "", "must be a string, not 7"),
        ("default", "base", "", 'must be an object, not "base"'),
        ("default/formula", "2nd", "", "must be 1 to 64 of a-z, A-Z, 0-9 and '_', beginning with no"
         ' digit, not "2nd"'),
        ("formulas", {}, "", "must not be empty"),
        ("formulas", [], "", "must be an object, not []"),
        ("formulas/power/multiplicative/ctr", "x", "",
         'must be a number, or an object with its weight, not "x"'),
        ("formulas/base/let", {"f(x": "1"}, "/f(x",
         'must be a name, or a function of names like f(x), not "f(x"'),
        ("layers", {}, "", "must be a list, not {}"),
        ("layers/0/salt", "", "", "must not be empty"),
        ("layers/0/salt", "s" * 200, "", "must have at most 128 characters, not 200"),
        ("layers/0/unit", "userid", "",
         'must be user_id, request_id, time or context.NAME, not "userid"'),
        ("layers/0/experiments/0/buckets", [[0]], "/0/1", "entry 2 of the list is missing"),
        ("layers/0/experiments/0/buckets", [[0, 1, 2]], "/0", "must have at most 2 entries, not 3"),
        ("layers/0/experiments/0/buckets", [["a", 1]], "/0/0", 'must be an integer, not "a"'),
        (f"{ARM}/name", "-x", "", f'{LABEL} "-x"'),
        ("holdout", {"salt": "s", "buckets": [], "unit": "time"}, "/unit",
         'must be user_id, request_id or context.NAME, not "time"'),
        ("ladder", [{"step": "less"}], "/0/step",
         "must be 'fewer', 'model' or 'input_order', not \"less\""),
        ("shadow", {}, "", "name a formula, a model, or both, not {}"),
    ],
)  # fmt: skip
def test_a_fault_says_what_is_expected_and_what_is_there(
    path: str, value: Any, place: str, message: str
) -> None:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(plan((path, value)))
    finding = caught.value.findings[0]
    assert (finding.pointer, finding.message) == (f"/{path}{place}", message)


def test_libraries_are_refused_in_the_same_words() -> None:
    with pytest.raises(PlanInvalid) as caught:
        check_library("shared", {"format": 2, "lets": {}})
    assert [(f.pointer, f.message) for f in caught.value.findings] == [
        ("/format", "must be 1, not 2"),
        ("/library", "the key 'library' is missing"),
        ("/lets", "unknown key 'lets'; did you mean 'let'?"),
    ]


def patterns(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        yield from schema.get("patternProperties", {})
        for value in schema.values():
            yield from patterns(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from patterns(value)


@pytest.mark.parametrize("pattern", sorted(set(patterns(Plan.model_json_schema()))))
def test_no_pattern_of_a_plan_is_shown_as_it_is(pattern: str) -> None:
    class Document(BaseModel):
        text: Annotated[str, Field(pattern=pattern)]

    with pytest.raises(ValidationError) as caught:
        Document(text="?")
    said = shape_fault(dict(caught.value.errors()[0]), repr)
    assert said.startswith("must be ")
    assert said.endswith(", not '?'")
    assert pattern not in said
