"""A peer whose library is missing says what to install, and heads with labels are the tasks."""

import sys

import pytest

from tests.training.peers.rows import generated_rows
from training.peers.peer import PeerMissing, peer_of


def test_a_missing_library_is_named_with_what_to_install(monkeypatch):
    monkeypatch.delitem(sys.modules, "training.peers.lightgbm", raising=False)
    monkeypatch.setitem(sys.modules, "lightgbm", None)
    with pytest.raises(PeerMissing) as error:
        peer_of("lightgbm")
    assert str(error.value) == "lightgbm needs lightgbm: ./install cpu,train,peers"


def test_tasks_are_the_heads_with_labels_and_their_columns():
    assert [(at, task.name) for at, task in generated_rows().tasks] == [(0, "ctr"), (1, "vcr")]
