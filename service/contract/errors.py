"""What can be wrong with a raw value or a package, as sentences."""


class ContractError(ValueError):
    """Something does not follow the contract between training and serving."""


class EncodeError(ContractError):
    """A raw value that its feature cannot take."""

    def __init__(self, feature: str, row: int, value: object, rule: str) -> None:
        self.feature, self.row, self.value, self.rule = feature, row, value, rule
        shown = repr(value)
        super().__init__(f"feature {feature!r}, row {row}: {shown[:80]} {rule}")


class PackageError(ContractError):
    """A model package that cannot be used: the sentence names the file and what is wrong."""


class UnknownModel(PackageError):
    """A model reference that resolves to no package."""
