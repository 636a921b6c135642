"""Start the embedded store again when it and its keeper are gone, while a service needs it."""

import asyncio

import structlog

from service.experiment.embedded import EmbeddedStore
from service.experiment.errors import EmbeddedError
from service.experiment.wake import is_cancelled

_LOOK_S = 2.0
_LONGEST_REST_S = 60.0  # between two starts, if each is followed by the next death


async def watch_embedded(store: EmbeddedStore, look_s: float = _LOOK_S) -> None:
    """Look every `look_s` until cancelled; after a start, or a failed one, twice as long."""
    log = structlog.get_logger("finerank.store")
    rest_s, fails = look_s, False
    while not is_cancelled():
        await asyncio.sleep(rest_s)
        try:
            tried = await asyncio.to_thread(store.revive)
        except (EmbeddedError, OSError) as err:
            if not fails:
                log.warning("embedded_store_gone", reason=str(err))
            tried = fails = True
        else:
            fails = False
            if tried:
                log.warning("embedded_store_started_again", reason="its keeper was gone, too")
        rest_s = min(2 * rest_s, _LONGEST_REST_S) if tried else look_s
