"""Bytes behind a path: whole while the block lasts, gone afterwards."""

import os
from pathlib import Path

from service.scoring.memory_file import as_path


def test_path_reads_as_the_content() -> None:
    content = os.urandom(3_000_000)
    with as_path(content) as path:
        assert Path(path).read_bytes() == content
    assert not Path(path).exists()


def test_a_system_without_memory_files_gets_a_real_one(monkeypatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    with as_path(b"onnx") as path:
        assert Path(path).read_bytes() == b"onnx"
    assert not Path(path).exists()
