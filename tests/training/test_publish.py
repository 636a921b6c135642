"""Publishing: digests of every file, champion only where none is, all or nothing."""

import json

import numpy as np
import pytest
import torch

from service.contract.features import Attribute, Categorical, FeatureSchema, Numeric
from service.contract.manifest import Parity, digest_file, verify_files
from service.contract.repository import Repository
from training.config.file import parse_config
from training.data.log import Log
from training.export import Graph
from training.export_cut import Cut
from training.publish import Finished, publish
from training.rankers.build import build_ranker
from training.rankers.heads import Heads

SCHEMA = FeatureSchema(
    features=(
        Categorical(name="user_id", side="user", vocabulary=("a",)),
        Categorical(name="video", side="item", vocabulary=("x",)),
        Numeric(name="price", side="item", default=1),
    ),
    attributes=(Attribute(name="price", default=1, min=0, max=0),),
    user_id_feature="user_id",
    item_id_feature="video",
)
CONFIG = parse_config(
    {
        "data": {"reader": "synthetic", "train": "20260101", "validate": "20260102"},
        "model": {"trunk": {"kind": "shared-bottom", "hidden": [4]}},
        "tasks": [{"name": "ctr", "label": "click"}],
    },
    name="tiny-one",
    source="test",
)
RAW = [
    {
        "user": {"id": "a", "features": {}},
        "context": {},
        "item": {"id": "x", "features": {"price": 2.5}},
    }
]


def _finished(golden=RAW):
    torch.manual_seed(0)
    ranker = build_ranker(SCHEMA, CONFIG.model, CONFIG.tasks).eval()
    parity = Parity(max_abs_difference={"ctr": 1e-8}, tolerance=1e-5, batches=(1, 7, 300))
    prices = np.array([2.5, np.nan, 9.0])
    log = Log(
        row=np.arange(3),
        day=np.full(3, 20260102, np.int32),
        user_id=np.array(list("aaa"), object),
        item_id=np.array(list("xxx"), object),
        columns={"item": {"price": prices}},
        labels={},
        spaces={},
    )
    return Finished(
        config=CONFIG,
        schema=SCHEMA,
        heads=Heads(ranker, list(SCHEMA.inputs), {"ctr": None}),
        graph=Graph(b"onnx", 20, parity, Cut({}, None, "not cut: one side is empty")),
        golden=golden,
        validation=log,
        predictions={"ctr": np.array([0.1, 0.2, 0.3], np.float32)},
        metrics={"ctr.auc[impression]": 0.7},
        days=(20260101, 20260101),
        rows=3,
    )


def test_the_first_version_is_champion_and_a_later_one_only_when_promoted(tmp_path):
    repository = Repository(tmp_path)
    assert publish(_finished(), tmp_path, promote=False) == 1
    assert repository.read_aliases("tiny-one") == {"champion": 1}
    assert publish(_finished(), tmp_path, promote=False) == 2
    assert repository.read_aliases("tiny-one") == {"champion": 1}
    assert publish(_finished(), tmp_path, promote=True) == 3
    assert repository.read_aliases("tiny-one") == {"champion": 3}


def test_the_manifest_has_a_digest_of_every_file_and_nothing_else_is_there(tmp_path):
    publish(_finished(), tmp_path, promote=False)
    directory = tmp_path / "tiny-one" / "1"
    manifest = Repository(tmp_path).manifest("tiny-one", 1)
    verify_files(directory, manifest)
    assert {f.name for f in directory.iterdir()} == {"manifest.json", *manifest.files}
    assert manifest.files["model.onnx"] == digest_file(directory / "model.onnx")
    assert json.loads((directory / "golden.json").read_text()) == RAW


def test_attribute_ranges_and_quantiles_are_what_the_validation_days_show(tmp_path):
    publish(_finished(), tmp_path, promote=False)
    manifest = Repository(tmp_path).manifest("tiny-one", 1)
    (price,) = manifest.schema_.attributes
    assert (price.min, price.max) == (2.5, 9.0)
    assert manifest.heads[0].quantiles[5] == (0.5, pytest.approx(0.2))


def test_a_failure_on_the_way_leaves_no_version_and_no_draft(tmp_path):
    broken = [RAW[0] | {"item": {"id": "x", "features": {"price": "dear"}}}]
    with pytest.raises(ValueError, match="feature 'price', row 0: 'dear' is not a number"):
        publish(_finished(broken), tmp_path, promote=False)
    assert list((tmp_path / "tiny-one").iterdir()) == []
