import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fusion import MissingInput, Scores, compile_formula, order


def test_invalid_candidates_come_last_in_input_order_and_ties_by_input_order():
    values = np.array([np.nan, 1.0, 3.0, np.nan, 1.0, -2.0])
    assert order(Scores(values, np.isfinite(values))).tolist() == [2, 1, 4, 5, 0, 3]


@given(st.lists(st.one_of(st.none(), st.integers(-3, 3))))
def test_order_is_a_stable_sort(scores):
    values = np.array([np.nan if s is None else s for s in scores], np.float64)
    expected = sorted(range(len(scores)), key=lambda i: (scores[i] is None, -(scores[i] or 0)))
    assert order(Scores(values, ~np.isnan(values))).tolist() == expected


def test_no_candidates_have_no_scores():
    for source in ("ctr", "1", "rank(ctr)", "minmax(ctr) + zscore(ctr)", "rank_in"):
        scores = compile_formula(source, heads=("ctr",))({"ctr": np.zeros(0)}, rows=0)
        assert scores.values.shape == scores.valid.shape == (0,)
        assert order(scores).tolist() == []


def test_a_formula_without_candidate_values_scores_every_row():
    scores = compile_formula("context.hour / 2", heads=(), scalars=("context.hour",))(
        {}, {"context.hour": 7}, rows=3
    )
    assert scores.values.tolist() == [3.5, 3.5, 3.5]


def test_a_scalar_that_is_not_finite_makes_every_candidate_invalid():
    formula = compile_formula("1 / user.age", heads=(), scalars=("user.age",))
    for age in (np.nan, np.inf, 0.0):
        assert not formula({}, {"user.age": age}, rows=2).valid.any()


def test_float32_heads_are_widened_before_any_arithmetic():
    ctr = np.array([0.1, 0.3], np.float32)
    scores = compile_formula("ctr * 3", heads=("ctr",))({"ctr": ctr}, rows=2)
    assert scores.values.dtype == np.float64
    assert scores.values.tolist() == [float(ctr[0]) * 3, float(ctr[1]) * 3]


def test_columns_are_left_as_they_were_and_scores_are_their_own():
    ctr = np.array([0.5, np.nan])
    formula = compile_formula("ctr", heads=("ctr",))
    scores = formula({"ctr": ctr}, rows=2)
    scores.values[0] = 9
    assert ctr[0] == 0.5
    assert formula({"ctr": ctr}, rows=2).values[0] == 0.5


def test_nothing_is_defaulted_at_a_call():
    formula = compile_formula("ctr * context.hour", heads=("ctr", "cvr"), scalars=("context.hour",))
    with pytest.raises(MissingInput, match="the formula uses 'ctr'; given are: cvr"):
        formula({"cvr": [1.0]}, {"context.hour": 1.0}, rows=1)
    with pytest.raises(MissingInput, match=r"the formula uses 'context\.hour'; given are: "):
        formula({"ctr": [1.0]}, rows=1)
    with pytest.raises(ValueError, match=r"column 'ctr' has shape \(2,\); expected \(1,\)"):
        formula({"ctr": [1.0, 2.0]}, {"context.hour": 1.0}, rows=1)


def test_columns_a_formula_does_not_use_are_not_looked_at():
    formula = compile_formula("ctr", heads=("ctr", "cvr"))
    assert formula({"ctr": [1.0], "cvr": "nonsense"}, rows=1).valid.all()
