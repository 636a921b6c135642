"""What can be wrong with a search, as sentences."""


class TuneError(ValueError):
    """A search that cannot be made: a plan, a file of predictions, an objective or a bound."""
