import stat

import pytest

from service.settings import SettingsError, load_settings, masked, unknown_variables


@pytest.fixture(autouse=True)
def empty_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("STORE", "TOKEN", "PORT", "MODELS", "CONFIG", "STATE_DIR"):
        monkeypatch.delenv(f"FINERANK_{name}", raising=False)


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(
    tmp_path, monkeypatch
):
    assert load_settings().port == 8000
    (tmp_path / "finerank.toml").write_text("port = 7001\n")
    assert load_settings().port == 7001
    monkeypatch.setenv("FINERANK_PORT", "7002")
    assert load_settings().port == 7002
    assert load_settings(port=7003).port == 7003
    assert load_settings(port=None).port == 7002


def test_an_unknown_key_of_the_file_is_refused_with_the_nearest_name(tmp_path):
    (tmp_path / "finerank.toml").write_text("max_candidate = 5\n")
    with pytest.raises(
        SettingsError, match=r"unknown key 'max_candidate' \(did you mean 'max_candidates'\?\)"
    ):
        load_settings()


def test_a_value_of_the_wrong_type_names_its_setting(tmp_path, monkeypatch):
    monkeypatch.setenv("FINERANK_PORT", "high")
    with pytest.raises(SettingsError, match=r"setting port: .*not 'high'"):
        load_settings()


def test_a_file_that_is_no_toml_is_refused_with_its_place(tmp_path):
    (tmp_path / "finerank.toml").write_text("port = \n")
    with pytest.raises(SettingsError, match=r"finerank\.toml: .*line 1"):
        load_settings()


def test_a_named_file_that_is_missing_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("FINERANK_CONFIG", "nowhere.toml")
    with pytest.raises(SettingsError, match="there is no file nowhere"):
        load_settings()


def test_a_misspelt_variable_is_named_with_the_nearest_setting():
    assert unknown_variables({"FINERANK_TOKN": "x", "FINERANK_URL": "y", "HOME": "z"}) == [
        "FINERANK_TOKN is no setting; did you mean FINERANK_TOKEN?"
    ]


def test_secrets_are_masked_where_settings_are_shown():
    shown = load_settings(token="very-secret").shown()
    assert shown["token"] == "**********"
    assert "very-secret" not in str(shown)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://me:secret@host:6379/0", "redis://me:***@host:6379/0"),
        ("redis://host/0?db=1&password=secret&ssl=1", "redis://host/0?db=1&password=***&ssl=1"),
        ("unix:///s.sock?Password=secret#x", "unix:///s.sock?Password=***#x"),
        ("redis+sentinel://h/m?sentinel_password=secret", "redis+sentinel://h/m?sentinel_password=***"),
        ("redis://host/0?protocol=3", "redis://host/0?protocol=3"),
    ],
)  # fmt: skip
def test_a_store_url_is_shown_without_its_password_wherever_it_stands(url, shown):
    assert masked(url) == shown


def test_a_token_is_made_once_kept_for_its_owner_and_found_again(tmp_path):
    first = load_settings(state_dir=tmp_path / "state").with_token()
    again = load_settings(state_dir=tmp_path / "state").with_token()
    assert first.write_token() == again.write_token()
    assert len(first.write_token()) >= 32
    assert stat.S_IMODE((tmp_path / "state" / "token").stat().st_mode) == 0o600


def test_a_given_token_is_used_and_not_written_down(tmp_path):
    settings = load_settings(state_dir=tmp_path / "state", token="given").with_token()
    assert settings.write_token() == "given"
    assert not (tmp_path / "state" / "token").exists()
