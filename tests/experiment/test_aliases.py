"""Aliases in the store are one truth: moved by compare-and-set, filled once."""

import asyncio

import pytest

from service.contract.errors import UnknownModel
from service.experiment.aliases import AliasStore
from service.experiment.connection import Client
from service.experiment.errors import StaleAlias


@pytest.fixture
def aliases(redis: Client) -> AliasStore:
    return AliasStore(redis)


async def test_a_model_without_aliases_has_none(aliases: AliasStore):
    assert await aliases.read(["toy", "other"]) == {"toy": {}, "other": {}}
    assert await aliases.read([]) == {}


async def test_an_alias_moves_from_where_it_was(aliases: AliasStore, redis: Client):
    await aliases.move("toy", "champion", 1, expected=None)
    await aliases.move("toy", "champion", 2, expected=1)
    assert await aliases.read(["toy"]) == {"toy": {"champion": 2}}
    assert await redis.hgetall("finerank:aliases:toy") == {b"champion": b"2"}


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


async def test_an_empty_store_is_filled_once(aliases: AliasStore):
    assert await aliases.fill("toy", {}) is False
    assert await aliases.fill("toy", {"champion": 1, "challenger": 2}) is True
    assert await aliases.fill("toy", {"champion": 7}) is False
    assert await aliases.read(["toy"]) == {"toy": {"champion": 1, "challenger": 2}}
