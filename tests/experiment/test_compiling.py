"""A plan that is checked and then published is compiled once."""

from pathlib import Path
from typing import Any

import pytest

from service.contract.repository import Repository
from service.experiment.aliases import Aliases
from service.experiment.compiling import Compiling
from service.experiment.errors import PlanInvalid
from service.experiment.packages import PackageReader, ResolvedModels
from service.experiment.plan import parse_plan
from service.experiment.snapshot import Checked
from tests.experiment.packages import plan, publish_package

BAD = ("formulas/base/score", "ctr^a * (")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    publish_package(tmp_path)
    publish_package(tmp_path)
    return tmp_path


async def check(
    compiling: Compiling, directory: Path, *changes: tuple[str, Any], champion: int = 1
) -> Checked:
    aliases: Aliases = {"toy": {"champion": champion}}
    models = ResolvedModels(PackageReader(Repository(directory)), aliases)
    return await compiling.check(parse_plan(plan(*changes)), models)


async def test_the_version_of_a_checked_plan_shares_its_treatments(directory: Path) -> None:
    compiling = Compiling()
    draft = (await check(compiling, directory)).as_version(7)
    again = (await check(compiling, directory)).as_version(8)
    assert (draft.version, again.version) == (7, 8)
    assert again.treatments is draft.treatments


async def test_plans_of_other_scenes_in_between_cost_no_compile(directory: Path) -> None:
    compiling = Compiling()
    draft = (await check(compiling, directory)).as_version(7)
    for n in range(31):
        await check(compiling, directory, ("scene", f"s{n}"))
    assert (await check(compiling, directory)).as_version(8).treatments is draft.treatments
    for n in range(32):
        await check(compiling, directory, ("scene", f"s{n}"))
    assert (await check(compiling, directory)).as_version(9).treatments is not draft.treatments


async def test_no_live_scene_is_compiled_again_for_want_of_places(directory: Path) -> None:
    scenes = [f"s{n}" for n in range(40)]
    compiling = Compiling(lambda: scenes)
    first = [await check(compiling, directory, ("scene", scene)) for scene in scenes]
    for n in range(33):
        await check(compiling, directory, ("scene", f"draft{n}"))
    again = [await check(compiling, directory, ("scene", scene)) for scene in scenes]
    assert all(one is other for one, other in zip(first, again, strict=True))


async def test_another_plan_is_compiled(directory: Path) -> None:
    compiling = Compiling()
    first = await check(compiling, directory)
    changed = await check(compiling, directory, ("formulas/base/params/a/value", 0.4))
    assert changed.as_version(2).treatments[0,].params["a"] == 0.4
    assert first.as_version(1).treatments[0,].params["a"] == 0.3


async def test_the_same_plan_over_a_moved_alias_is_compiled(directory: Path) -> None:
    compiling = Compiling()
    await check(compiling, directory)
    moved = await check(compiling, directory, champion=2)
    assert moved.as_version(1).models == {"toy/2"}


async def test_terms_in_another_order_are_another_plan(directory: Path) -> None:
    compiling = Compiling()
    weights = {"ctr": 1.0, "like": 4.0}
    turned = dict(reversed(weights.items()))
    formula = "formulas/sum/additive"
    chosen = ("default/formula", "sum")
    first = await check(compiling, directory, chosen, (formula, weights))
    second = await check(compiling, directory, chosen, (formula, turned))
    one, other = (str(c.as_version(1).treatments[0,].formula) for c in (first, second))
    assert one != other


async def test_what_is_wrong_is_checked_again(directory: Path) -> None:
    compiling = Compiling()
    for _ in range(2):
        wrong = await check(compiling, directory, BAD)
        assert wrong.snapshot is None
        with pytest.raises(PlanInvalid, match="/formulas/base/score"):
            wrong.as_version(1)
