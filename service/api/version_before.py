"""Which version a rollback goes back to when nobody names one."""

from collections.abc import Awaitable, Callable, Mapping

from service.errors import UnknownVersion
from service.experiment.freeze import KEY
from service.experiment.store import Publication, StoredPlan


async def version_before(
    scene: str,
    live: StoredPlan,
    entries: Mapping[int, Publication],
    read: Callable[[int], Awaitable[StoredPlan]],
) -> int:
    """The last plan before the live one that is not frozen and says something else.

    A freeze and its end are no change of the plan: who rolls back after them means the plan before
    them, and a freeze that comes back unasked would end every experiment.

    Args:
        entries: the history, by version.
        read: a stored version.

    Raises:
        UnknownVersion: there was none.
    """
    version = _replaced(entries, live.version)
    while version is not None:
        document = (await read(version)).plan
        if KEY not in document and document != live.plan:
            return version
        version = _replaced(entries, version)
    raise UnknownVersion(
        f"scene {scene!r}: version {live.version} replaced no other plan; name a version"
    )


def _replaced(entries: Mapping[int, Publication], version: int) -> int | None:
    """What a version replaced; that of a rollback, what the plan it repeats replaced.

    So a second rollback goes one step further back, not to the plan that the first one left.
    """
    entry = entries.get(version)
    while entry is not None and entry.rollback_to is not None:
        entry = entries.get(entry.rollback_to)
    return None if entry is None else entry.replaced
