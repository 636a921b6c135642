"""What somebody else has published meanwhile, told to whoever was slower."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from service.api.etags import Precondition
from service.errors import EtagMismatch, ServiceError
from service.experiment.differences import changes
from service.experiment.store import StoredPlan

_TOLD = ("author", "message", "published_at")
_MOST_LINES = 200  # of the differences


@asynccontextmanager
async def telling_what_was_published(
    precondition: Precondition, read: Callable[[int | None], Awaitable[StoredPlan]]
) -> AsyncIterator[None]:
    """Add to an EtagMismatch who published the live plan, and what that changed.

    Args:
        precondition: of the write.
        read: a version of the scene's plan; of None, the live one.
    """
    try:
        yield
    except EtagMismatch as mismatch:
        live, expected = mismatch.more.get("version"), precondition.versions or frozenset()
        if isinstance(live, int) and len(expected) == 1 and max(expected) < live:
            with suppress(ServiceError):
                known, published = await read(max(expected)), await read(None)
                lines = changes(known.plan, published.plan)
                mismatch.more |= {
                    **{key: getattr(published, key) for key in _TOLD},
                    "changes": [*lines[:_MOST_LINES], *["…"][: len(lines) > _MOST_LINES]],
                }
        raise
