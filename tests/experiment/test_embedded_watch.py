"""A service that stays starts its embedded store again when nobody else does."""

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

from structlog.testing import capture_logs

from service.experiment.embedded import start_embedded
from service.experiment.embedded_watch import watch_embedded
from tests.experiment.test_embedded import (
    client,
    kill_with_keeper,
    parent_of,
    pid_of,
    state,
    wait_until_gone,
)

__all__ = ["state"]


async def until(is_true: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not is_true():  # noqa: ASYNC110, processes set no event
            await asyncio.sleep(0.02)


async def test_each_death_of_both_is_followed_by_a_start_and_a_line(state: Path) -> None:
    store = start_embedded(state)
    with client(store.url) as server:
        server.set("k", "v")
        server.execute_command("WAITAOF", 1, 0, 5000)
    with capture_logs() as lines:
        watch = asyncio.create_task(watch_embedded(store, look_s=0.02))
        for deaths in (1, 2):
            kill_with_keeper(store.url)
            await until(lambda deaths=deaths: len(lines) >= deaths)
        await asyncio.sleep(0.1)  # some more looks
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
    with client(store.url) as server:
        assert server.get("k") == b"v"
    line = {
        "event": "embedded_store_started_again",
        "log_level": "warning",
        "reason": "its keeper was gone, too",
    }
    assert lines == [line, line]
    keeper = parent_of(pid_of(store.url))
    store.close()
    wait_until_gone(keeper)


async def test_starts_that_fail_are_one_line_and_are_tried_again(state: Path) -> None:
    store = start_embedded(state)
    data = state / "valkey" / "data"
    kill_with_keeper(store.url)
    data.rename(state / "away")
    data.write_text("this is no directory\n")
    with capture_logs() as lines:
        watch = asyncio.create_task(watch_embedded(store, look_s=0.02))
        await until(lambda: len(lines) > 0)
        await asyncio.sleep(1)  # two or three more attempts
        data.unlink()
        (state / "away").rename(data)
        await until(lambda: len(lines) > 1)
        watch.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watch
    assert [line["event"] for line in lines] == [
        "embedded_store_gone",
        "embedded_store_started_again",
    ]
    assert lines[0]["reason"].startswith(f"embedded Valkey in {state}/valkey did not start: ")
    keeper = parent_of(pid_of(store.url))
    store.close()
    wait_until_gone(keeper)
