import json

import pytest
import uvloop

from loadtest import explain_cost
from loadtest.machine import ROOT
from service.api import replies
from service.scoring import scored
from service.scoring.answers import in_input_order


def test_what_only_explain_needs_is_cut_out_of_a_function():
    cut = explain_cost.without_explain(scored.score, scored)
    assert "explain" in scored.score.__code__.co_names
    assert "explain" not in cut.__code__.co_names
    assert "request_explanation" not in (
        explain_cost.without_explain(replies.rank_reply, replies).__code__.co_names
    )


def test_a_function_with_nothing_to_cut_is_refused():
    with pytest.raises(ValueError, match="in_input_order has nothing that only explain needs"):
        explain_cost.without_explain(in_input_order, scored)


def test_it_measures_both_and_leaves_the_functions_as_they_were():
    found = uvloop.run(explain_cost.measure(ROOT / "models", 20, 2))
    assert found["with_code_ms"]["least"] > 0
    assert found["without_code_ms"]["least"] > 0
    assert explain_cost.scorer.score is scored.score
    json.dumps(found)
