"""How many may wait for work that is done one at a time; the others are told to come back."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import TooBusy

MOST = 8


class Places:
    """Places of those under way and those who wait for them. Use it on the event loop.

    Each waits with its whole body in memory, and mostly longer than its caller.

    Args:
        what: the work, in the plural.
        most: places, the one under way included.
    """

    def __init__(self, what: str, most: int = MOST) -> None:
        self._what, self._most, self._taken = what, most, 0

    @contextmanager
    def take(self) -> Iterator[None]:
        """A place until the block ends.

        Raises:
            TooBusy: all are taken.
        """
        if self._taken >= self._most:
            raise TooBusy(
                f"{self._taken} {self._what} are under way or waiting, one runs at a time:"
                " come back later",
                headers={"retry-after": "1"},
            )
        self._taken += 1
        try:
            yield
        finally:
            self._taken -= 1
