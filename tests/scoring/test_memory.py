"""A model that was dropped is gone, whoever held it last; its pieces are freed one by one."""

import threading
import weakref
from pathlib import Path

import pytest

from service.contract.repository import Repository
from service.scoring.memory import Dropped, give_back, trim
from service.scoring.package import load_package
from tests.scoring.packages import publish_tiny

pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    publish_tiny(root)
    return root


def test_nothing_of_the_model_is_left(models: Path) -> None:
    model = load_package(Repository(models), "tiny", 1)
    alive = [weakref.ref(model), weakref.ref(model.manifest), weakref.ref(model.graphs)]
    dropped = [model]
    del model
    given = Dropped.of(dropped)
    assert dropped == []
    give_back(given)
    assert [ref() for ref in alive] == [None, None, None]


def test_it_waits_for_the_request_that_holds_the_model(models: Path) -> None:
    held = [load_package(Repository(models), "tiny", 1)]
    dropped = Dropped.of(list(held))
    freeing = threading.Thread(target=give_back, args=(dropped,))
    freeing.start()
    freeing.join(0.1)
    assert freeing.is_alive()
    assert held[0].id == "tiny/1"
    held.clear()
    freeing.join(20)
    assert not freeing.is_alive()


def test_it_does_not_wait_for_a_manifest_that_another_variant_goes_on_using(models: Path) -> None:
    repository = Repository(models)
    staying, going = load_package(repository, "tiny", 1), load_package(repository, "tiny", 1)
    assert staying.manifest is going.manifest
    given = Dropped.of([going], [staying])
    del going
    freeing = threading.Thread(target=give_back, args=(given,))
    freeing.start()
    freeing.join(20)
    assert not freeing.is_alive()


def test_trimming_is_harmless_where_it_does_nothing() -> None:
    assert trim() in (True, False)
