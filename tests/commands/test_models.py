from tests.commands.conftest import Command
from tests.scoring.packages import publish_tiny


def test_list_shows_versions_aliases_and_heads(tmp_path):
    publish_tiny(tmp_path / "models")
    publish_tiny(tmp_path / "models", seed=1, champion=False)
    done = Command(COLUMNS="200")("models", "list", "--models", tmp_path / "models")
    lines = done.stdout.splitlines()
    assert "tiny/1" in lines[1]
    assert "champion" in lines[1]
    assert "ctr cvr ctcvr vtr vcr like" in lines[1]
    assert "tiny/2" in lines[2]
    assert "champion" not in lines[2]


def test_an_empty_directory_is_told(tmp_path):
    assert f"no models in {tmp_path}" in Command()("models", "list", "--models", tmp_path).stdout
    assert "no models in" in Command()("models", "check", "--models", tmp_path, status=1).stderr


def test_check_loads_as_serving_does(tmp_path):
    publish_tiny(tmp_path)
    done = Command()("models", "check", "tiny", "--models", tmp_path)
    assert "tiny/1: 32 golden rows" in done.stdout


def test_check_refuses_a_damaged_package_and_still_checks_the_others(tmp_path):
    publish_tiny(tmp_path)
    publish_tiny(tmp_path, seed=1)
    with (tmp_path / "tiny" / "1" / "model.onnx").open("ab") as file:
        file.write(b"x")
    done = Command(COLUMNS="200")("models", "check", "--models", tmp_path, status=1)
    assert "tiny/1: model.onnx does not match its digest" in done.stdout
    assert "tiny/2: 32 golden rows" in done.stdout


def test_check_of_an_unknown_model_says_what_there_is(tmp_path):
    publish_tiny(tmp_path)
    done = Command()("models", "check", "tinny", "--models", tmp_path, status=1)
    assert "no model 'tinny'" in done.stderr
    assert "known: tiny" in done.stderr


def test_promote_and_demote_move_the_alias_of_a_service(service, finerank, tmp_path):
    publish_tiny(service.runtime.settings.models, seed=1, champion=False)
    done = finerank("models", "promote", "tiny/2")
    assert done.stdout == "tiny@champion: version 1 -> version 2 (feed)\n"
    again = finerank("models", "promote", "tiny/2")
    assert again.stdout == "tiny/2 is champion already\n"
    listed = finerank("models", "list", "--url", service.url).stdout.splitlines()
    assert listed[2].split() == ["tiny/2", "loaded", "champion", "feed"]
    done = finerank("models", "promote", "tiny@champion", "--alias", "stable")
    assert done.stdout == "tiny@stable: nothing -> version 2 (no scene)\n"
    done = finerank("models", "demote", "tiny")
    assert done.stdout == "tiny@champion: version 2 -> version 1 (feed)\n"


def test_a_refused_promotion_says_why(service, finerank):
    assert "no version 99" in finerank("models", "promote", "tiny/99", status=1).stderr
    assert "no alias 'blue'" in finerank("models", "promote", "tiny@blue", status=1).stderr
    done = Command(FINERANK_URL=service.url)("models", "promote", "tiny/1", status=1)
    assert "a write needs the service's token" in done.stderr
