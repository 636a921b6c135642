"""What several scoring tests need: a real store, loaded models, a scorer, and compiled plans."""

import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.contract.golden import Golden, read_golden
from service.contract.manifest import Manifest
from service.contract.repository import ModelRef, Repository
from service.experiment.plan import parse_plan
from service.experiment.snapshot import Snapshot, compile_snapshot
from service.features.store import FeatureStore
from service.scoring.pool import ModelPool
from service.scoring.ranking import RankInput
from service.scoring.scorer import Scorer
from service.scoring.workers import Workers
from tests.features.conftest import valkey, valkey_server, valkey_url
from tests.scoring.packages import publish_tiny

__all__ = ["valkey", "valkey_server", "valkey_url"]

SCORE = "ctr^a * (1 + vcr) * f(videolen_s)"


class PackagesOnDisk:
    """The models a plan can reach, read from a repository."""

    def __init__(self, root: Path) -> None:
        self._repository = Repository(root)

    def manifest(self, ref: ModelRef) -> Manifest:
        return self._repository.manifest(ref.name, self._repository.resolve(ref))

    def golden(self, ref: ModelRef) -> Golden:
        return read_golden(self._repository.path(ref.name, self._repository.resolve(ref)))


def compiled(
    models: Path, score: str = SCORE, model: str = "tiny/1", version: int = 1, **more: Any
) -> Snapshot:
    """A real snapshot of a plan with one formula, and with `more` keys."""
    formula = {
        "score": score,
        "let": {"f(x)": "1 / (1 + log1p(x / 30))"},
        "params": {"a": {"value": 0.5, "min": 0, "max": 2}},
    }
    plan = {
        "format": 1,
        "scene": "feed",
        "model": model,
        "formulas": {"base": formula},
        "default": {"formula": "base"},
        **more,
    }
    return compile_snapshot(parse_plan(plan), version, PackagesOnDisk(models))


FAR = 30.0  # seconds: no deadline in tests that are not about it


def asked(ids: list[str] | int = 8, *, wait_s: float = FAR, **given: Any) -> RankInput:
    """A request for known items `i0 …` of user u7, unless told otherwise."""
    names = [f"i{n}" for n in range(ids)] if isinstance(ids, int) else ids
    defaults: dict[str, Any] = {"user_id": "u7", "context": {"tab": 1, "hour": 20}}
    deadline = time.monotonic() + wait_s
    return RankInput("r-1", "feed", names, deadline, **(defaults | given))


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages: tiny/1, tiny/2 (other weights), nan/1 (item i13 is NaN), slow/1 (over 64 rows)."""
    pytest.importorskip("onnx")
    root = tmp_path_factory.mktemp("models")
    publish_tiny(root)
    publish_tiny(root, seed=5)
    publish_tiny(root, "nan", nan=True)
    publish_tiny(root, "slow", slow_above=64)
    return root


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers(2)
    yield workers
    workers.close()


@pytest.fixture
async def pool(models: Path) -> AsyncIterator[ModelPool]:
    pool = ModelPool(Repository(models))
    await pool.ensure(["tiny/1", "tiny/2", "nan/1", "slow/1"])
    yield pool
    pool.close()


@pytest.fixture
def scorer(pool: ModelPool, workers: Workers) -> Scorer:
    """A scorer without a feature store."""
    return Scorer(pool, workers, None)


@pytest.fixture
def with_store(pool: ModelPool, workers: Workers, valkey_url: str) -> Callable[..., Any]:
    """`async with with_store(timeout_s=...) as scorer`: a scorer that reads the real store."""

    @asynccontextmanager
    async def connected(url: str = valkey_url, timeout_s: float = 5.0) -> AsyncIterator[Scorer]:
        store = FeatureStore.from_url(url, timeout_s)
        yield Scorer(pool, workers, store)
        await store.close()

    return connected
