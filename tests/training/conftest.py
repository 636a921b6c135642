"""One tiny package for every test that only reads it."""

from pathlib import Path

import pytest

from tests.training.tiny import quiet, tiny_config, write_log, write_parquet
from training.learn import Places
from training.run import Published, run


@pytest.fixture(scope="session")
def tiny_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the log; nobody writes to it."""
    return write_log(tmp_path_factory.mktemp("log"))


@pytest.fixture(scope="session")
def parquet_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the same log in Parquet; nobody writes to it."""
    return write_parquet(tmp_path_factory.mktemp("parquet"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, tiny_log: Path) -> tuple[Path, Published]:
    """The models directory and what the run said."""
    root = tmp_path_factory.mktemp("tiny")
    places = Places(data=tiny_log, models=root / "models", runs=root / "runs")
    return places.models, run(tiny_config(), places, quiet())
