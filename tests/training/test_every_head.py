"""One run with every kind of head: published, proved against ONNX Runtime, described."""

import shutil

import numpy as np
import polars as pl
import pytest
import torch

from service.contract.encode import encode_rows
from service.contract.repository import Repository
from service.scoring.package import load_package
from tests.training.tiny import quiet, tiny_config
from training.config.file import parse_config, to_document
from training.learn import Places, learn, predict_heads
from training.publish import publish
from training.reading import reader_for
from training.run import finish


def _watch(name, **watch):
    return {
        "name": name,
        "label": "watch_s",
        "space": "play",
        "kind": "regression",
        "unit": "s",
        "meaning": "E[seconds | play]",
        "weight": 0.05,
        "watch": watch,
    }


TASKS = [
    {"name": "ctr", "label": "click", "calibrate": "platt"},
    {"name": "vtr", "label": "long_view", "calibrate": "isotonic", "negative_rate": 0.5},
    {
        "name": "cvr",
        "label": "buy",
        "space": "click",
        "debias": {"kind": "dr", "propensity": "ctr"},
        "calibrate": "platt",
    },
    {"name": "ctcvr", "label": "buy", "product": ["ctr", "cvr"]},
    _watch("odds", kind="odds"),
    _watch("ladder", kind="ordinal", bins=6),
    {
        "name": "seconds",
        "label": "watch_s",
        "product": ["ctr", "ladder"],
        "loss": "none",
        "kind": "regression",
        "unit": "s",
        "meaning": "seconds of a click",
    },
    {"name": "stays", "label": "long_view", "beside": "ctr"},
]
UNSURE = {"balance": {"kind": "uncertainty"}}
RANKED = _watch("ranked", kind="quantile", duration="videolen_s", groups=4)


@pytest.fixture(scope="module")
def watched_log(tiny_log, tmp_path_factory):
    """The tiny log with the seconds that were watched of every video that was played."""
    directory = tmp_path_factory.mktemp("watched")
    for file in tiny_log.iterdir():
        shutil.copy(file, directory)
    log = pl.read_csv(directory / "log.csv")
    length = pl.read_csv(directory / "items.csv").select("item_id", length="videolen_s")
    log = log.join(length, on="item_id", how="left", maintain_order="left")
    log = log.with_columns(watch_s=pl.col("completion") * pl.col("length")).drop("length")
    log.write_csv(directory / "log.csv")
    return directory


def _config(*more, **train):
    document = to_document(tiny_config(**train))
    document["columns"]["labels"].append({"name": "watch_s"})
    return parse_config(document | {"tasks": [*TASKS, *more]}, name="heads", source="test")


def _published(config, log, root):
    places = Places(data=log, models=root / "models", runs=root / "runs")
    reader = reader_for(config)
    learned = learn(config, reader, places, quiet())
    publish(finish(config, reader, places, learned), places.models, promote=False)
    return learned, load_package(Repository(places.models), "heads", 1), places.models


@pytest.fixture(scope="module")
def published(watched_log, tmp_path_factory):
    return _published(_config(**UNSURE), watched_log, tmp_path_factory.mktemp("heads"))


def test_the_package_is_cut_and_equals_pytorch_within_the_tolerance(published):
    manifest = published[1].manifest
    assert manifest.cut == "user/item/rank"
    for parity in (manifest.parity, manifest.cut_parity):
        assert max(parity.max_abs_difference.values()) <= 1e-5


def test_heads_say_their_range_and_unit(published):
    heads = {head.name: head for head in published[1].manifest.heads}
    assert (heads["ctr"].range, heads["ctr"].unit) == ((0, 1), "probability")
    longest = np.nanmax(published[0].validation.labels["watch_s"])
    for name in ("odds", "ladder"):
        low, high = heads[name].range
        assert heads[name].unit == "s"
        assert low == 0
        assert 1 < high < 10 * longest
    assert heads["seconds"].range == heads["ladder"].range


def test_products_of_calibrated_heads_are_products_bit_for_bit(published):
    values = published[1].golden.heads
    assert np.array_equal(values["ctcvr"], values["ctr"] * values["cvr"])
    assert np.array_equal(values["seconds"], values["ctr"] * values["ladder"])


def test_calibrations_are_recorded_with_their_rows_and_ratios(published):
    learned, package, _ = published
    heads = {head.name: head for head in package.manifest.heads}
    assert heads["ctr"].calibration.method == "platt"
    assert heads["ctr"].calibration.rows == learned.validation.rows
    assert heads["vtr"].calibration.method == "isotonic"
    assert heads["vtr"].negative_rate == 0.5
    assert heads["ctcvr"].calibration is None
    assert heads["odds"].calibration is None
    assert 0.9 < heads["ctr"].calibration.after < 1.1


def test_the_exported_calibration_makes_predictions_sum_to_what_happened(published):
    learned, models = published[0], published[2]
    whole = load_package(Repository(models), "heads", 1, whole=True)
    clicks = learned.validation.labels["click"]
    predicted = predict_heads(learned.ranker, _config(**UNSURE), learned.held_out)
    assert predicted["ctr"].sum() / clicks.sum() == pytest.approx(1, abs=1e-3)
    log = learned.validation
    served = whole.graphs.run(encode_rows(whole.schema, log.columns, log.rows))
    np.testing.assert_allclose(served["ctr"], predicted["ctr"], atol=1e-5)


def test_a_refit_takes_over_the_calibration_of_the_search(published, watched_log, tmp_path):
    config = _config(**UNSURE, refit=True)
    places = Places(data=watched_log, models=tmp_path / "models", runs=tmp_path / "runs")
    refitted = learn(config, reader_for(config), places, quiet())
    assert refitted.calibrations == published[0].calibrations
    one, other = (r.ranker.readouts["ctr"].calibration for r in (refitted, published[0]))
    assert torch.equal(one.slope, other.slope)


def test_a_head_that_reads_the_duration_is_served_whole_and_says_why(watched_log, tmp_path):
    learned, package, _ = _published(_config(RANKED), watched_log, tmp_path)
    manifest = package.manifest
    assert manifest.cut == "not cut: head ranked reads an input beside its logit"
    assert manifest.parity.max_abs_difference["ranked"] <= 1e-5
    said = package.golden.heads["ranked"]
    assert (said >= 0).all()
    assert said.max() <= manifest.heads[-1].range[1]
    assert "ranked.mse[play]" in learned.metrics
