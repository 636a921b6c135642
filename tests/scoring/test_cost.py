"""Costs are learned as a fixed part and a part per row, and outliers cannot spoil them."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.scoring.cost import UNMEASURED_S, CostModel, Estimate
from tests.clock import Clock


def learned(a: float, b: float, rows: list[int]) -> Estimate:
    estimate = Estimate()
    for n in rows:
        estimate.observe(n, a + b * n)
    return estimate


def test_fixed_part_and_rows_are_told_apart_when_rows_vary() -> None:
    draw = np.random.default_rng(0)
    estimate = learned(0.002, 20e-6, draw.integers(50, 1000, 300).tolist())
    for rows in (50, 300, 1000):
        assert estimate.mean(rows) == pytest.approx(0.002 + 20e-6 * rows, rel=0.1)


def test_time_grows_from_nothing_while_every_request_has_as_many_rows() -> None:
    estimate = learned(0.0, 20e-6, [500] * 50)
    assert estimate.mean(500) == pytest.approx(0.010)
    assert estimate.mean(100) == pytest.approx(0.002)


@given(
    st.lists(
        st.tuples(st.integers(1, 2000), st.floats(0, 10, allow_nan=False)), min_size=1, max_size=40
    )
)
def test_prediction_is_never_negative_and_never_falls_with_rows(runs: list) -> None:
    estimate = Estimate(20e-6)
    for rows, seconds in runs:
        estimate.observe(rows, seconds)
    found = [estimate.mean(rows) for rows in (1, 10, 100, 1000, 2000)]
    assert found[0] >= -1e-9
    assert all(more >= less - 1e-9 for less, more in pairwise(found))


def test_one_stall_moves_the_prediction_by_a_bounded_factor() -> None:
    estimate = learned(0.0, 20e-6, [500] * 50)
    estimate.observe(500, 60.0)
    assert estimate.mean(500) < 0.015


def test_slower_machine_is_noticed_and_so_is_its_recovery() -> None:
    estimate = learned(0.0, 20e-6, [500] * 50)
    for _ in range(60):
        estimate.observe(500, 0.100)
    assert estimate.mean(500) == pytest.approx(0.100, rel=0.05)
    for _ in range(60):
        estimate.observe(500, 0.010)
    assert estimate.mean(500) == pytest.approx(0.010, rel=0.05)


def test_model_that_was_never_measured_has_a_usual_cost() -> None:
    cost = CostModel(Clock()).work("new/1", 500)
    assert cost.mean == pytest.approx(500 * sum(UNMEASURED_S.values()))


def test_work_is_what_a_thread_is_busy_with_so_waiting_for_features_is_not_in_it() -> None:
    costs = CostModel(Clock())
    stages = {"features": 50.0, "encode": 2.0, "infer": 7.0, "fuse": 1.0, "queue": 80.0}
    costs.observe("m/1", 500, stages)
    assert costs.work("m/1", 500).mean == pytest.approx(0.010)
    assert costs.stage("m/1", "features", 500) == pytest.approx(0.050)


def test_models_are_learned_apart() -> None:
    costs = CostModel(Clock())
    costs.observe("m/1", 500, {"infer": 30.0})
    costs.observe("m/2", 500, {"infer": 3.0})
    assert costs.stage("m/1", "infer", 500) == pytest.approx(0.030)
    assert costs.stage("m/2", "infer", 500) == pytest.approx(0.003)
    assert set(costs.predictions(500)) == {"m/1", "m/2"}


def test_high_prediction_lies_above_the_mean_by_how_much_runs_differ() -> None:
    costs = CostModel(Clock())
    for n in range(200):
        costs.observe("m/1", 500, {"encode": 1.0, "infer": 10.0 + 4 * (n % 2), "fuse": 0.1})
    cost = costs.work("m/1", 500)
    assert cost.mean == pytest.approx(0.0131, rel=0.1)
    assert cost.high - cost.mean == pytest.approx(2 * 0.002, rel=0.3)


def test_most_rows_is_the_largest_number_that_fits() -> None:
    costs = CostModel(Clock())
    for rows in [100, 500, 900] * 100:
        costs.observe("m/1", rows, {"encode": 0.0, "infer": 2 + 0.02 * rows, "fuse": 0.0})
    fits = costs.most_rows("m/1", 0.008, 1000)
    assert 200 < fits < 320
    assert costs.work("m/1", fits).high <= 0.008 < costs.work("m/1", fits + 1).high
    assert costs.most_rows("m/1", 1.0, 1000) == 1000
    assert costs.most_rows("m/1", 0.0, 1000) == 0


def test_work_that_was_stopped_takes_at_least_as_long_as_it_ran() -> None:
    costs = CostModel(Clock())
    for _ in range(20):
        costs.observe("m/1", 500, {"encode": 1.0, "infer": 10.0, "fuse": 0.0})
    before = costs.work("m/1", 500).mean
    costs.observe_stopped("m/1", 500, 0.004)  # says nothing
    assert costs.work("m/1", 500).mean == before
    costs.observe_stopped("m/1", 500, 0.030)
    assert costs.work("m/1", 500).mean > before


@pytest.mark.parametrize("few", [1, 3, 20])
def test_requests_of_a_few_rows_do_not_make_large_ones_look_slow(few: int) -> None:
    draw = np.random.default_rng(few)
    estimate = Estimate(20e-6)
    for _ in range(200):
        estimate.observe(few + int(draw.integers(0, 3)), 0.002 + draw.exponential(0.0005))
        assert estimate.mean(500) < 0.030


def test_what_a_row_takes_is_kept_while_all_requests_are_small() -> None:
    estimate = learned(0.001, 100e-6, [3, 500] * 20 + [3] * 1_000)
    assert estimate.mean(3) == pytest.approx(0.0013, rel=0.05)
    assert estimate.mean(500) == pytest.approx(0.051, rel=0.15)


def test_how_long_nothing_of_a_size_was_measured_is_known() -> None:
    clock = Clock()
    costs = CostModel(clock)
    assert costs.unmeasured_s("m/1", 500) == 0.0
    costs.observe("m/1", 3, {"infer": 3.0})
    clock.now += 2.5
    costs.observe("m/1", 3, {"infer": 3.0})
    assert costs.unmeasured_s("m/1", 3) == 0.0
    assert costs.unmeasured_s("m/1", 500) == 2.5
    costs.observe("m/1", 300, {"infer": 3.0})
    assert costs.unmeasured_s("m/1", 500) == costs.unmeasured_s("m/1", 3) == 0.0


def stop_trial(costs: CostModel, rows: int) -> None:
    costs.observe_stopped("m/1", rows, 0.040, is_trial=True)


def left_s(clock: Clock, costs: CostModel, rows: int) -> float:
    """How long no size of `rows` is tried from now on."""
    now, clock.now = clock.now, clock.now + 1000
    pause_s = 1000 - costs.unmeasured_s("m/1", rows)
    clock.now = now
    return pause_s


def test_pause_doubles_with_each_stopped_trial_up_to_some_seconds() -> None:
    clock = Clock()
    costs = CostModel(clock)
    costs.observe("m/1", 500, {"infer": 60.0})
    pauses_s = []
    for _ in range(7):
        stop_trial(costs, 500)
        pauses_s.append(left_s(clock, costs, 500))
        clock.now += pauses_s[-1]
        assert costs.unmeasured_s("m/1", 500) == 0.0
    assert pauses_s == [0.5, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0]


def test_work_that_was_no_trial_begins_no_pause() -> None:
    clock = Clock()
    costs = CostModel(clock)
    costs.observe_stopped("m/1", 500, 0.040)
    assert left_s(clock, costs, 500) == 0.0


def test_pause_ends_with_a_run_of_as_many_rows() -> None:
    clock = Clock()
    costs = CostModel(clock)
    for _ in range(4):
        stop_trial(costs, 400)
    costs.observe("m/1", 300, {"infer": 3.0})
    assert left_s(clock, costs, 500) == 4.0, "of the same class, and smaller: `fewer` got it"
    costs.observe_stopped("m/1", 400, 60.0)
    assert costs.work("m/1", 400).mean > 1.0
    assert left_s(clock, costs, 500) == 4.0, "it did not run to its end"
    costs.observe("m/1", 400, {"infer": 60.0})
    assert left_s(clock, costs, 500) == 0.0
    stop_trial(costs, 500)
    assert left_s(clock, costs, 500) == 0.5


def test_pause_is_for_as_many_rows_and_more_of_that_model() -> None:
    clock = Clock()
    costs = CostModel(clock)
    stop_trial(costs, 500)
    costs.observe("m/2", 500, {"infer": 3.0})
    found = {rows: left_s(clock, costs, rows) for rows in (3, 100, 300, 1000)}
    assert found == {3: 0.0, 100: 0.0, 300: 0.5, 1000: 0.5}
    clock.now += 0.25
    assert costs.unmeasured_s("m/2", 500) == 0.25


def test_models_that_come_and_go_do_not_pile_up() -> None:
    costs = CostModel(Clock())
    for version in range(1000):
        costs.observe(f"m/{version}", 10, {"infer": 1.0})
        costs.observe_stopped(f"m/{version}", 20, 0.5, is_trial=True)
    assert len(costs.predictions(10)) == len(costs._pauses) == 64
