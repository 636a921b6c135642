"""The search finds a best formula that is known, keeps its bounds, repeats and resumes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.fusion import FormulaError
from tests.training.tune.worlds import generated, plan_file
from training.tune.errors import TuneError
from training.tune.lists import read_lists
from training.tune.objectives import parse_bound, parse_objective
from training.tune.planned import PlannedFormula
from training.tune.search import Search, Trial, choose, pareto_front


@pytest.fixture(scope="module")
def lists():
    return read_lists(generated())


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return plan_file(tmp_path_factory.mktemp("plan"))


def _search(plan, lists, *maximize, keep=(), only=(), formula=None):
    return Search(
        formula=PlannedFormula.read(plan, formula),
        lists=lists,
        objectives=[parse_objective(text, lists) for text in maximize],
        bounds=[parse_bound(text, lists) for text in keep],
        only=only,
    )


@pytest.mark.parametrize(("a", "b"), [(1.2, 0.4), (0.5, 1.5)])
def test_the_formula_that_made_the_outcomes_is_found(plan, a, b):
    lists = read_lists(generated(lists=2000, a=a, b=b))
    search = _search(plan, lists, "buy.auc")
    found = search.run(80, seed=1)
    # A product's order depends on the ratio of its exponents alone.
    angle = np.arctan2(found.chosen.params["a"], found.chosen.params["b"])
    assert angle == pytest.approx(np.arctan2(a, b), abs=0.08)
    assert found.chosen.objectives[0] > found.control.objectives[0] + 0.01
    best = search.measure(Trial(0, {"a": a, "b": b}, (), (), True), lists).objectives[0]
    assert found.chosen.objectives[0] == pytest.approx(best, abs=1e-3)
    assert found.control.params == {"a": 1, "b": 1}


def test_a_bound_is_kept_though_more_could_be_had_without_it(tmp_path):
    params = {"w": {"value": 0.0, "min": -0.05, "max": 0.05}}
    path = plan_file(tmp_path, "ctr^1.2 * vtr^0.4 * exp(w * videolen_s)", params)
    lists = read_lists(generated(lists=600))
    free = _search(path, lists, "long@3").run(40, seed=1)
    search = _search(path, lists, "long@3", keep=["buy.auc>=0.98"])
    bound = search.run(40, seed=1)
    least = 0.98 * bound.control.bounds[0]
    assert bound.chosen.bounds[0] >= least
    assert all(trial.bounds[0] >= least for trial in bound.front)
    assert any(not trial.feasible for trial in bound.trials)
    assert bound.control.objectives[0] < bound.chosen.objectives[0] < free.chosen.objectives[0]
    assert 0.001 < bound.chosen.params["w"] < free.chosen.params["w"]


def test_the_same_seed_gives_the_same_trials_and_another_seed_others(plan, lists):
    search = _search(plan, lists, "buy.auc", "long@3")
    assert search.run(15, seed=3) == search.run(15, seed=3)
    assert search.run(15, seed=3) != search.run(15, seed=4)


def test_a_stored_search_continues_and_refuses_to_become_another(plan, lists, tmp_path):
    file = tmp_path / "kept" / "trials.log"
    search = _search(plan, lists, "buy.auc")
    told = []
    first = search.run(6, seed=1, storage=file, told=told.append)
    assert told == [0, 1, 2, 3, 4, 5, 6]
    told.clear()
    more = search.run(10, seed=1, storage=file, told=told.append)
    assert told == [6, 7, 8, 9, 10]
    assert more.trials[:6] == first.trials
    assert len({tuple(t.params.values()) for t in more.trials}) == 10
    assert search.run(3, seed=1, storage=file).trials == more.trials
    other = _search(plan, lists, "long@3")
    with pytest.raises(TuneError, match="holds another search of feed/base"):
        other.run(10, seed=1, storage=file)


def test_params_that_are_not_searched_keep_the_plans_value(plan, lists):
    found = _search(plan, lists, "buy.auc", only=["a"]).run(10, seed=1)
    assert all(list(trial.params) == ["a"] for trial in found.trials)
    assert len({trial.params["a"] for trial in found.trials}) == 10
    assert found.chosen.params["a"] > 1.3, "b stays 1"


def test_params_that_do_not_compile_are_passed_over(tmp_path, lists):
    params = {
        "low": {"value": 0.1, "min": 0, "max": 1},
        "high": {"value": 0.9, "min": 0, "max": 1},
    }
    path = plan_file(tmp_path, "clip(ctr, low, high) * vtr", params)
    found = _search(path, lists, "buy.auc").run(20, seed=1)
    assert 1 < len(found.trials) < 20
    assert all(t.params["low"] <= t.params["high"] for t in found.trials)


def test_a_formula_that_the_predictions_do_not_fit_is_refused(tmp_path, lists):
    path = plan_file(tmp_path, "cttr^a * vtr^b")
    with pytest.raises(FormulaError, match="did you mean 'ctr'"):
        _search(path, lists, "buy.auc").run(3, seed=1)


def test_an_objective_that_the_rows_do_not_define_is_refused(plan, lists):
    none = lists.with_label("none", np.zeros(lists.rows))
    with pytest.raises(TuneError, match="not defined under the plan's own params"):
        _search(plan, none, "none.auc").run(3, seed=1)


values = st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=25)


@given(values)
def test_the_front_holds_what_no_other_beats_once(values):
    trials = [Trial(n, {}, tuple(map(float, v)), (), True) for n, v in enumerate(values)]
    found = {t.objectives for t in pareto_front(trials)}

    def beaten(v):
        return any(all(x >= y for x, y in zip(w, v, strict=True)) and w != v for w in values)

    assert found == {tuple(map(float, v)) for v in values if not beaten(v)}
    assert len(found) == len(pareto_front(trials))


def test_the_chosen_one_gains_most_where_it_gains_least():
    control = Trial(0, {}, (1.0, 10.0), (), True)
    front = [
        control,
        replace(control, number=1, objectives=(2.0, 9.0)),
        replace(control, number=2, objectives=(1.2, 11.0)),
        replace(control, number=3, objectives=(1.1, 13.0)),
    ]
    assert choose(front, control).number == 3
    assert choose(front[:2], control).number == 0
