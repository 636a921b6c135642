"""training/data/schema.py."""

from typing import Any

import numpy as np
import pytest

from service.contract.features import Attribute, Categorical, MultiValued, Numeric, Sequence
from training.data.config import ColumnsConfig, FeaturesConfig
from training.data.errors import DataError
from training.data.history_config import HistoryConfig
from training.data.log import Log
from training.data.schema import schema_of
from training.data.seen import Seen

MAPPING: dict[str, Any] = {
    "user": "uid",
    "item": "iid",
    "features": [
        {"name": "item_id", "column": "iid", "side": "item", "kind": "categorical"},
        {"name": "tags", "side": "item", "kind": "multi", "max_length": 2},
        {"name": "price", "side": "item", "kind": "numeric", "attribute": True, "unit": "EUR"},
        {"name": "age", "side": "item", "kind": "age_days", "column": "born"},
    ],
    "labels": [{"name": "click"}],
}
RECENT = HistoryConfig.model_validate({"recent": [{"name": "recent_items", "length": 3}]})


def objects(values: list[Any]) -> np.ndarray:
    column = np.empty(len(values), object)
    column[:] = values
    return column


LOG = Log(
    row=np.arange(4),
    day=np.ones(4, np.int32),
    user_id=objects(["u"] * 4),
    item_id=objects(["b", "a", "b", "c"]),
    columns={
        "item": {
            "item_id": objects(["b", "a", "b", "c"]),
            "tags": objects([["x", "y"], None, ["y"], []]),
            "price": np.array([1.0, np.nan, 5.0, 2.0]),
            "age": np.array([3.0, 4.0, 5.0, 6.0]),
        }
    },
    labels={"click": np.ones(4, np.float32)},
    spaces={"impression": np.ones(4, bool)},
)


def schema(history: HistoryConfig | None = None, **chosen: Any) -> Any:
    mapping = ColumnsConfig.model_validate(MAPPING)
    return schema_of(
        Seen.of(LOG, mapping),
        mapping,
        history or HistoryConfig(),
        FeaturesConfig.model_validate(chosen),
    )


def test_vocabularies_list_the_frequent_first_and_equals_in_text_order() -> None:
    assert schema().by_name["item_id"] == Categorical(
        name="item_id", side="item", vocabulary=("b", "a", "c")
    )
    assert schema().by_name["tags"] == MultiValued(
        name="tags", side="item", vocabulary=("y", "x"), max_length=2
    )


def test_rare_values_are_left_to_out_of_vocabulary() -> None:
    assert schema(min_count={"item_id": 2}).by_name["item_id"].vocabulary == ("b",)


def test_the_default_of_a_number_is_the_median() -> None:
    assert schema().by_name["price"] == Numeric(name="price", side="item", default=2.0, unit="EUR")
    assert schema().by_name["age"].unit == "days"


def test_attributes_have_their_observed_range_even_when_they_are_no_input() -> None:
    expected = (Attribute(name="price", unit="EUR", default=2.0, min=1.0, max=5.0),)
    assert schema().attributes == expected
    without = schema(exclude=["price"])
    assert without.attributes == expected
    assert "price" not in without.by_name


def test_recent_items_share_the_ids_of_items() -> None:
    found = schema(RECENT)
    assert found.item_id_feature == "item_id"
    assert found.user_id_feature is None
    assert found.by_name["recent_items"] == Sequence(
        name="recent_items", side="user", shares="item_id", max_length=3
    )


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"exclude": ["prise"]}, "exclude: 'prise' matches no feature"),
        ({"min_count": {"brand": 2}}, "min_count: no feature brand"),
        ({"exclude": ["item_id"]}, "recent_items shares the ids of item_id: exclude both or"),
    ],
)
def test_a_choice_that_means_nothing_is_refused(chosen: dict[str, Any], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        schema(RECENT, **chosen)


def test_a_number_never_seen_needs_a_default() -> None:
    mapping = ColumnsConfig.model_validate(MAPPING)
    empty = Seen.of(LOG.take(np.array([1])), mapping)
    with pytest.raises(DataError, match="feature 'price' has no value in the training rows"):
        schema_of(empty, mapping, HistoryConfig(), FeaturesConfig())
