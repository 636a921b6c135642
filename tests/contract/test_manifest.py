"""A wrong manifest stops the load with its place; a changed file does not pass its digest."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from service.contract.errors import PackageError
from service.contract.features import Attribute, FeatureSchema
from service.contract.manifest import digest_file, read_manifest, verify_files
from tests.contract.manifests import HEADS, make_manifest


def write(directory: Path, **changes: Any) -> None:
    document = json.loads(make_manifest().to_json()) | changes
    (directory / "manifest.json").write_text(json.dumps(document))


def test_manifest_survives_its_file(tmp_path: Path) -> None:
    manifest = make_manifest()
    (tmp_path / "manifest.json").write_text(manifest.to_json())
    assert read_manifest(tmp_path) == manifest
    assert manifest.id == "tiny/1"
    assert manifest.head_names == ("ctr", "cvr", "ctcvr")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"format": 2}, "/format: Input should be 1"),
        ({"colour": "red"}, "/colour: Extra inputs are not permitted"),
        ({"heads": []}, "/heads: Tuple should have at least 1 item"),
        ({"version": 0}, "/version: "),
        ({"name": "../x"}, "/name/"),
    ],
)
def test_wrong_field_is_named_by_its_place(
    tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    write(tmp_path, **changes)
    with pytest.raises(PackageError, match=said):
        read_manifest(tmp_path)


def test_missing_and_garbled_manifests_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match=r"manifest\.json: cannot be read: No such file"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 1')
    with pytest.raises(PackageError, match="Invalid JSON"):
        read_manifest(tmp_path)


def test_product_of_a_head_the_model_lacks_is_refused() -> None:
    with pytest.raises(
        ValidationError, match="head ctcvr is a product of cvr, which the model lacks"
    ):
        make_manifest(heads=(HEADS[0], HEADS[2]))


def test_head_and_attribute_may_not_share_a_name() -> None:
    schema = FeatureSchema(
        features=(), attributes=(Attribute(name="ctr", default=0, min=0, max=1),)
    )
    with pytest.raises(ValidationError, match="a head and an attribute share a name: ctr"):
        make_manifest(schema=schema)


def test_digests_catch_any_change(tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(b"weights")
    manifest = make_manifest(files={"model.onnx": digest_file(model)})
    verify_files(tmp_path, manifest)
    model.write_bytes(b"weightz")
    with pytest.raises(PackageError, match=r"tiny/1: model\.onnx does not match its digest"):
        verify_files(tmp_path, manifest)
    model.unlink()
    with pytest.raises(PackageError, match=r"tiny/1: model\.onnx is missing or no plain file"):
        verify_files(tmp_path, manifest)
    (tmp_path / "elsewhere").write_bytes(b"weights")
    model.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PackageError, match="no plain file"):
        verify_files(tmp_path, manifest)


def test_a_file_name_cannot_leave_the_package(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    manifest = make_manifest(files={"../x": digest_file(tmp_path / "x")})
    with pytest.raises(PackageError, match=r"file name '\.\./x' leaves the package"):
        verify_files(tmp_path / "sub", manifest)


def test_only_named_files_are_verified(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"weights")
    files = {name: digest_file(tmp_path / name) for name in ("a", "b")}
    manifest = make_manifest(files=files)
    (tmp_path / "a").write_bytes(b"weightz")
    verify_files(tmp_path, manifest, ["b"])
    with pytest.raises(PackageError, match=r"tiny/1: a does not match its digest"):
        verify_files(tmp_path, manifest, ["b", "a"])
