"""What a plan may not say about who is in an experiment, each with its place."""

from typing import Any

import pytest

from service.contract.features import Categorical, FeatureSchema
from service.experiment.document import Plan
from service.experiment.errors import PlanInvalid
from service.experiment.plan import parse_plan
from service.experiment.rules import agree
from service.experiment.traffic_rules import misspelt_conditions
from tests.experiment.packages import plan

E = "layers/0/experiments/0"
ARM = f"{E}/arms/1/set"


def errors(*changes: tuple[str, Any]) -> list[tuple[str, str]]:
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(plan(*changes))
    return [(f.pointer, f.message) for f in caught.value.findings if f.severity == "error"]


def accepted(*changes: tuple[str, Any]) -> Plan:
    return parse_plan(plan(*changes))


def warnings(*changes: tuple[str, Any]) -> list[tuple[str, str]]:
    return [(f.pointer, f.message) for f in agree(accepted(*changes))]


def steps(*given: tuple[str, float]) -> list[dict[str, Any]]:
    return [{"at": at, "percent": percent} for at, percent in given]


ONE, TWO = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"


def test_a_ramp_within_its_buckets_is_fine():
    assert len(accepted((f"{E}/ramp", steps((ONE, 1), (TWO, 10)))).layers) == 1


@pytest.mark.parametrize(
    ("given", "place", "message"),
    [
        (steps((ONE, 11)), "0/percent", "11 % is more than the 10 % that the buckets of 'vcr-up'"),
        (steps((ONE, 0.005)), "0/percent", "0.005 % is no whole number of buckets"),
        (steps((TWO, 1), (ONE, 2)), "1/at", f"{ONE} is not after {TWO}, the step before"),
        (steps((ONE, 5), (TWO, 2)), "1/percent", "a ramp only grows: 2 % after 5 % would move"),
        (steps(("2026-11-01", 1)), "0/at", "the time needs its zone"),
        (steps(("soon", 1)), "0/at", "write date, time and zone like 2026-11-22T08:00:00Z"),
        (steps((ONE, 101)), "0/percent", "must be less than or equal to 100"),
    ],
)
def test_what_no_ramp_may_be(given: list[dict[str, Any]], place: str, message: str):
    ((pointer, found),) = errors((f"{E}/ramp", given))
    assert pointer == f"/{E}/ramp/{place}"
    assert message in found


def test_a_condition_is_compiled_when_the_plan_is_read():
    with pytest.raises(PlanInvalid) as caught:
        parse_plan(plan((f"{E}/when", "context.tab = 1")))
    (finding,) = caught.value.findings
    assert finding.pointer == f"/{E}/when"
    assert (finding.line, finding.column) == (1, 13)
    assert finding.caret is not None
    assert finding.caret.endswith("^")


def test_a_condition_that_reads_nothing_is_a_warning():
    assert warnings((f"{E}/when", "1 > 2")) == [
        (f"/{E}/when", "this condition reads no value: nobody meets it")
    ]


@pytest.mark.parametrize(
    ("arms", "place", "message"),
    [
        ([{"name": "a"}], "/0", "arm 'a' has neither: give share or slots, one of them"),
        ([{"name": "a", "share": 1, "slots": [[0, 9]]}], "/0", "arm 'a' has both"),
        ([{"name": "a", "share": 1}, {"name": "b", "slots": [[0, 9]]}], "/1",
         "arms 'a' and 'b': give every arm a share, or every arm slots"),
        ([{"name": "a", "share": 0}], "", "the shares of 'vcr-up' add up to 0"),
        ([{"name": "a", "slots": [[9, 0]]}], "/0/slots/0",
         "slot range [9, 0] ends before it starts"),
        ([{"name": "a", "slots": [[0, 9]]}, {"name": "b", "slots": [[9, 12]]}], "/1/slots/0",
         "slots [9, 12] of 'b' overlap those of 'a'"),
    ],
)  # fmt: skip
def test_arms_share_out_the_slots(arms: list[dict[str, Any]], place: str, message: str):
    ((pointer, found),) = errors((f"{E}/arms", arms), ("force", {}))
    assert pointer == f"/{E}/arms{place}"
    assert message in found


def test_a_switchback_needs_the_length_of_its_slices():
    assert errors(("layers/0/unit", "time")) == [
        ("/layers/0/unit", 'the unit "time" needs slice_s, the length of a slice')
    ]
    assert accepted(("layers/0/unit", "time"), ("layers/0/slice_s", 1800)).layers[0].slice_s == 1800


def test_a_holdout_has_ranges_and_a_salt_of_its_own():
    held = {"salt": "h", "buckets": [[5, 1]]}
    assert errors(("holdout", held)) == [
        ("/holdout/buckets/0", "bucket range [5, 1] ends before it starts")
    ]
    same = {"salt": "fusion-2026-11", "buckets": [[0, 99]]}
    assert warnings(("holdout", same))[0][0] == "/holdout/salt"
    named = ("layers/0/name", "holdout")
    found = errors(("holdout", {"salt": "h", "buckets": [[0, 9]]}), named, ("force", {}))
    assert found[0][0] == "/layers/0/name"


@pytest.mark.parametrize(
    ("perturb", "place", "message"),
    [
        ({"b": 2}, "/b", "must be less than or equal to 1"),
        ({"b": 0}, "/b", "must be greater than 0"),
        ({"c": 1}, None, None),  # 0.5 · e = 1.36 is within 2
        ({"b": 0.99, "a": 0.1}, None, None),
    ],
)
def test_a_perturbation_has_a_sigma(perturb: dict[str, float], place: str, message: str):
    if place is None:
        assert accepted((f"{ARM}/perturb", perturb))
        return
    ((pointer, found),) = errors((f"{ARM}/perturb", perturb))
    assert pointer == f"/{ARM}/perturb{place}"
    assert message in found


def test_a_perturbed_param_stays_within_its_bounds():
    found = errors((f"{ARM}", {"params": {"a": 1.5}, "perturb": {"a": 0.5}}))
    assert found == [
        (
            f"/{ARM}/perturb/a",
            "param 'a' would be 0.909796 or 2.47308, outside its bounds [0, 2]",
        )
    ]


def test_a_perturbation_that_changes_nothing_is_a_warning():
    assert warnings((f"{ARM}", {"perturb": {"d": 0.1}}))[0] == (
        f"/{ARM}/perturb/d",
        "no formula has the param 'd' (known: a, b, c, w_ctr, w_like, w_vcr)",
    )
    zero = warnings((f"{ARM}", {"params": {"b": 0}, "perturb": {"b": 0.1}}))
    assert zero[0][1] == "param 'b' is 0, so times exp(±0.1) changes nothing"


def test_at_most_six_params_are_perturbed():
    many = {f"p{i}": {"value": 1, "min": 0, "max": 9} for i in range(7)}
    base = {"score": "ctr * " + " * ".join(many), "params": many}
    found = errors(("formulas/base", base), (ARM, {"perturb": dict.fromkeys(many, 0.1)}))
    assert found[0][1] == "7 params are perturbed, at most 6: each doubles the treatments"


def test_two_layers_do_not_perturb_or_set_the_same_param():
    second = {
        "name": "second",
        "salt": "s2",
        "experiments": [
            {
                "name": "e",
                "buckets": [[0, 9]],
                "arms": [{"name": "x", "share": 1, "set": {"perturb": {"b": 0.1}}}],
            }
        ],
    }
    ((pointer, message),) = errors(("layers/1", second))
    assert pointer == "/layers/1/experiments/0/arms/0/set/params/b"
    assert "which layer 'fusion' sets too" in message


def test_a_condition_on_nearly_a_models_feature_is_a_slip() -> None:
    schema = FeatureSchema(
        features=(Categorical(name="tab", side="context", vocabulary=("0", "1")),)
    )
    for text, said in {
        "context.tb == 1": ["no model reads context.tb; did you mean 'context.tab'?"],
        "context.tab == 1": [],
        "context.campaign == 1": [],  # may be there for experiments alone
    }.items():
        found = misspelt_conditions(accepted((f"{E}/when", text)), [schema])
        assert [(f.severity, f.message) for f in found] == [("warning", s) for s in said]
