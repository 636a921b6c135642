"""training/data/assemble.py."""

import numpy as np
import polars as pl

from training.data.assemble import assemble, raw_column
from training.data.config import ColumnsConfig, FeatureColumn
from training.data.tables import DAY, ID, ITEM, ORDER, ROW, USER, Source, Table, Tables

MAPPING = ColumnsConfig.model_validate(
    {
        "user": "uid",
        "item": "iid",
        "features": [
            {"name": "user_id", "column": "uid", "side": "user", "kind": "categorical"},
            {"name": "city", "side": "user", "kind": "categorical"},
            {"name": "price", "side": "item", "kind": "numeric"},
        ],
        "labels": [{"name": "click"}, {"name": "play", "space": "click"}],
        "spaces": [
            {"name": "click", "label": "click"},
            {"name": "known", "label": "play", "rule": "defined"},
        ],
    }
)


def tables() -> Tables:
    log = pl.DataFrame(
        {
            ROW: [0, 1, 2],
            DAY: [1, 1, 2],
            USER: ["u", "v", "w"],
            ITEM: ["i", "i", "j"],
            ORDER: [0, 1, 2],
            "click": [1, 0, 1],
            "play": [0.5, 0.7, None],
            "price": [1.0, 2.0, 3.0],
        }
    )
    users = pl.DataFrame({ID: ["v", "u"], "city": ["rome", "oslo"]})
    return Tables(
        log=Table(Source((("log", 3),)), log), users=Table(Source((("users", 2),)), users)
    )


def test_side_tables_join_and_rows_keep_their_order() -> None:
    frame = assemble(tables(), MAPPING).frame
    assert frame["city"].to_list() == ["oslo", "rome", None]
    assert frame["user_id"].to_list() == ["u", "v", "w"]
    assert frame["price"].to_list() == [1.0, 2.0, 3.0]


def test_a_label_is_undefined_outside_its_space() -> None:
    found = assemble(tables(), MAPPING)
    np.testing.assert_equal(found.labels["play"], [0.5, np.nan, np.nan])
    assert found.spaces["known"].tolist() == [True, True, False]
    assert found.positive("play").tolist() == [True, False, False]


def test_an_age_is_counted_to_the_rows_day() -> None:
    born = pl.Series(["2022-04-10", None]).str.to_date()
    feature = FeatureColumn(name="age", side="item", kind="age_days")
    ages = raw_column(feature, born, pl.Series([20220503, 20220503]))
    np.testing.assert_equal(ages, [23.0, np.nan])
