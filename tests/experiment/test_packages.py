"""Packages are resolved under one set of aliases, and read once."""

import weakref
from pathlib import Path

import pytest

from service.contract.errors import UnknownModel
from service.contract.repository import ModelRef, Repository
from service.experiment.packages import PackageReader, ResolvedModels
from tests.experiment.packages import HEADS, publish_package


def test_an_alias_means_what_it_meant_when_it_was_read(tmp_path: Path):
    publish_package(tmp_path)
    publish_package(tmp_path)
    reader = PackageReader(Repository(tmp_path))
    models = ResolvedModels(reader, {"toy": {"champion": 2}})
    Repository(tmp_path).set_alias("toy", "champion", 1)
    assert models.manifest(ModelRef.parse("toy")).id == "toy/2"
    assert models.manifest(ModelRef.parse("toy/1")).id == "toy/1"
    assert set(models.golden(ModelRef.parse("toy@champion")).heads) == set(HEADS)


def test_a_version_is_read_once(tmp_path: Path):
    publish_package(tmp_path)
    reader = PackageReader(Repository(tmp_path))
    held = reader.manifest("toy", 1)
    assert reader.manifest("toy", 1) is held
    assert reader.golden("toy", 1) is reader.golden("toy", 1)


def test_a_manifest_that_nobody_holds_is_not_kept(tmp_path: Path):
    publish_package(tmp_path)
    reader = PackageReader(Repository(tmp_path))
    models = ResolvedModels(reader, {})
    gone = weakref.ref(models.manifest(ModelRef.parse("toy/1")))
    assert models.manifest(ModelRef.parse("toy/1")) is gone()
    del models
    assert gone() is None


def test_a_manifest_that_was_written_again_is_read_again(tmp_path: Path):
    publish_package(tmp_path)
    repository = Repository(tmp_path)
    held = repository.manifest("toy", 1)
    path = tmp_path / "toy" / "1" / "manifest.json"
    path.write_text(path.read_text() + "\n\n")
    assert repository.manifest("toy", 1) is not held


def test_what_is_missing_is_looked_for_again(tmp_path: Path):
    publish_package(tmp_path)
    reader = PackageReader(Repository(tmp_path))
    with pytest.raises(UnknownModel, match="model 'toy' has no version 2"):
        reader.manifest("toy", 2)
    publish_package(tmp_path)
    assert reader.manifest("toy", 2).id == "toy/2"
