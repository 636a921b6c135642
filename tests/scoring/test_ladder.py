"""A request gets the first rung of its plan's ladder that there is time for."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pytest

from service.scoring.cost import CostModel
from service.scoring.ladder import Choice, choose, rungs
from tests.clock import Clock


@dataclass(frozen=True)
class Step:
    step: str
    least: int = 100


@dataclass(frozen=True)
class Treated:
    model: str
    lighter: tuple[Any, ...] = ()


LIGHT = Treated("light/1")
HEAVY = Treated("heavy/1", (LIGHT,))
FEWER, MODEL, INPUT = Step("fewer"), Step("model"), Step("input_order")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def costs(clock: Clock) -> CostModel:
    """20 µs a candidate for the heavy model, 2 µs for the light one."""
    costs = CostModel(clock)
    for rows in [100, 300, 500] * 50:
        costs.observe("heavy/1", rows, {"encode": 0.0, "infer": 0.020 * rows, "fuse": 0.0})
        costs.observe("light/1", rows, {"encode": 0.0, "infer": 0.002 * rows, "fuse": 0.0})
    return costs


def chosen(
    costs: CostModel, ladder: list[Step], ms: float, rows: int = 500, **given: Any
) -> Choice | None:
    known: dict[str, Any] = {"idle": False, "may_cut": True, "is_loaded": lambda _: True}
    return choose(ladder, HEAVY, rows, seconds=ms / 1000, costs=costs, **(known | given))


def test_all_of_it_where_there_is_time(costs: CostModel) -> None:
    choice = chosen(costs, [FEWER, MODEL, INPUT], 11)
    assert choice is not None
    assert (choice.treatment, choice.rows) == (HEAVY, 500)
    assert choice.work_s == pytest.approx(0.010, rel=0.05)


def test_as_many_candidates_as_fit(costs: CostModel) -> None:
    choice = chosen(costs, [FEWER, MODEL, INPUT], 6)
    assert choice is not None
    assert choice.treatment is HEAVY
    assert 250 <= choice.rows <= 300


def test_lighter_model_where_even_the_fewest_do_not_fit(costs: CostModel) -> None:
    choice = chosen(costs, [FEWER, MODEL, INPUT], 1.5)
    assert choice is not None
    assert (choice.treatment, choice.rows) == (LIGHT, 500)


def test_fewer_candidates_under_the_lighter_model_are_the_last_rung(costs: CostModel) -> None:
    choice = chosen(costs, [FEWER, MODEL, INPUT], 0.5)
    assert choice is not None
    assert choice.treatment is LIGHT
    assert 100 <= choice.rows < 300


def test_steps_are_tried_in_the_plans_order(costs: CostModel) -> None:
    choice = chosen(costs, [MODEL, FEWER, INPUT], 6)
    assert choice is not None
    assert (choice.treatment, choice.rows) == (LIGHT, 500)


def test_nothing_is_run_that_does_not_fit(costs: CostModel) -> None:
    assert chosen(costs, [FEWER, MODEL, INPUT], 0.1) is None
    assert chosen(costs, [FEWER, INPUT], 1.5) is None
    assert chosen(costs, [INPUT], 6) is None
    assert chosen(costs, [], 6) is None
    assert chosen(costs, [FEWER], -5) is None


def test_request_of_fewer_than_the_least_is_all_or_nothing(costs: CostModel) -> None:
    assert chosen(costs, [FEWER, INPUT], 0.5, rows=60) is None
    choice = chosen(costs, [FEWER, INPUT], 2, rows=60)
    assert choice is not None
    assert choice.rows == 60


def test_request_that_may_not_be_cut_skips_to_the_lighter_model(costs: CostModel) -> None:
    choice = chosen(costs, [FEWER, MODEL, INPUT], 6, may_cut=False)
    assert choice is not None
    assert (choice.treatment, choice.rows) == (LIGHT, 500)


def test_lighter_model_that_is_not_loaded_is_no_rung(costs: CostModel) -> None:
    assert chosen(costs, [MODEL, INPUT], 6, is_loaded=lambda id_: id_ == "heavy/1") is None


def test_treatment_that_has_the_lighter_model_already_keeps_it() -> None:
    treatment = Treated("light/1", (None,))
    found = [(r.treatment, r.least) for r in rungs([FEWER, MODEL, INPUT], treatment)]
    assert {t for t, _ in found} == {treatment}


def test_prediction_that_nothing_confirms_is_tried_again_once_the_service_is_idle(
    costs: CostModel, clock: Clock
) -> None:
    assert chosen(costs, [INPUT], 4, idle=True) is None
    clock.now += 1.0
    assert chosen(costs, [INPUT], 4, idle=False) is None
    choice = chosen(costs, [INPUT], 4, idle=True)
    assert choice is not None
    assert choice.is_trial
    assert not chosen(costs, [INPUT], 11, idle=True).is_trial


def test_a_size_that_never_ran_is_tried_once_beside_small_requests(clock: Clock) -> None:
    costs = CostModel(clock)

    def small() -> None:
        for _ in range(20):
            clock.now += 0.1
            costs.observe("heavy/1", 3, {"encode": 0.0, "infer": 6.0, "fuse": 0.0})

    small()
    choice = chosen(costs, [INPUT], 4, idle=True)
    assert choice is not None
    assert choice.is_trial
    costs.observe_stopped("heavy/1", 500, 0.004)
    small()
    assert chosen(costs, [INPUT], 4, idle=True) is None


@pytest.mark.parametrize("every_s", [0.02, 1.0])
@pytest.mark.parametrize(
    ("ladder", "meanwhile"),
    [([INPUT], None), ([FEWER, INPUT], "heavy/1"), ([MODEL, INPUT], "light/1")],
)
def test_large_requests_alone_are_seldom_tried_in_vain(
    clock: Clock, ladder: list[Step], meanwhile: str | None, every_s: float
) -> None:
    """Nothing but 500 candidates come, of 1.5 ms each under the heavy model; 600 ms are left."""
    costs = CostModel(clock)
    late_at: list[float] = []
    served: set[str | None] = set()
    while clock.now < 1120:
        clock.now += every_s
        choice = chosen(costs, ladder, 600, idle=True)
        if choice is None:
            served.add(None)
            continue
        work_s = choice.rows * (0.0015 if choice.treatment is HEAVY else 1e-5)
        model = choice.treatment.model
        if work_s > 0.6:
            late_at.append(clock.now)
            costs.observe_stopped(model, choice.rows, 0.61, is_trial=choice.is_trial)
        else:
            served.add(model)
            costs.observe(model, choice.rows, {"infer": work_s * 1000})
    assert served == {meanwhile}
    assert len(late_at) <= 20
    gaps_s = [later - sooner for sooner, later in pairwise(late_at)]
    assert all(8 < gap_s < 10 for gap_s in gaps_s[-8:]), gaps_s


def test_size_that_fits_again_is_tried_and_then_runs(clock: Clock, costs: CostModel) -> None:
    while clock.now < 1060:
        clock.now += 0.1
        choice = chosen(costs, [INPUT], 4, idle=True)
        if choice is not None:
            assert choice.is_trial
            costs.observe_stopped("heavy/1", 500, 0.005, is_trial=True)
    while (choice := chosen(costs, [INPUT], 4, idle=True)) is None or choice.is_trial:
        clock.now += 0.1
        if choice is not None:
            costs.observe("heavy/1", 500, {"encode": 0.0, "infer": 1.0, "fuse": 0.0})
    assert clock.now < 1080
