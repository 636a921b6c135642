"""A draft is checked over the models that are served, or else over those that aliases name now."""

from pathlib import Path

from service.api.checking import Checking
from service.contract.repository import Repository
from service.experiment.connection import connect
from service.experiment.loader import PlanLoader
from service.experiment.store import PlanStore
from tests.experiment.packages import PLAN, plan, publish_package


async def nothing(ids: frozenset[str]) -> None:
    """Models need no loading here."""


async def test_a_draft_for_a_head_that_replaces_another_can_be_published(
    valkey_of_its_own: str, tmp_path: Path
):
    models = tmp_path / "models"
    publish_package(models)
    publish_package(models, heads=("ctr", "ctcvr", "vcr", "fav"))
    redis = connect(valkey_of_its_own, timeout_s=5.0)
    await PlanStore(redis).publish("feed", PLAN, expected=None)
    loader = PlanLoader(
        redis, Repository(models), prepare=nothing, state_dir=tmp_path / "s", replica="host:1"
    )
    await loader.start()
    checking = Checking(loader)
    draft = plan(("formulas/sum/additive", {"ctr": 1.0, "fav": 4.0}))
    unknown = "/formulas/sum/additive/fav: model toy/1 has no head or attribute 'fav'"
    assert str((await checking.check("feed", draft)).findings[0]).count(unknown) == 1
    await loader.aliases.move("toy", "champion", 2, expected=1)
    await loader.refresh()
    assert loader.models_in_use() == {"toy/1"}
    assert (await checking.check("feed", draft)).as_version(2).models == {"toy/2"}
    assert (await checking.check("feed", PLAN)).as_version(2).models == {"toy/1"}
    neither = plan(("formulas/sum/additive", {"like": 1.0, "fav": 4.0}))
    assert str((await checking.check("feed", neither)).findings[0]).count(unknown) == 1
    await loader.close()
    await redis.aclose()
