"""A package is served only when it reproduces itself; each way to be corrupt has its sentence."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.contract.errors import PackageError, UnknownModel
from service.contract.golden import Golden
from service.contract.manifest import read_manifest
from service.contract.repository import Repository
from service.scoring.package import LoadedModel, load_package, manifest_digest
from service.scoring.session import Session
from tests.scoring.graphs import HEADS, tiny_graph
from tests.scoring.packages import GOLDEN_ROWS, Changes, publish_tiny

onnx = pytest.importorskip("onnx")


def load(root: Path, version: int = 1) -> LoadedModel:
    return load_package(Repository(root), "tiny", version)


def refusal(root: Path, changes: Changes) -> str:
    """The sentence with which a package made with `changes` is refused."""
    version = publish_tiny(root, changes=changes)
    with pytest.raises(PackageError) as caught:
        load(root, version)
    return str(caught.value)


def weights(model: Any, name: str) -> Any:
    return next(i for i in model.graph.initializer if i.name == name)


def table_of(model: Any, block: str) -> Any:
    """The embedding table of the first column of an id block."""
    column = next(n.output[0] for n in model.graph.node if n.input[0] == block)
    return weights(model, next(n.input[0] for n in model.graph.node if column in n.input[1:]))


def overwrite(tensor: Any, array: Any) -> None:
    tensor.CopyFrom(onnx.numpy_helper.from_array(array.astype(np.float32), tensor.name))


def test_published_package_loads_and_knows_itself(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    loaded = load(tmp_path)
    assert loaded.id == "tiny/1"
    assert loaded.schema == loaded.manifest.schema_
    assert len(loaded.golden.raw) == GOLDEN_ROWS
    assert loaded.manifest.head_names == HEADS


def test_unknown_version_is_refused_with_what_exists(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    with pytest.raises(UnknownModel, match=r"'tiny' has no version 7 \(known: 1\)"):
        load(tmp_path, 7)


def test_truncated_graph_is_refused(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    path = tmp_path / "tiny/1/model.onnx"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(PackageError, match=r"tiny/1: model.onnx does not match its digest"):
        load(tmp_path)


def test_changed_golden_rows_are_refused(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    path = tmp_path / "tiny/1/golden.json"
    path.write_text(path.read_text().replace("18-23", "24-30"))
    with pytest.raises(PackageError, match=r"tiny/1: golden.json does not match its digest"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["model.onnx", "golden.json", "golden.npz"])
def test_missing_file_is_refused_by_name(tmp_path: Path, name: str) -> None:
    publish_tiny(tmp_path)
    (tmp_path / "tiny/1" / name).unlink()
    with pytest.raises(
        PackageError, match=f"tiny/1: {re.escape(name)} is missing or no plain file"
    ):
        load(tmp_path)


def test_file_replaced_by_a_link_is_refused(tmp_path: Path) -> None:
    publish_tiny(tmp_path)
    path = tmp_path / "tiny/1/model.onnx"
    path.rename(tmp_path / "elsewhere.onnx")
    path.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(PackageError, match=r"model.onnx is missing or no plain file"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["model.onnx", "golden.json", "golden.npz"])
def test_file_without_a_digest_is_not_trusted(tmp_path: Path, name: str) -> None:
    changes = Changes(manifest=lambda document: document["files"].pop(name))
    assert refusal(tmp_path, changes) == f"tiny/1: the manifest has no digest of {name}"


def test_manifest_of_another_model_is_refused(tmp_path: Path) -> None:
    changes = Changes(manifest=lambda document: document.update(name="other"))
    assert refusal(tmp_path, changes).endswith("tiny/1: the manifest says other/1")


def test_head_that_the_graph_lacks_is_refused(tmp_path: Path) -> None:
    def add(document: dict[str, Any]) -> None:
        document["heads"].append(document["heads"][0] | {"name": "share"})

    assert refusal(tmp_path, Changes(manifest=add)) == (
        "tiny/1/model.onnx: head 'share' of the manifest is missing from the graph"
    )


def test_head_that_the_manifest_lacks_is_refused(tmp_path: Path) -> None:
    changes = Changes(manifest=lambda document: document["heads"].pop())
    assert refusal(tmp_path, changes) == (
        "tiny/1/model.onnx: head 'like' of the graph is not in the manifest"
    )


def test_external_data_is_refused(tmp_path: Path) -> None:
    def move_out(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="weights.bin")

    assert "keeps its data in another file" in refusal(tmp_path, Changes(model=move_out))


def test_bytes_that_are_no_graph_are_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, Changes(model=lambda model: model.ClearField("graph")))
    assert message == "tiny/1/model.onnx: no ONNX file: it holds no graph"


def test_nan_weights_are_refused(tmp_path: Path) -> None:
    def poison(model: Any) -> None:
        for tensor in model.graph.initializer:
            array = onnx.numpy_helper.to_array(tensor)
            if array.dtype == np.float32 and array.shape == (32, 1):
                overwrite(tensor, np.full_like(array, np.nan))
                return

    message = refusal(tmp_path, Changes(model=poison))
    assert message == "tiny/1/model.onnx: 32 of 32 weights of 'array_33' are NaN"


def test_other_weights_than_the_golden_ones_are_refused(tmp_path: Path) -> None:
    def shift(model: Any) -> None:
        tensor = table_of(model, "item_ids")
        overwrite(tensor, onnx.numpy_helper.to_array(tensor) + 0.01)

    message = refusal(tmp_path, Changes(model=shift))
    assert message.startswith("tiny/1: golden head 'ctr' differs in row ")
    assert message.endswith(" (tolerance 1e-05)")


def test_table_shorter_than_its_vocabulary_is_refused(tmp_path: Path) -> None:
    def cut(model: Any) -> None:
        tensor = table_of(model, "item_ids")
        overwrite(tensor, onnx.numpy_helper.to_array(tensor)[:300])

    message = refusal(tmp_path, Changes(model=cut))
    assert message.startswith("tiny/1: the last ids of the vocabularies fail: ")
    assert "out of data bounds" in message


def test_graph_that_mixes_rows_is_refused(tmp_path: Path) -> None:
    def mix(model: Any) -> None:
        """Take the mean over all rows off the first values, as batch statistics do."""
        node = next(n for n in model.graph.node if n.op_type == "Tanh")
        scaled = node.input[0]
        node.input[0] = "mixed"
        at = list(model.graph.node).index(node)
        mean = onnx.helper.make_node("ReduceMean", [scaled, "rows_axis"], ["mean"], keepdims=1)
        model.graph.node.insert(at, onnx.helper.make_node("Sub", [scaled, "mean"], ["mixed"]))
        model.graph.node.insert(at, mean)
        axis = onnx.numpy_helper.from_array(np.array([0]), "rows_axis")
        model.graph.initializer.append(axis)

    def recompute(golden: Golden) -> Golden:
        model = tiny_graph()
        mix(model)
        session = Session(model.SerializeToString())
        return replace(golden, heads=session.run(golden.encoded))

    message = refusal(tmp_path, Changes(model=mix, golden=recompute))
    assert message.startswith("tiny/1: golden head 'ctr', each row run alone, differs in row ")


def with_encoded(name: str, row: int, change: float) -> Changes:
    def edit(golden: Golden) -> Golden:
        block = golden.encoded[name].copy()
        block[row, 0] += change
        return replace(golden, encoded={**golden.encoded, name: block})

    return Changes(golden=edit)


def test_golden_id_that_encodes_differently_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, with_encoded("item_ids", 3, 1))
    assert message.startswith("tiny/1: golden block 'item_ids' differs in row 3: computed [")


def test_golden_value_that_encodes_differently_is_refused(tmp_path: Path) -> None:
    message = refusal(tmp_path, with_encoded("item_values", 5, 1e-3))
    assert message.startswith("tiny/1: golden block 'item_values' differs in row 5: computed [")
    assert message.endswith("(tolerance 1e-06)")


def test_golden_value_within_rounding_is_accepted(tmp_path: Path) -> None:
    publish_tiny(tmp_path, changes=with_encoded("cross_values", 5, 5e-7))
    load(tmp_path)


def test_golden_block_that_is_missing_is_refused(tmp_path: Path) -> None:
    def drop(golden: Golden) -> Golden:
        kept = {n: b for n, b in golden.encoded.items() if n != "cross_values"}
        return replace(golden, encoded=kept)

    assert refusal(tmp_path, Changes(golden=drop)) == (
        "tiny/1: golden.npz has no encoded block 'cross_values'"
    )


def test_golden_head_that_is_missing_is_refused(tmp_path: Path) -> None:
    def drop(golden: Golden) -> Golden:
        return replace(golden, heads={n: v for n, v in golden.heads.items() if n != "like"})

    assert refusal(tmp_path, Changes(golden=drop)) == (
        "tiny/1: golden.npz has heads ctcvr, ctr, cvr, vcr, vtr;"
        " the manifest ctcvr, ctr, cvr, like, vcr, vtr"
    )


def test_golden_head_that_is_nan_is_refused(tmp_path: Path) -> None:
    def poison(golden: Golden) -> Golden:
        values = golden.heads["vtr"].copy()
        values[2] = np.nan
        return replace(golden, heads={**golden.heads, "vtr": values})

    assert refusal(tmp_path, Changes(golden=poison)) == (
        "tiny/1: golden head 'vtr' is not finite in row 2 (stored)"
    )


def test_package_without_golden_rows_is_refused(tmp_path: Path) -> None:
    def empty(golden: Golden) -> Golden:
        return Golden(
            [],
            {n: b[:0] for n, b in golden.encoded.items()},
            {n: v[:0] for n, v in golden.heads.items()},
        )

    message = refusal(tmp_path, Changes(golden=empty))
    assert message.endswith("tiny/1: golden rows have unequal or zero lengths [0]")


def test_golden_row_that_cannot_be_encoded_is_refused(tmp_path: Path) -> None:
    def break_value(golden: Golden) -> Golden:
        raw = [dict(row) for row in golden.raw]
        raw[4] = raw[4] | {"item": {"id": "i1", "features": {"videolen_s": "long"}}}
        return replace(golden, raw=raw)

    assert refusal(tmp_path, Changes(golden=break_value)) == (
        "tiny/1: a golden row cannot be encoded:"
        " feature 'videolen_s', row 0: 'long' is not a number"
    )


@pytest.mark.parametrize(
    "row", [{"user": {"id": "u1"}}, [], "row", {"user": [], "item": {"id": "i1"}}]
)
def test_golden_row_of_another_shape_is_refused(tmp_path: Path, row: Any) -> None:
    def replace_first(golden: Golden) -> Golden:
        return replace(golden, raw=[row, *golden.raw[1:]])

    message = refusal(tmp_path, Changes(golden=replace_first))
    assert message.startswith("tiny/1: golden.json is not rows of user, context and item: ")


def test_nan_item_of_the_factory_passes_the_golden_rows(tmp_path: Path) -> None:
    publish_tiny(tmp_path, nan=True)
    assert load(tmp_path).id == "tiny/1"


def test_factory_publishes_versions_and_moves_the_champion(tmp_path: Path) -> None:
    assert [publish_tiny(tmp_path, seed=n) for n in range(2)] == [1, 2]
    assert Repository(tmp_path).read_aliases("tiny") == {"champion": 2}
    first, second = (read_manifest(tmp_path / f"tiny/{n}") for n in (1, 2))
    assert first.files["model.onnx"] != second.files["model.onnx"]
    assert publish_tiny(tmp_path / "b", heads=("ctr", "vcr")) == 1
    assert read_manifest(tmp_path / "b/tiny/1").head_names == ("ctr", "vcr")


def another_head(golden: Golden) -> Golden:
    return replace(golden, heads={n: values + 0.1 for n, values in golden.heads.items()})


def test_a_package_that_another_process_proved_is_not_replayed_again(tmp_path: Path) -> None:
    publish_tiny(tmp_path, changes=Changes(golden=another_head))
    repository = Repository(tmp_path)
    proved = manifest_digest(repository, "tiny", 1)
    assert load_package(repository, "tiny", 1, proved=proved).id == "tiny/1"
    with pytest.raises(PackageError, match=r"tiny/1: golden head 'ctr' differs in row"):
        load_package(repository, "tiny", 1, proved="0" * 64)


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("model.onnx", r"tiny/1: model.onnx changed while it was being read"),
        ("golden.npz", r"tiny/1: golden.npz does not match its digest"),
    ],
)
def test_what_changed_since_it_was_proved_is_refused(tmp_path: Path, file: str, why: str) -> None:
    publish_tiny(tmp_path)
    repository = Repository(tmp_path)
    path = tmp_path / "tiny/1" / file
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(PackageError, match=why):
        load_package(repository, "tiny", 1, proved=manifest_digest(repository, "tiny", 1))


def test_it_can_be_interrupted_after_each_feature_each_graph_and_each_check(
    tmp_path: Path,
) -> None:
    publish_tiny(tmp_path)
    breaks: list[None] = []
    loaded = load_package(Repository(tmp_path), "tiny", 1, between=lambda: breaks.append(None))
    assert len(breaks) == len(loaded.schema.features) + 3
