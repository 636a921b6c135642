"""A command next to the service finds its token; another machine never gets it."""

import pytest

from service.commands.local_token import local_token


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setenv("FINERANK_STATE_DIR", str(tmp_path))
    (tmp_path / "token").write_text("kept\n")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:80/"])
def test_a_service_on_this_machine_gets_the_kept_token(kept, url):
    assert local_token(url) == "kept"


@pytest.mark.parametrize("url", ["http://10.0.0.8:8000", "https://ranker.example", "nonsense"])
def test_a_service_elsewhere_does_not(kept, url):
    assert local_token(url) is None


def test_no_file_is_no_token(tmp_path, monkeypatch):
    monkeypatch.setenv("FINERANK_STATE_DIR", str(tmp_path))
    assert local_token("http://127.0.0.1:8000") is None
