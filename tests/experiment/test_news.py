"""Who waits for news hears of them, and of none that are older."""

import asyncio

from service.experiment.news import News


async def test_all_who_wait_are_woken_and_who_comes_later_waits_on():
    news = News()
    waiting = [asyncio.create_task(news.next.wait()) for _ in range(3)]
    await asyncio.sleep(0)
    news.tell()
    await asyncio.gather(*waiting)
    assert not news.next.is_set()


async def test_nothing_between_a_look_and_the_wait_is_missed():
    news = News()
    taken = news.next
    news.tell()
    await taken.wait()
