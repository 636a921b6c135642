"""Shipped configurations are valid, and the demo package is what its own one makes."""

from pathlib import Path

import pytest

from service.contract.repository import Repository
from service.scoring.package import load_package
from training.config.file import load_config, parse_config

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "training" / "configs").glob("*.toml"))


@pytest.mark.parametrize("path", CONFIGS, ids=lambda p: p.stem)
def test_a_shipped_configuration_is_valid(path):
    config = load_config(path)
    assert config.name == path.stem
    assert config.heads


def test_the_demo_package_proves_itself_and_stays_small():
    repository = Repository(ROOT / "models")
    model = load_package(repository, "demo", repository.read_aliases("demo")["champion"])
    assert model.manifest.head_names == ("ctr", "cvr", "ctcvr", "vtr", "vcr", "like")
    assert [a.name for a in model.schema.attributes] == ["videolen_s", "price"]
    size = sum(f.stat().st_size for f in (ROOT / "models" / "demo" / "1").iterdir())
    assert size < 1_000_000


def test_the_demo_package_was_made_by_the_shipped_configuration():
    manifest = Repository(ROOT / "models").manifest("demo", 1)
    made_by = parse_config(manifest.training.config, name="demo", source="manifest")
    assert made_by == load_config(ROOT / "training" / "configs" / "demo.toml")
