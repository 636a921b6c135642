"""Publishing is all or nothing; references resolve to one version or say what there is."""

import threading
from pathlib import Path

import pytest

from service.contract.errors import PackageError, UnknownModel
from service.contract.repository import ModelRef, Repository
from tests.contract.manifests import make_manifest


def write_manifest(directory: Path, version: int) -> None:
    (directory / "manifest.json").write_text(make_manifest(version=version).to_json())


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "models")


@pytest.mark.parametrize("text", ["ple@champion", "ple/7", "a-b_c@x", "ple@x+int8", "ple/7+int8"])
def test_reference_round_trips(text: str) -> None:
    assert str(ModelRef.parse(text)) == text


def test_bare_name_means_champion() -> None:
    assert ModelRef.parse("ple") == ModelRef("ple", alias="champion")


def test_variant_is_no_part_of_the_package() -> None:
    ref = ModelRef.parse("ple+int8")
    assert ref.package == ModelRef.parse("ple")
    assert str(ref.at(7)) == "ple/7+int8"


@pytest.mark.parametrize(
    "text",
    ["", "../x", "ple/0", "ple/x", "ple@", "PLE", "ple@champion/3", "ple/1\n", "ple+", "ple+Int8"],
)
def test_other_references_are_refused(text: str) -> None:
    with pytest.raises(UnknownModel, match="is no model: write name, name@alias or name/version"):
        ModelRef.parse(text)


def test_versions_count_up_and_manifests_are_read_back(repository: Repository) -> None:
    assert [repository.publish("tiny", write_manifest) for _ in range(3)] == [1, 2, 3]
    assert repository.names() == ["tiny"]
    assert repository.versions("tiny") == [1, 2, 3]
    assert repository.manifest("tiny", 2).id == "tiny/2"


def test_failed_publish_leaves_nothing_behind(repository: Repository) -> None:
    def fail(directory: Path, version: int) -> None:
        (directory / "model.onnx").write_bytes(b"half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError):
        repository.publish("tiny", fail)
    assert repository.versions("tiny") == []
    assert list((repository.root / "tiny").iterdir()) == []


@pytest.mark.parametrize("stray", ["01", "١", "latest", "1.tmp"])
def test_a_directory_that_is_no_version_is_left_out(repository: Repository, stray: str) -> None:
    (repository.root / "tiny" / "3").mkdir(parents=True)
    (repository.root / "tiny" / stray).mkdir()
    assert repository.versions("tiny") == [3]


def test_publishers_at_once_get_different_versions(repository: Repository) -> None:
    barrier = threading.Barrier(4)
    got: list[int] = []

    def publish() -> None:
        tries: list[int] = []

        def write(directory: Path, version: int) -> None:
            if not tries:  # all four hold the number 1 before any of them is done
                barrier.wait(timeout=10)
            tries.append(version)
            write_manifest(directory, version)

        got.append(repository.publish("tiny", write))

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [1, 2, 3, 4]
    for version in got:
        assert repository.manifest("tiny", version).version == version


def test_manifest_of_another_version_is_refused(repository: Repository) -> None:
    repository.publish("tiny", lambda directory, version: write_manifest(directory, 5))
    with pytest.raises(PackageError, match="the manifest says tiny/5"):
        repository.manifest("tiny", 1)


def test_aliases_resolve_store_first(repository: Repository) -> None:
    for _ in range(2):
        repository.publish("tiny", write_manifest)
    repository.set_alias("tiny", "champion", 1)
    assert repository.resolve(ModelRef.parse("tiny")) == 1
    assert repository.resolve(ModelRef.parse("tiny"), {"champion": 2}) == 2
    assert repository.resolve(ModelRef.parse("tiny/2")) == 2


def test_what_does_not_resolve_lists_what_there_is(repository: Repository) -> None:
    repository.publish("tiny", write_manifest)
    repository.set_alias("tiny", "champion", 1)
    with pytest.raises(UnknownModel, match=r"no model 'big' in .* \(known: tiny\)"):
        repository.resolve(ModelRef.parse("big"))
    with pytest.raises(UnknownModel, match=r"model 'tiny' has no version 9 \(known: 1\)"):
        repository.resolve(ModelRef.parse("tiny/9"))
    with pytest.raises(UnknownModel, match=r"has no alias 'challenger' \(known: champion\)"):
        repository.resolve(ModelRef.parse("tiny@challenger"))
    with pytest.raises(UnknownModel, match="has no version 9"):
        repository.set_alias("tiny", "champion", 9)


@pytest.mark.parametrize("text", ["[1]", '{"champion": "1"}', "{"])
def test_garbled_aliases_are_refused(repository: Repository, text: str) -> None:
    repository.publish("tiny", write_manifest)
    (repository.root / "tiny" / "aliases.json").write_text(text)
    with pytest.raises(PackageError, match=r"aliases\.json: "):
        repository.read_aliases("tiny")


def test_two_writers_of_aliases_lose_nothing(repository: Repository) -> None:
    repository.publish("tiny", write_manifest)
    names = [f"alias-{letter}" for letter in "abcdefgh"]
    writers = [
        threading.Thread(target=repository.set_alias, args=("tiny", name, 1)) for name in names
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert repository.read_aliases("tiny") == dict.fromkeys(names, 1)
