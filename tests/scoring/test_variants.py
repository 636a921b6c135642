"""A variant of a package is loaded by name, and proves itself by golden heads of its own."""

import json
from pathlib import Path

import numpy as np
import orjson
import pytest
import redis

from service.contract.errors import PackageError, UnknownModel
from service.contract.golden import read_golden, write_heads
from service.contract.manifest import FILE, digest_file
from service.contract.repository import ModelRef, Repository
from service.experiment.packages import PackageReader, ResolvedModels
from service.features.store import FeatureStore
from service.scoring.item_caches import ItemCaches
from service.scoring.package import load_package
from service.scoring.pool import ModelPool
from service.scoring.scorer import Scorer
from service.scoring.workers import Workers
from tests.scoring.conftest import asked, compiled
from tests.scoring.cut_packages import publish_cut
from tests.scoring.packages import publish_tiny, raw_rows

onnx = pytest.importorskip("onnx")

COST = {
    "auc_loss": {"ctr": 0.0001},
    "auc_loss_limit": 0.0005,
    "top10_overlap": {"ctr": 0.99},
    "top10_overlap_limit": 0.98,
    "max_abs_difference": {"ctr": 0.004},
    "rows": 1000,
    "lists": 100,
}
FILES = {"files": {"model.onnx": "model.int8.onnx"}, "golden": "golden.int8.npz"}


def publish_variant(root: Path, *, off: float = 0.0, refused: str = "") -> Repository:
    """A tiny package with one form more: its own graph again, its golden heads moved by `off`."""
    version = publish_tiny(root)
    directory = root / "tiny" / str(version)
    (directory / "model.int8.onnx").write_bytes((directory / "model.onnx").read_bytes())
    golden = read_golden(directory)
    heads = {name: values + np.float32(off) for name, values in golden.heads.items()}
    write_heads(directory / "golden.int8.npz", heads)
    document = json.loads((directory / FILE).read_text())
    for file in ("model.int8.onnx", "golden.int8.npz"):
        document["files"][file] = digest_file(directory / file).model_dump()
    form = COST | ({"refused": refused} if refused else FILES | {"tolerance": 1e-3})
    document["variants"] = {"int8": form}
    (directory / FILE).write_text(json.dumps(document))
    return Repository(root)


def test_variant_replays_its_own_heads_and_has_an_id_of_its_own(tmp_path):
    repository = publish_variant(tmp_path, off=5e-4)
    loaded = load_package(repository, "tiny", 1, variant="int8")
    assert loaded.id == "tiny/1+int8"
    exact = load_package(repository, "tiny", 1)
    assert exact.id == "tiny/1"
    for head, values in exact.golden.heads.items():
        np.testing.assert_allclose(loaded.golden.heads[head], values + 5e-4, rtol=0, atol=1e-6)


def test_variant_that_does_not_reproduce_its_heads_is_refused(tmp_path):
    repository = publish_variant(tmp_path, off=0.01)
    with pytest.raises(PackageError, match=r"tiny/1\+int8: golden head 'ctr' differs in row 0: "):
        load_package(repository, "tiny", 1, variant="int8")


def test_variant_with_another_file_than_its_manifest_says_is_refused(tmp_path):
    repository = publish_variant(tmp_path)
    (tmp_path / "tiny" / "1" / "model.int8.onnx").write_bytes(b"x")
    with pytest.raises(PackageError, match=r"model\.int8\.onnx does not match its digest"):
        load_package(repository, "tiny", 1, variant="int8")


def test_unknown_and_refused_variants_are_unknown_to_plans_with_the_reason(tmp_path):
    repository = publish_variant(tmp_path, refused="AUC of ctr falls by 0.002")
    models = ResolvedModels(PackageReader(repository), {})
    assert models.manifest(ModelRef.parse("tiny/1")).variants["int8"].refused
    with pytest.raises(UnknownModel, match=r"tiny/1 has no variant 'int8': AUC of ctr falls by"):
        models.manifest(ModelRef.parse("tiny/1+int8"))
    with pytest.raises(UnknownModel, match=r"tiny/1 has no variant 'int4' \(known: none\)"):
        models.manifest(ModelRef.parse("tiny/1+int4"))


def test_half_of_a_cut_package_is_not_taken_for_the_whole_of_a_variant(tmp_path):
    repository = publish_variant(tmp_path)
    assert load_package(repository, "tiny", 1, whole=True, variant="int8").id == "tiny/1+int8"
    manifest = repository.manifest("tiny", 1)
    cut = manifest.model_copy(
        update={
            "cut": "user/item/rank",
            "files": manifest.files
            | dict.fromkeys(("user.onnx", "item.onnx", "rank.onnx"), manifest.files["model.onnx"]),
        }
    )
    (tmp_path / "tiny" / "1" / FILE).write_text(cut.to_json())
    with pytest.raises(PackageError, match="its variant 'int8' has no whole graph"):
        load_package(Repository(tmp_path), "tiny", 1, whole=True, variant="int8")


async def test_both_forms_of_a_version_are_loaded_beside_each_other(tmp_path):
    pool = ModelPool(publish_variant(tmp_path))
    try:
        await pool.ensure(["tiny/1", "tiny/1+int8"])
        assert pool.ids == ("tiny/1", "tiny/1+int8")
    finally:
        pool.close()


async def test_a_variants_items_are_kept_as_bytes_and_rank_as_without_a_cache(
    tmp_path: Path, workers: Workers, valkey: redis.Redis, valkey_url: str
) -> None:
    publish_cut(tmp_path, int8=True)
    for row, raw in enumerate(raw_rows(3, 60)):
        valkey.set(f"finerank:f:feed:user:u{row}", orjson.dumps(raw["user"]["features"]))
        valkey.set(f"finerank:f:feed:item:i{row}", orjson.dumps(raw["item"]["features"]))
    pool = ModelPool(Repository(tmp_path))
    await pool.ensure(["cut/1", "cut/1+int8"])
    features = FeatureStore.from_url(valkey_url, 5.0)
    items = ItemCaches(1 << 20, 60.0)
    cached, plain = Scorer(pool, workers, features, items=items), Scorer(pool, workers, features)
    random = np.random.default_rng(0)
    exact, int8 = (compiled(tmp_path, model=model) for model in ("cut/1", "cut/1+int8"))
    for count in (1, 2, 7, 8, 9, 33, 60, 60):
        request = asked([f"i{n}" for n in random.permutation(60)[:count]], user_id=f"u{count}")
        found, expected = await cached.rank(request, int8), await plain.rank(request, int8)
        np.testing.assert_array_equal(found.order, expected.order)
        for head, values in expected.heads.items():
            np.testing.assert_array_equal(found.heads[head], values)
    floats = (await cached.rank(request, exact)).heads
    assert max(np.abs(found.heads[head] - floats[head]).max() for head in floats) > 0
    width = load_package(Repository(tmp_path), "cut", 1).graphs.part_width
    used = items.bytes()
    assert used["cut/1"] - used["cut/1+int8"] == 60 * 3 * width
    await features.close()
    pool.close()
