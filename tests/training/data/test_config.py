"""training/data/config.py."""

from typing import Any

import pytest
from pydantic import ValidationError

from training.data.config import (
    ColumnsConfig,
    DataConfig,
    FeatureColumn,
    FeaturesConfig,
    LabelColumn,
)

AGE = {"name": "age", "side": "user", "kind": "numeric"}
CLICK = {"name": "click"}


def columns(**changes: Any) -> ColumnsConfig:
    document = {"user": "u", "item": "i", "features": [AGE], "labels": [CLICK]}
    return ColumnsConfig.model_validate(document | changes)


def test_validation_days_lie_after_training_days() -> None:
    with pytest.raises(ValidationError, match="train days 1:5 reach into the validation days 5:6"):
        DataConfig.model_validate({"reader": "columns", "train": "1:5", "validate": "5:6"})


def test_stripes_are_of_a_log_that_is_not_held_in_memory() -> None:
    document = {"reader": "columns", "train": "1:5", "validate": "6", "stripes": 2}
    with pytest.raises(ValidationError, match="stripes = 2 needs rows_at_once"):
        DataConfig.model_validate(document)
    assert DataConfig.model_validate(document | {"rows_at_once": 10}).stripes == 2


def test_days_are_given_as_ranges() -> None:
    config = DataConfig.model_validate({"reader": "columns", "train": ":5", "validate": "6"})
    assert (config.train_days.last, config.validate_days.first, config.validate_days.last) == (
        5,
        6,
        6,
    )


def test_a_label_column_is_never_an_input() -> None:
    with pytest.raises(ValidationError, match="an outcome is never an input: age reads"):
        columns(labels=[{"name": "old", "column": "age"}])


def test_names_are_used_once() -> None:
    with pytest.raises(ValidationError, match="features named twice: age"):
        columns(features=[AGE, AGE])


def test_spaces_and_labels_refer_to_each_other_by_name() -> None:
    with pytest.raises(ValidationError, match="space paid is where label 'buy' holds"):
        columns(spaces=[{"name": "paid", "label": "buy"}])
    with pytest.raises(ValidationError, match="label click is defined in space 'play'"):
        columns(labels=[CLICK | {"space": "play"}])


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"kind": "bucket"}, "must rise"),
        ({"kind": "bucket", "edges": [2.0, 1.0]}, "must rise"),
        ({"edges": [1.0]}, "for kind 'bucket' only"),
        ({"side": "cross"}, "side 'cross' is for history of pairs"),
        ({"attribute": True}, "only a numeric item feature can be an attribute"),
        ({"default": "x"}, "default 'x' is no number"),
    ],
)
def test_a_feature_column_that_makes_no_sense_is_refused(changes: Any, rule: str) -> None:
    with pytest.raises(ValidationError, match=rule):
        FeatureColumn.model_validate(AGE | changes)


def test_a_label_has_one_rule() -> None:
    with pytest.raises(ValidationError, match="label click: give one of equals, at_least, clip"):
        LabelColumn(name="click", equals="1", at_least=1.0)


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        columns(usr="u")


def test_features_are_excluded_by_name_or_pattern() -> None:
    chosen = FeaturesConfig(exclude=("age", "user_author_*"))
    assert [chosen.excludes(n) for n in ("age", "ages", "user_author_rates")] == [True, False, True]


def test_the_id_features_are_those_that_read_the_id_columns() -> None:
    config = columns(
        features=[{"name": "user_id", "column": "u", "side": "user", "kind": "categorical"}]
    )
    assert (config.user_id_feature, config.item_id_feature) == ("user_id", None)
