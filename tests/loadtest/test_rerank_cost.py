import json

import pytest

from loadtest import rerank_cost
from service.experiment.reranking import Rerank
from service.rerank.rerank import rerank


@pytest.mark.parametrize("name", rerank_cost.RULES)
def test_every_case_is_a_list_that_the_rules_change(name):
    rules = Rerank.model_validate_json(json.dumps(rerank_cost.RULES[name]))
    given = rerank_cost.candidates(200, 20)
    assert rerank(rules, given).order.tolist() != given.order.tolist()
    assert set(rerank_cost.measured_us(rules, given, 1)) == {"least_us", "median_us"}
