"""A promotion has every model of the plans that it moves, whatever happens to them meanwhile."""

import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from service.api.promoting import Promoter
from service.contract.repository import Repository
from service.errors import ModelRefused, StoreDown
from service.experiment.connection import Client, connect
from service.experiment.errors import DamagedAliases
from service.experiment.loader import PlanLoader
from service.experiment.snapshot import Snapshot
from service.scoring.pool import ModelPool
from tests.api.running import PLAN
from tests.clock import Clock
from tests.scoring.packages import publish_tiny


@dataclass
class Replica:
    """A promoter over a real store, and what happens in each of its rehearsals."""

    loader: PlanLoader
    pool: ModelPool
    redis: Client
    clock: Clock
    models: Path
    meanwhile: Callable[[Snapshot], Awaitable[None]] | None = None
    rehearsed: list[tuple[str, list[str]]] = field(default_factory=list)

    @property
    def promoter(self) -> Promoter:
        return Promoter(self.loader, self.pool, self.rehearse)

    async def rehearse(self, snapshot: Snapshot) -> None:
        """Notes which models of the snapshot are loaded."""
        if self.meanwhile is not None:
            await self.meanwhile(snapshot)
        loaded = sorted(id_ for id_ in snapshot.models if self.pool.get(id_) is not None)
        self.rehearsed.append((snapshot.scene, loaded))

    async def publish(self, scene: str, expected: int | None, **more: Any) -> None:
        document = {**copy.deepcopy(PLAN), "scene": scene, **more}
        await self.loader.store.publish(scene, document, expected=expected)

    async def wait_for_drops(self) -> None:
        self.clock.now += 3600
        self.pool.retain(self.loader.models_in_use())


@pytest.fixture
async def replica(valkey_of_its_own: str, tmp_path: Path) -> AsyncIterator[Replica]:
    models, clock = tmp_path / "models", Clock()
    for name in ("tiny", "tiny", "other", "other"):
        publish_tiny(models, name, champion=not (models / name).exists())
    pool = ModelPool(Repository(models), clock=clock)
    redis = connect(valkey_of_its_own, timeout_s=5.0)
    loader = PlanLoader(
        redis,
        Repository(models),
        prepare=pool.ensure,
        state_dir=tmp_path / "state",
        replica="a",
        on_change=lambda _: pool.retain(loader.models_in_use()),
    )
    yield Replica(loader, pool, redis, clock, models)
    await loader.close()
    pool.close()
    await redis.aclose()


async def test_a_model_that_leaves_a_live_plan_meanwhile_stays_until_the_alias_has_moved(
    replica: Replica,
) -> None:
    await replica.publish("feed", None)
    await replica.publish("search", None, shadow={"model": "other/1"})
    await replica.loader.start()

    async def leaves(snapshot: Snapshot) -> None:
        if snapshot.scene == "feed":
            await replica.publish("search", 1)
            await replica.loader.refresh()
            assert replica.loader.models_in_use() == {"tiny/1"}
            await replica.wait_for_drops()

    replica.meanwhile = leaves
    promoted = await replica.promoter.promote("tiny", "champion", 2)
    assert (promoted.moved, promoted.scenes) == (True, ["feed", "search"])
    assert replica.rehearsed == [("feed", ["tiny/2"]), ("search", ["other/1", "tiny/2"])]
    assert replica.loader.models_in_use() == {"tiny/2"}
    await replica.wait_for_drops()
    assert replica.pool.ids == ("tiny/2",), "and no longer"


async def test_a_model_that_another_alias_points_at_by_now_is_loaded_for_the_rehearsal(
    replica: Replica,
) -> None:
    await replica.publish("search", None, shadow={"model": "other@champion"})
    await replica.loader.start()
    await replica.loader.aliases.move("other", "champion", 2, expected=1)
    await replica.promoter.promote("tiny", "champion", 2)
    assert replica.rehearsed == [("search", ["other/2", "tiny/2"])]
    assert replica.loader.models_in_use() == {"other/2", "tiny/2"}


async def test_a_model_that_another_alias_points_at_by_now_refuses_by_its_own_name(
    replica: Replica,
) -> None:
    await replica.publish("search", None, shadow={"model": "other@champion"})
    await replica.loader.start()
    await replica.loader.aliases.move("other", "champion", 2, expected=1)
    (replica.models / "other/2/model.onnx").write_bytes(b"")
    with pytest.raises(ModelRefused, match=r"^other/2: model.onnx does not match its digest"):
        await replica.promoter.promote("tiny", "champion", 2)
    assert replica.rehearsed == []
    assert replica.loader.models_in_use() == {"other/1", "tiny/1"}


async def test_aliases_that_nobody_can_read_move_nowhere_and_check_no_plan(
    replica: Replica,
) -> None:
    await replica.publish("feed", None)
    await replica.loader.start()
    live = replica.loader.snapshot("feed")
    assert live is not None
    await replica.redis.delete("finerank:aliases:tiny")
    await replica.redis.set("finerank:aliases:tiny", "no hash")
    damaged = "the aliases of model 'tiny' are damaged: their key holds no hash"
    for move in (
        replica.promoter.promote("tiny", "champion", 2),
        replica.promoter.demote("tiny", "champion"),
    ):
        with pytest.raises(StoreDown) as refused:
            await move
        assert str(refused.value) == f"{damaged}; no alias has moved"
    assert replica.rehearsed == []
    with pytest.raises(DamagedAliases) as unknown:
        await replica.loader.models(live.plan)
    assert str(unknown.value) == damaged
