"""Something has happened, for any number of tasks that wait for it."""

import asyncio


class News:
    """Take `next` before looking, look, then wait for it: nothing in between is missed."""

    def __init__(self) -> None:
        self.next = asyncio.Event()

    def tell(self) -> None:
        """Wake who waits now; who comes later waits for the next time."""
        self.next.set()
        self.next = asyncio.Event()
