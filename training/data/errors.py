"""What can be wrong with a log, as sentences that name the file, the column and the row."""


class DataError(ValueError):
    """A log, a table beside it, or its mapping that cannot be read as configured."""


class BadCell(DataError):
    """A value that its column cannot take. `row` is 0-based, the header not counted."""

    def __init__(self, file: str, column: str, row: int, value: object, rule: str) -> None:
        self.file, self.column, self.row, self.value = file, column, row, value
        shown = "an empty cell" if value is None else repr(str(value)[:80])
        super().__init__(f"{file}, column {column!r}, row {row}: {shown} {rule}")


class MissingColumn(DataError):
    """A column that the mapping names and the file lacks."""

    def __init__(self, file: str, column: str, known: list[str]) -> None:
        super().__init__(f"{file} has no column {column!r} (it has: {', '.join(known)})")
