"""The plan key `rerank`: its shape, what the gate says of it, and who gets which rules."""

from typing import Any

import pytest

from service.contract.features import Attribute, Categorical, FeatureSchema, MultiValued, Numeric
from service.experiment.errors import PlanInvalid
from service.experiment.plan import parse_plan
from service.experiment.reranking import Rerank, unknown_names
from service.experiment.snapshot import check_plan
from tests.experiment.packages import ToyModels, manifest, plan

ARM = "layers/0/experiments/0/arms/1/set"
PINNED = {"pins": {"5239": 1}}


def findings(*changes: tuple[str, Any]) -> dict[str, str]:
    try:
        parsed = parse_plan(plan(*changes))
    except PlanInvalid as err:
        found = err.findings
    else:
        found = list(check_plan(parsed, 1, ToyModels()).findings)
    return {finding.pointer: finding.message for finding in found}


@pytest.mark.parametrize(
    ("rules", "pointer", "message"),
    [
        (
            {"caps": [{"by": "author_id", "most": 3, "window": 3}]},
            "/rerank/caps/0/most",
            "3 of 3 places in a row is no cap; most is less than window",
        ),
        (
            {"fresh": {"by": "videolen_s", "below": 1, "least": 5, "first": 4}},
            "/rerank/fresh/least",
            "5 new items do not fit into 4 places",
        ),
        (
            {"pins": {"a": 1, "b": 1}},
            "/rerank/pins/b",
            "place 1 is pinned to 'a' already",
        ),
        (
            {"pins": {"a": 200}},
            "/rerank/pins/a",
            "the rules hold for the first 100 places, not for 200; raise places",
        ),
        (
            {"caps": [{"by": "autor", "most": 1, "window": 3}]},
            "/rerank/caps/0/by",
            "model toy/1 has no single-valued categorical item feature 'autor' (known: none)",
        ),
        (
            {"fresh": {"by": "videolen", "below": 1, "least": 1, "first": 4}},
            "/rerank/fresh/by",
            "model toy/1 has no item attribute 'videolen'; did you mean 'videolen_s'?",
        ),
        (
            {"decay": [{"by": "author_id", "facter": 0.5}]},
            "/rerank/decay/0/facter",
            "unknown key 'facter'; did you mean 'factor'?",
        ),
    ],
)
def test_the_gate_says_what_is_wrong_with_rules(rules, pointer, message):
    assert findings(("rerank", rules))[pointer] == message


def test_the_rules_of_an_arm_are_checked_at_their_place():
    rules = {"mmr": {"by": ["videolen_s", "e1"], "weight": 0.5}}
    assert list(findings((f"{ARM}/rerank", rules))) == [
        "/layers/0/experiments/0/arms/1/set/rerank/mmr/by/1"
    ]


def test_two_layers_cannot_both_set_them():
    other = {"name": "two", "salt": "two", "unit": "user_id", "experiments": []}
    arms = [{"name": "on", "share": 1, "set": {"rerank": PINNED}}]
    other["experiments"] = [{"name": "e", "buckets": [[0, 99]], "arms": arms}]
    found = findings((f"{ARM}/rerank", PINNED), ("layers/1", other))
    assert found["/layers/1/experiments/0/arms/0/set/rerank"].startswith(
        "layer 'two' sets rerank, which layer 'fusion' sets too"
    )


def test_an_arm_has_the_rules_of_the_plan_its_own_or_none():
    def treated(*changes):
        snapshot = check_plan(parse_plan(plan(*changes)), 1, ToyModels()).as_version(1)
        return snapshot.assign("712", "r", {}), snapshot.default

    arm, default = treated(("rerank", PINNED))
    assert arm.rerank == default.rerank == Rerank(pins={"5239": 1})
    arm, default = treated(("rerank", PINNED), (f"{ARM}/rerank", {"pins": {"6831": 2}}))
    assert (arm.rerank, default.rerank) == (Rerank(pins={"6831": 2}), Rerank(pins={"5239": 1}))
    arm, default = treated(("rerank", PINNED), (f"{ARM}/rerank", {}))
    assert arm.rerank is None
    assert default.rerank is not None


def test_categories_are_single_valued_item_features_by_their_column():
    schema = FeatureSchema(
        features=(
            Categorical(name="item_id", side="item", hash_buckets=9),
            MultiValued(name="tags", side="item", max_length=3, hash_buckets=9),
            Categorical(name="author_id", side="item", hash_buckets=9),
            Categorical(name="city", side="user", hash_buckets=9),
            Numeric(name="age", side="item", default=0.0),
        ),
        attributes=(Attribute(name="age_h", default=0.0, min=0.0, max=9.0),),
        item_id_feature="item_id",
    )
    assert schema.item_categories == {"author_id": 4}
    one = manifest().model_copy(update={"schema_": schema})
    rules = Rerank.model_validate_json(
        '{"caps": [{"by": "author_id", "most": 1, "window": 3}],'
        ' "mmr": {"by": ["age_h"], "weight": 0.1}}'
    )
    assert list(unknown_names(rules, ("rerank",), one)) == []
    assert (rules.categories, rules.attributes) == ({"author_id"}, {"age_h"})
