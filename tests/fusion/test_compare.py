import math

import numpy as np
import pytest

from service.fusion import compile_formula
from service.fusion.compare import compare

HEADS = ("ctr", "vcr")


def compared(source, pair, params=None, **heads):
    formula = compile_formula(source, params=params, heads=HEADS)
    columns = {name: np.array(values) for name, values in heads.items()}
    rows = len(heads["ctr"])
    told = formula.explain(columns, rows=rows)
    bounds = dict.fromkeys(params or {}, (0.0, 5.0))
    both = told[pair[0]], told[pair[1]]
    return compare(formula, columns, {}, rows, pair, both, params or {}, bounds)


def test_the_terms_that_decide_come_first_and_add_up_to_the_lead():
    found = compared("ctr^a * (1 + vcr)", (1, 0), {"a": 1.0}, ctr=[0.5, 0.2], vcr=[0.2, 0.6])
    assert (found.above, found.below, found.mode) == (0, 1, "product")
    assert [term.text for term in found.terms] == ["ctr ^ a", "1 + vcr"]
    assert [term.gap for term in found.terms] == pytest.approx([math.log(2.5), math.log(1.2 / 1.6)])
    assert found.lead == pytest.approx(math.log(0.6 / 0.32))
    assert found.terms[0].share > 0 > found.terms[1].share
    assert sum(abs(term.share) for term in found.terms) == pytest.approx(1.0)
    assert [flip.param for flip in found.flips] == ["a"]


def test_equal_scores_keep_their_input_order():
    found = compared("ctr + vcr", (1, 0), ctr=[0.5, 0.25], vcr=[0.25, 0.5])
    assert (found.above, found.below, found.lead) == (0, 1, 0.0)
    assert [term.share for term in found.terms] == [0.5, -0.5]
    found = compared("ctr + vcr", (1, 0), ctr=[0.5, 0.5], vcr=[0.25, 0.25])
    assert [term.share for term in found.terms] == [None, None]


def test_terms_that_nearly_cancel_have_shares_that_can_be_read():
    found = compared("ctr + vcr", (0, 1), ctr=[0.5, 0.25], vcr=[0.25, 0.49])
    assert found.lead == pytest.approx(0.01)
    assert [term.share for term in found.terms] == pytest.approx([0.25 / 0.49, -0.24 / 0.49])


def test_who_has_no_score_is_below_and_it_says_why():
    found = compared("log(ctr)", (0, 1), ctr=[0.0, 0.5], vcr=[0.0, 0.0])
    assert (found.above, found.below, found.lead) == (1, 0, None)
    assert found.note == "the one below has no score: invalid: not finite: log(ctr)"
    neither = compared("log(ctr)", (1, 0), ctr=[0.0, 0.0], vcr=[0.0, 0.0])
    assert (neither.above, neither.below) == (0, 1)
    assert neither.note.startswith("neither has a score: ")


def test_scores_that_are_not_positive_are_compared_by_values():
    found = compared("ctr * vcr", (0, 1), ctr=[0.5, 0.0], vcr=[0.5, 0.5])
    assert found.lead == 0.25
    assert [term.gap for term in found.terms] == [None, None]
    assert found.note == "a score that is not positive has no log shares: values only"
