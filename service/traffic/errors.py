"""What can be wrong with a serving log, a preview or outcomes, as sentences."""


class TrafficError(Exception):
    """The sentence says what and where."""


class NoParquet(TrafficError):
    """pyarrow is not installed; the base of serving does without it."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} needs pyarrow: ./install cpu,log")
