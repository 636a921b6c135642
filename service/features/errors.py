"""What can go wrong between a request's raw values and the model's arrays."""

from service.contract.errors import EncodeError
from service.contract.features import Side


class InlineError(EncodeError):
    """A value of the request that its feature cannot take; `side` and `row` say where it is."""

    def __init__(self, side: Side, cause: EncodeError, row: int) -> None:
        self.side = side
        super().__init__(cause.feature, row, cause.value, cause.rule)


class StoreUnavailable(Exception):
    """The feature store did not answer in time; the sentence says how long and what happened."""


class LoadError(ValueError):
    """A feature file that cannot be loaded; the sentence names file and line."""
