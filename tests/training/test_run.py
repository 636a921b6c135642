"""A whole run on a generated log: what is published, what is left behind, what a refit changes."""

import numpy as np
import polars as pl
import pytest

from service.contract.repository import Repository
from service.scoring.package import load_package
from tests.training.tiny import FIRST, LAST, quiet, tiny_config
from training.checkpoint import CheckpointError
from training.config.file import parse_config
from training.export import ExportError
from training.learn import Places, learn
from training.reading import reader_for
from training.run import run


@pytest.fixture(scope="module")
def model(tiny):
    return load_package(Repository(tiny[0]), "tiny", 1)


def test_a_run_publishes_a_package_that_proves_itself_and_becomes_champion(tiny, model):
    models, published = tiny
    assert (published.name, published.version) == ("tiny", 1)
    assert Repository(models).read_aliases("tiny") == {"champion": 1}
    assert model.manifest.head_names == ("ctr", "cvr", "ctcvr", "vcr")


def test_a_finished_run_leaves_no_checkpoint(tiny):
    assert not list((tiny[0].parent / "runs").rglob("*.safetensors"))


def test_the_manifest_names_metrics_by_head_and_space(model):
    metrics = model.manifest.training.metrics
    wanted = {"ctr.auc[impression]", "cvr.auc[click]", "ctcvr.gauc[impression]", "vcr.mse[play]"}
    assert wanted | {"ctr.ratio[impression, tab=1]", "vcr.xauc[play]"} <= metrics.keys()
    assert model.manifest.training.data_days == (FIRST, 20260104)
    assert model.manifest.training.rows == 1000


def test_golden_rows_replay_lookups_from_maps(model):
    row = model.golden.raw[0]
    assert isinstance(row["user"]["features"]["user_category"], dict)
    assert "user_category_rates" not in row["user"]["features"]
    assert row["context"].keys() == {"tab", "hour"}
    assert len(model.golden.raw) == 32


def test_heads_have_rising_quantiles_and_attributes_their_observed_range(model):
    for head in model.manifest.heads:
        values = [value for _, value in head.quantiles]
        assert values == sorted(values)
        assert 0 <= values[0] < values[-1] <= 1
    attributes = {a.name: a for a in model.schema.attributes}
    assert attributes.keys() == {"videolen_s", "price"}
    assert 0 < attributes["price"].min < attributes["price"].max


def test_the_card_tells_people_what_the_manifest_tells_programs(tiny):
    card = (tiny[0] / "tiny" / "1" / "MODEL_CARD.md").read_text()
    assert "| `ctcvr` | P(click and conversion \\| impression) = ctr * cvr | impression |" in card
    assert "Trained on 1,000 impressions of 20260101 to 20260104" in card
    assert "| `vcr` | play |" in card


def test_a_refit_learns_from_all_days_and_keeps_the_metrics_of_the_search(tiny, tiny_log, tmp_path):
    config = tiny_config(refit=True)
    places = Places(data=tiny_log, models=tmp_path / "models", runs=tmp_path / "runs")
    learned = learn(config, reader_for(config), places, quiet())
    assert learned.days == (FIRST, LAST)
    assert learned.rows == 1500
    assert learned.metrics == tiny[1].metrics


def test_export_without_a_checkpoint_says_so(tiny_log, tmp_path):
    places = Places(data=tiny_log, models=tmp_path / "models", runs=tmp_path / "runs")
    with pytest.raises(CheckpointError, match=r"search\.safetensors holds no finished epoch yet"):
        run(tiny_config(), places, quiet(), train_further=False)
    assert not (tmp_path / "models").exists()


def test_what_serving_could_not_replay_stops_a_run_before_its_first_step(tmp_path):
    rows = np.arange(60)
    pl.DataFrame(
        {
            "user": rows % 3,
            "item": rows % 5,
            "day": 1 + rows // 20,
            "price": rows,
            "click": rows % 2,
        }
    ).with_columns(pl.date(2026, 1, pl.col("day")).alias("day")).write_csv(tmp_path / "log.csv")
    columns = {
        "user": "user",
        "item": "item",
        "day": "day",
        "features": [{"name": "price", "side": "item", "kind": "numeric"}],
        "labels": [{"name": "click"}],
    }
    days = {"train": "20260101:20260102", "validate": "20260103"}
    config = parse_config(
        {
            "data": {"reader": "columns", **days},
            "columns": columns,
            "model": {"trunk": {"kind": "shared-bottom", "hidden": [4]}, "towers": [4]},
            "tasks": [{"name": "ctr", "label": "click"}],
        },
        name="moving",
        source="tests",
    )
    places = Places(data=tmp_path, models=tmp_path / "models", runs=tmp_path / "runs")
    with pytest.raises(ExportError) as refused:
        run(config, places, quiet())
    assert str(refused.value) == (
        "log.csv, row 40: training saw 'price' of '0' as 40, serving encodes 55 (item_values[0]);"
        " a feature of a user or an item has one value on a day, here 20260103"
    )
    assert not (tmp_path / "runs").exists()
