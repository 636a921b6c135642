"""Names of formulas and models do not collide, and a form names only what the model has."""

from typing import Any

from service.contract.manifest import Manifest
from service.experiment.effects import own_effects
from service.experiment.names import check_names
from service.experiment.plan import parse_plan
from tests.experiment.packages import manifest, plan


def findings(formula: dict[str, Any], model: Manifest | None = None) -> list[tuple[str, str]]:
    read = parse_plan(plan(("formulas/new", formula)))
    effect = next(e for e in own_effects(read) if e.formula == "new")
    found = check_names(effect, read.formulas["new"], model or manifest())
    return [(f.pointer, f.message) for f in found]


def test_the_formulas_of_the_design_have_no_findings():
    read = parse_plan(plan())
    for effect in own_effects(read):
        assert check_names(effect, read.formulas[effect.formula], manifest()) == []


def test_an_unknown_head_of_a_form_points_at_its_term():
    assert findings({"additive": {"ctr": 1, "liek": 2}}) == [
        (
            "/formulas/new/additive/liek",
            "model toy/1 has no head or attribute 'liek'; did you mean 'like'?",
        )
    ]


def test_an_attribute_may_stand_in_a_product():
    assert findings({"multiplicative": {"ctr": 1, "videolen_s": -0.5}}) == []


def test_a_length_needs_the_attribute():
    model = manifest()
    without = model.model_copy(
        update={"schema_": model.schema_.model_copy(update={"attributes": ()})}
    )
    videolen = {"fn": "log1p", "scale_s": 30, "combine": "*"}
    assert findings({"additive": {"ctr": 1}, "videolen": videolen}, without) == [
        (
            "/formulas/new/videolen",
            "model toy/1 has no head or attribute 'videolen_s' (known: ctcvr, ctr, like, vcr)",
        )
    ]


def test_a_param_and_a_let_have_names_of_their_own():
    param = {"value": 1, "min": 0, "max": 2}
    assert findings({"score": "vcr", "params": {"ctr": param}}) == [
        (
            "/formulas/new/params/ctr",
            "'ctr' names a param and also a head of model toy/1; give the param another name",
        )
    ]
    assert findings({"score": "vcr", "let": {"videolen_s": "3", "like(x)": "x"}}) == [
        (
            "/formulas/new/let/videolen_s",
            "'videolen_s' names a let and also an attribute of model toy/1;"
            " give the let another name",
        ),
        (
            "/formulas/new/let/like(x)",
            "'like' names a let and also a head of model toy/1; give the let another name",
        ),
    ]
