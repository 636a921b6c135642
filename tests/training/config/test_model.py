"""[model]: what does not go together is refused with the reason."""

import pytest

from training.config.model import Model

TRUNK = {"kind": "cgc", "own": 1, "shared": 1, "hidden": [8]}
GROUPS = {"who": ["user_*"]}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"experts_read": ["who"]}, r"\[model.groups\] lacks who \(it has: none\)"),
        (
            {"groups": GROUPS, "towers_of": {"ctr": {"reads": ["what"]}}},
            r"\[model.groups\] lacks what \(it has: who\)",
        ),
        (
            {"groups": GROUPS, "gates_read": ["who"], "inputs": [{"kind": "cross"}]},
            r'an input of kind "cross" mixes all features in every column, so no group of them can'
            r" be read apart \(who\)",
        ),
        (
            {
                "groups": GROUPS,
                "experts_read": ["who"],
                "trunk": {**TRUNK, "gate": "feature-selection"},
            },
            "experts_read and gates_read need a trunk whose experts and gates read the features",
        ),
    ],
)
def test_groups_that_could_not_be_kept_apart_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        Model.model_validate({"trunk": TRUNK, **options})


def test_groups_go_together_with_blocks_that_leave_the_features_as_they_are():
    model = Model.model_validate(
        {
            "trunk": TRUNK,
            "groups": {"pairs": ["fm", "attention_*"]},
            "experts_read": ["pairs"],
            "inputs": [{"kind": "attention", "sequence": "recent"}, {"kind": "fm"}],
        }
    )
    assert [block.sequence for block in model.attentions] == ["recent"]
