"""What can be wrong with a serving log, a preview or outcomes, as sentences."""

from pathlib import Path


class TrafficError(Exception):
    """The sentence says what and where."""


class NoParquet(TrafficError):
    """pyarrow is not installed; the base of serving does without it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} needs pyarrow: ./install cpu,log")


class FileGone(TrafficError):
    """A file of the log was there when the files were listed."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} was removed while the log was read: its service keeps no more")
