"""A thousand publications: every one is found, page by page, and the first one again."""

from service.experiment.connection import Client
from service.experiment.store import PlanStore
from tests.experiment.packages import PLAN

VERSIONS = 1_000


async def test_a_thousand_versions_are_paged_through_and_each_can_be_read(redis: Client):
    store, live = PlanStore(redis), None
    for number in range(VERSIONS):
        live = await store.publish("feed", PLAN, expected=live, message=f"m{number}")
    whole = await store.history_page("feed", VERSIONS)
    assert [e.version for e in whole.entries] == list(range(VERSIONS, 0, -1))
    assert whole.next is None
    paged, before = [], None
    while True:
        page = await store.history_page("feed", 300, before)
        paged += page.entries
        before = page.next
        if before is None:
            break
    assert paged == whole.entries
    assert (await store.get("feed", 1)).message == "m0"
    assert await store.publish("feed", PLAN, expected=live, rollback_to=1) == VERSIONS + 1
