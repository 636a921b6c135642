"""Changes of items are published by a load and heard by whoever keeps something of them."""

import asyncio
import contextlib
from pathlib import Path

import pytest
import redis
from redis.asyncio import Redis

from service.features.item_updates import CHANNEL, change_message, follow_changes, read_change
from service.features.load import load_file


@pytest.mark.parametrize("message", [b"*", b"{", b"7", b'{"scene": "feed"}', b'{"ids": ["1"]}'])
def test_what_names_no_items_means_any_item(message: bytes) -> None:
    assert read_change(message) is None


def test_message_is_read_back() -> None:
    assert read_change(change_message("feed", ["1", "ä"])) == ("feed", ["1", "ä"])


def test_integer_ids_are_their_decimal_text() -> None:
    assert read_change(b'{"scene": "feed", "ids": [712]}') == ("feed", ["712"])


async def until(heard: list[object], count: int) -> None:
    while len(heard) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def test_a_load_of_items_is_heard_by_batch(
    valkey: redis.Redis, valkey_url: str, tmp_path: Path
) -> None:
    heard: list[object] = []
    client = Redis.from_url(valkey_url)
    following = asyncio.create_task(
        follow_changes(client, lambda *change: heard.append(change), lambda: heard.append("any"))
    )
    await until(heard, 1)
    assert heard == ["any"]  # a new connection does not know what it missed
    file = tmp_path / "items.jsonl"
    file.write_text('{"id": "a", "x": 1}\n{"id": "b", "x": 2}\n')
    report = await asyncio.to_thread(load_file, valkey_url, "feed", "item", file)
    assert report.written == 2
    await asyncio.to_thread(load_file, valkey_url, "feed", "user", file)
    valkey.publish(CHANNEL, b"*")
    await until(heard, 3)
    assert heard[1:] == [("feed", ["a", "b"]), "any"]
    following.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await following
    await client.aclose()
