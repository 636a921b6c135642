"""Every treatment is compiled and run dry before it is served; what is wrong has its place."""

from typing import Any

from service.contract.errors import UnknownModel
from service.contract.golden import Golden
from service.contract.manifest import Manifest
from service.contract.repository import ModelRef
from service.experiment.findings import Finding
from service.experiment.plan import parse_plan
from service.experiment.snapshot import check_plan
from service.experiment.treatments import MAX_TREATMENTS, Compiler, Models
from tests.experiment.packages import ToyModels, golden, manifest, plan

ARM = "layers/0/experiments/0/arms/1/set"


def check(*changes: tuple[str, Any], models: Models | None = None) -> list[Finding]:
    return list(check_plan(parse_plan(plan(*changes)), 1, models or ToyModels()).findings)


def score(source: str) -> tuple[str, Any]:
    return ("formulas/base", {"score": source})


def test_the_plan_of_the_design_has_no_findings():
    assert check() == []


def test_a_syntax_error_shows_its_place():
    (found,) = check(("formulas/base/score", "ctr^a * (1 + vcr"), ("formulas/base/let", {}))
    assert (found.severity, found.pointer) == ("error", "/formulas/base/score")
    assert (found.line, found.column) == (1, 9)
    assert found.caret == "    ctr^a * (1 + vcr\n            ^"


def test_an_unknown_head_is_found_with_its_neighbour_and_the_model():
    (found,) = check(("formulas/base/score", "ctr^a * vrc^b * ctcvr^c * f(videolen_s)"))
    assert (found.pointer, found.column) == ("/formulas/base/score", 9)
    assert found.message.startswith("unknown name 'vrc': did you mean 'vcr'?")
    assert found.message.endswith("(formula 'base', model toy/1)")


def test_a_formula_that_nobody_gets_is_checked_too():
    (found,) = check(("formulas/draft", {"score": "ctr +"}))
    assert found.pointer == "/formulas/draft/score"


def test_an_error_in_a_let_points_at_the_let():
    (found,) = check(("formulas/base/let/f(x)", "1 / (1 + log1p(y / 30))"))
    assert found.pointer == "/formulas/base/let/f(x)"
    assert (found.line, found.column) == (1, 16)


def test_an_error_in_an_arms_let_points_at_the_arm():
    (found,) = check((f"{ARM}/let", {"f(z)": "1 / wrong"}))
    assert found.pointer == f"/{ARM}/let/f(z)"


def test_an_unknown_model_points_at_its_reference():
    class Empty:
        def manifest(self, ref: ModelRef) -> Manifest:
            raise UnknownModel(f"no model {ref.name!r}")

        def golden(self, ref: ModelRef) -> Golden:
            raise AssertionError

    (found,) = check(models=Empty())
    assert (found.pointer, found.message) == ("/model", "no model 'toy'")


def test_the_model_of_an_arm_must_have_the_formulas_heads():
    small = ("ctr", "vcr")
    models = ToyModels(
        toy=(manifest(), golden()), small=(manifest("small", heads=small), golden(small))
    )
    (found,) = check((ARM, {"model": "small@champion"}), models=models)
    assert found.pointer == "/formulas/base/score"
    assert "'ctcvr'" in found.message
    assert found.message.endswith("(formula 'base', model small/1)")


def test_a_formula_without_a_score_on_a_golden_row_is_refused_with_the_values():
    zero = ToyModels(toy=(manifest(), golden(ctr=[0.5, 0, 1, 1, 1, 1, 1, 1])))
    (found,) = check(score("1 / ctr"), (ARM, {}), models=zero)
    assert found.pointer == "/formulas/base/score"
    assert found.message == (
        "formula 'base' gives no finite score on golden row 1 (ctr = 0) of model toy/1"
    )


def test_an_arms_number_that_breaks_the_formula_points_at_the_arm():
    breaks = {"score": "1 / (b - 1.6) + ctr", "params": {"b": {"value": 1, "min": 0, "max": 5}}}
    (found,) = check(("formulas/base", breaks))
    assert found.pointer == f"/{ARM}"
    assert found.message.startswith(
        "formula 'base' with b = 1.6 in fusion:vcr-up/treatment gives no finite score on golden row"
    )


def test_a_formula_may_use_the_scalars_of_the_model():
    assert check(score("if(context.hour > 12, ctr, vcr) + user.age / 100"), (ARM, {})) == []
    (found,) = check(score("ctr + context.city"), (ARM, {}))
    assert "context.city" in found.message


def test_equal_formulas_are_compiled_once():
    arms = [{"name": f"a{n}", "share": 1, "set": {"params": {"b": n / 10}}} for n in range(3)]
    arms += [{"name": f"c{n}", "share": 1} for n in range(3)]
    read = parse_plan(plan(("layers/0/experiments/0/arms", arms), ("force", {})))
    treatments = Compiler(read, ToyModels()).compile_all()
    assert len(treatments) == 7
    assert len({id(t.formula) for t in treatments.values()}) == 4


def test_a_param_that_the_formula_does_not_use_makes_no_other_formula():
    base = plan()["formulas"]["base"]
    base["params"]["spare"] = {"value": 1, "min": 0, "max": 9}
    read = parse_plan(plan(("formulas/base", base), (f"{ARM}/params", {"spare": 3})))
    treatments = Compiler(read, ToyModels()).compile_all()
    assert treatments[(0,)].formula is treatments[(2,)].formula
    assert treatments[(2,)].params["spare"] == 3


def test_layers_that_combine_to_too_many_treatments_are_refused():
    def layer(name: str) -> dict[str, Any]:
        arms = [{"name": f"a{n}", "share": 1} for n in range(10)]
        return {
            "name": name,
            "salt": name,
            "experiments": [{"name": "e", "buckets": [[0, 9999]], "arms": arms}],
        }

    (found,) = check(("layers", [layer("one"), layer("two"), layer("three")]), ("force", {}))
    assert found.pointer == "/layers"
    assert found.message == (
        f"the layers' arms combine to 1331 treatments, more than {MAX_TREATMENTS}:"
        " use fewer arms or put experiments into the same layer"
    )
