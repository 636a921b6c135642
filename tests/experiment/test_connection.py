"""The client gives up soon, and knows the URLs of DESIGN §8."""

from functools import partial

import pytest

from service.experiment.connection import UNAVAILABLE, connect, connect_blocking


@pytest.mark.parametrize("scheme", ["redis://127.0.0.1:1", "unix:///nowhere/at/all.sock"])
async def test_a_store_that_is_not_there_is_an_error_at_once(scheme: str):
    client = connect(scheme)
    with pytest.raises(UNAVAILABLE):
        await client.ping()
    await client.aclose()


def test_timeouts_are_short_and_nothing_is_retried():
    options = connect("redis://localhost/3", timeout_s=0.1).get_connection_kwargs()
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (0.1, 0.1)
    assert options["retry"].get_retries() == 0
    assert options["db"] == 3


def test_a_sentinel_url_names_sentinels_and_service():
    client = connect("redis+sentinel://one:26380,two/main?db=2", timeout_s=0.1)
    pool = client.connection_pool
    assert pool.service_name == "main"
    watched = [s.get_connection_kwargs() for s in pool.sentinel_manager.sentinels]
    assert [(w["host"], w["port"]) for w in watched] == [("one", 26380), ("two", 26379)]
    assert {w["socket_timeout"] for w in watched} == {0.1}
    for url in ("redis+sentinel://one:26380", "redis+sentinel://one:x/main"):
        for open_ in (connect, partial(connect_blocking, timeout_s=1)):
            with pytest.raises(
                ValueError, match=r"write redis\+sentinel://host:port,host:port/ser"
            ):
                open_(url)
    with pytest.raises(ValueError, match="must specify one of the following schemes"):
        connect("http://localhost")
