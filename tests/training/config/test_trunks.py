"""[model.trunk]: what may be chosen, and what is refused with a sentence."""

import pytest
from pydantic import ValidationError

from training.config.model import Model

STEM = {"kind": "stem", "own": 1, "shared": 1, "hidden": [8]}


def _refused(**model):
    with pytest.raises(ValidationError) as refused:
        Model.model_validate(model)
    return str(refused.value)


def test_a_task_without_any_expert_is_refused():
    trunk = {"kind": "cgc", "own": 0, "shared": 0, "hidden": [8]}
    assert "a task needs own or shared experts" in _refused(trunk=trunk)


def test_an_unknown_gate_is_refused_with_the_known_ones():
    trunk = {"kind": "mmoe", "experts": 2, "hidden": [8], "gate": "linear"}
    assert "'softmax', 'attention' or 'feature-selection'" in _refused(trunk=trunk)


def test_stem_has_no_feature_selection_since_its_tasks_have_embeddings_of_their_own():
    assert "'softmax' or 'attention'" in _refused(trunk=STEM | {"gate": "feature-selection"})


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"linear": True}, "linear"),
        ({"inputs": [{"kind": "fm"}]}, "inputs"),
        ({"tower_gate": {"prior": ["user_id"]}}, "tower_gate"),
        ({"towers_of": {"ctr": {"network": [8]}}}, "towers_of.ctr"),
    ],
)
def test_stem_refuses_what_would_hand_a_tasks_embeddings_to_another_loss(changes, what):
    sentence = f"from the other tasks' losses, and {what} would let them through"
    assert sentence in _refused(**({"trunk": STEM, "linear": False} | changes))
    Model.model_validate({"trunk": STEM, "linear": False, "towers_of": {"ctr": {"hidden": [8]}}})
