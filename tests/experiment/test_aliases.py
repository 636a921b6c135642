"""Aliases in the store are one truth: moved by compare-and-set, filled once."""

import asyncio
from pathlib import Path

import pytest

from service.contract.errors import UnknownModel
from service.contract.repository import ModelRef, Repository
from service.experiment.aliases import AliasStore, pinned, unmoved
from service.experiment.connection import Client
from service.experiment.errors import StaleAlias
from tests.experiment.packages import publish_package


@pytest.fixture
def aliases(redis: Client, models_dir: Path) -> AliasStore:
    """A store beside a repository in which toy@champion is version 1."""
    return AliasStore(redis, Repository(models_dir))


async def test_a_model_without_aliases_has_none(aliases: AliasStore):
    assert await aliases.read(["other", "third"]) == {"other": {}, "third": {}}
    assert await aliases.read([]) == {}


async def test_an_alias_moves_from_where_it_was(aliases: AliasStore, redis: Client):
    await aliases.move("other", "champion", 1, expected=None)
    await aliases.move("other", "champion", 2, expected=1)
    assert await aliases.read(["other"]) == {"other": {"champion": 2}}
    assert await redis.hgetall("finerank:aliases:other") == {b"champion": b"2"}


async def test_a_stale_move_is_told_where_the_alias_points(aliases: AliasStore):
    await aliases.move("toy", "champion", 2, expected=None)
    with pytest.raises(StaleAlias) as caught:
        await aliases.move("toy", "champion", 3, expected=1)
    assert caught.value.current == 2
    assert str(caught.value) == (
        "toy@champion was expected to point at version 1, but points at version 2"
    )
    with pytest.raises(StaleAlias, match="expected to point at version 4, but points at nothing"):
        await aliases.move("toy", "challenger", 5, expected=4)


async def test_of_two_moves_at_once_one_wins(aliases: AliasStore):
    results = await asyncio.gather(
        *(aliases.move("toy", "champion", n, expected=None) for n in (1, 2, 3)),
        return_exceptions=True,
    )
    assert sum(result is None for result in results) == 1


async def test_a_name_that_is_none_is_refused(aliases: AliasStore):
    with pytest.raises(UnknownModel, match="'toy@Champion!' is no model"):
        await aliases.move("toy", "Champion!", 1, expected=None)


async def test_an_empty_store_is_filled_from_the_file_once(
    aliases: AliasStore, redis: Client, models_dir: Path
):
    assert await aliases.read(["toy"]) == {"toy": {"champion": 1}}
    assert await redis.hgetall("finerank:aliases:toy") == {b"champion": b"1"}
    publish_package(models_dir)
    Repository(models_dir).set_alias("toy", "champion", 2)
    assert await aliases.read(["toy"]) == {"toy": {"champion": 1}}


async def test_a_file_that_is_no_alias_file_fills_nothing(
    aliases: AliasStore, redis: Client, models_dir: Path
):
    (models_dir / "toy" / "aliases.json").write_text("[")
    assert await aliases.read(["toy"]) == {"toy": {}}
    assert await redis.exists("finerank:aliases:toy") == 0


async def test_what_was_written_by_hand_and_is_no_version_is_no_alias(
    aliases: AliasStore, redis: Client
):
    await redis.hset("finerank:aliases:toy", mapping={"champion": "seven", "challenger": 2})
    assert await aliases.read(["toy"]) == {"toy": {"challenger": 2}}


async def test_aliases_whose_key_is_no_hash_are_unknown_and_not_those_of_the_file(
    aliases: AliasStore, redis: Client
):
    await aliases.move("other", "champion", 1, expected=None)
    await redis.set("finerank:aliases:toy", "champion")
    assert await aliases.read(["toy", "other"]) == {"other": {"champion": 1}}


def test_pinned_aliases_are_those_a_plan_names():
    refs = [ModelRef.parse(text) for text in ("toy", "toy@challenger", "other/3", "new@x")]
    now = {"toy": {"champion": 1, "shadow": 5}, "other": {"champion": 2}, "new": {}}
    named = pinned(refs, now)
    assert named == {"toy": {"champion": 1, "challenger": 0}, "other": {}, "new": {"x": 0}}
    assert unmoved(named, now)
    assert unmoved(named, {**now, "other": {"champion": 9}})
    assert not unmoved(named, {**now, "toy": {"champion": 2}})
    assert not unmoved(named, {**now, "new": {"x": 1}})
