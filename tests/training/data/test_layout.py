"""training/data/layout.py."""

import pytest

from service.contract.features import Lookup, Numeric
from training.data.config import ColumnsConfig, FeatureColumn, FeaturesConfig, LabelColumn
from training.data.errors import DataError
from training.data.history_config import HistoryConfig, Outcome, RateTable
from training.data.layout import Own, Pair, place, place_all

MAPPING = ColumnsConfig(
    user="user_id",
    item="item_id",
    features=(
        FeatureColumn(name="user_id", side="user", kind="categorical"),
        FeatureColumn(name="age", side="user", kind="numeric"),
        FeatureColumn(name="item_id", side="item", kind="categorical"),
        FeatureColumn(name="author_id", side="item", kind="categorical"),
        FeatureColumn(name="tags", side="item", kind="multi"),
        FeatureColumn(name="tab", side="context", kind="categorical"),
    ),
    labels=(LabelColumn(name="click"),),
)
HISTORY = HistoryConfig(outcomes=(Outcome(label="click", prior=0.4),))


def placed(*by: str) -> Own | Pair:
    return place(RateTable(by=by), MAPPING, HISTORY)


def test_rates_of_one_key_are_numbers_of_its_side() -> None:
    found = placed("author_id")
    assert isinstance(found, Own)
    assert found.features == (
        Numeric(name="author_click_rate", side="item", default=0.4, unit="mean"),
        Numeric(name="author_impressions", side="item", default=0.0, unit="log1p(impressions)"),
    )


@pytest.mark.parametrize(
    ("by", "source", "source_side", "key", "side"),
    [
        (("user_id", "author_id"), "user_author", "user", "author_id", "cross"),
        (("author_id", "user_id"), "author_user", "user", "author_id", "cross"),
        (("user_id", "tags"), "user_tags", "user", "tags", "cross"),
        (("user_id", "tab"), "user_tab", "user", "tab", "context"),
        (("item_id", "tab"), "item_tab", "item", "tab", "cross"),
    ],
)
def test_rates_of_a_pair_are_a_map_that_the_other_side_looks_up(
    by: tuple[str, str], source: str, source_side: str, key: str, side: str
) -> None:
    found = placed(*by)
    assert isinstance(found, Pair)
    assert found.lookup == Lookup.model_validate(
        {
            "name": f"{source}_rates",
            "side": side,
            "source": source,
            "source_side": source_side,
            "key": key,
            "key_side": "context" if key == "tab" else "item",
            "columns": ("click_rate", "impressions"),
            "default": (0.4, 0.0),
        }
    )


@pytest.mark.parametrize(
    ("by", "sentence"),
    [
        (("brand",), "history by brand: 'brand' is no feature"),
        (("age",), "history by age: 'age' is numeric; only sets of values have rates"),
        (("tab",), "history by tab: context has nobody to carry it"),
        (("item_id", "author_id"), "item x item has nobody to carry it"),
        (("tags", "tab"), "'tags' is a list; a list can only be looked up"),
    ],
)
def test_what_no_record_can_carry_is_refused(by: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        placed(*by)


def test_a_table_none_of_whose_features_is_chosen_is_not_counted() -> None:
    history = HISTORY.model_copy(
        update={"rates": (RateTable(by=("user_id",)), RateTable(by=("user_id", "tab")))}
    )
    chosen = FeaturesConfig(exclude=("user_tab_*",))
    assert [type(p) for p in place_all(MAPPING, history, chosen)] == [Own]
