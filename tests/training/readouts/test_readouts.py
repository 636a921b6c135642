"""The collection: which readout a task gets, and where a duration is found."""

import pytest
import torch

from service.contract.features import Categorical, FeatureSchema, Lookup, Numeric
from training.config.task import Task
from training.data.errors import DataError
from training.readouts.odds import Odds
from training.readouts.ordinal import Ordinal
from training.readouts.probability import Probability
from training.readouts.quantile import Quantile
from training.readouts.readouts import build_readouts

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="item_id", side="item", vocabulary=("x", "y")),
        Numeric(name="age", side="user", default=0),
        Lookup(
            name="by_tab",
            side="cross",
            source="tabs",
            source_side="item",
            key="tab",
            key_side="context",
            columns=("a", "b"),
            default=(0, 0),
        ),
        Numeric(name="price", side="item", default=0),
        Numeric(name="videolen_s", side="item", default=0),
    )
)


def _watch(name, **watch):
    return Task(
        name=name, label="watch_s", kind="regression", unit="s", watch=watch, meaning="seconds"
    )


def _quantile(duration):
    return _watch("q", kind="quantile", duration=duration, groups=4)


def test_every_task_with_a_tower_has_the_readout_it_is_configured_for():
    tasks = (
        Task(name="apply", label="click", meaning="also a method of modules"),
        _watch("odds", kind="odds", negatives="zero"),
        _watch("ladder", kind="ordinal", bins=5),
        _quantile("videolen_s"),
        Task(name="both", label="click", product=("apply", "ladder"), loss="none", meaning="x"),
    )
    readouts = build_readouts(tasks, SCHEMA)
    assert readouts.names == ("apply", "odds", "ladder", "q")
    kinds = [type(readouts[name]) for name in readouts.names]
    assert kinds == [Probability, Odds, Ordinal, Quantile]
    assert readouts["odds"].negatives == "zero"
    assert readouts["ladder"].outputs == tasks[2].outputs == 5
    assert (readouts["q"].block, readouts["q"].column) == ("item_values", 1)


@pytest.mark.parametrize("name", ["videolen", "item_id", "by_tab"])
def test_a_duration_that_is_no_number_of_the_model_is_said(name):
    message = rf"the duration '{name}' is no numeric feature of the model \(age, price, videolen_s"
    with pytest.raises(DataError, match=message):
        build_readouts([_quantile(name)], SCHEMA)


def test_readouts_are_fitted_to_the_rows_of_their_sample_space():
    tasks = (_watch("odds", kind="odds"), Task(name="ctr", label="click"))
    readouts = build_readouts(tasks)
    labels = torch.tensor([[3.0, 1.0], [900.0, 0.0], [5.0, 0.0]])
    spaces = torch.tensor([[True, True], [False, True], [True, False]])
    start = readouts.fit(tasks, {}, labels, spaces)
    assert readouts["odds"].top == 5
    assert abs(start["odds"].exp().item() - 8.5 / 3) < 1e-5
    assert torch.sigmoid(start["ctr"]).item() == pytest.approx(0.5)
