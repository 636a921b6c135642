"""Every block of docs/training.md is a valid part of a run."""

import re
import tomllib
from pathlib import Path

import pytest

from training.config.file import parse_config

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "training.md"
BLOCKS = re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_of_the_page_is_a_part_of_a_run(block: str) -> None:
    whole = tomllib.loads((ROOT / "training" / "configs" / "demo.toml").read_text())
    for table, keys in tomllib.loads(block).items():
        if isinstance(keys, dict):
            keys = whole.get(table, {}) | keys
        whole[table] = keys
    assert parse_config(whole, name="part", source=str(PAGE)).heads


def test_the_page_has_blocks() -> None:
    assert len(BLOCKS) >= 5
