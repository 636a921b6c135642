"""Use the store that the settings name for as long as a block lasts: a URL, or the embedded one."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.experiment.embedded import start_embedded
from service.settings import EMBEDDED, Settings


@contextmanager
def open_store(settings: Settings) -> Iterator[str]:
    """The store's URL; the embedded server runs at least until the block ends."""
    if settings.store != EMBEDDED:
        yield settings.store
        return
    embedded = start_embedded(settings.state_dir)
    try:
        yield embedded.url
    finally:
        embedded.close()
