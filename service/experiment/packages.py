"""Packages as plans see them: references resolved under one fixed set of aliases."""

from dataclasses import dataclass, field
from functools import lru_cache

from service.contract.golden import Golden, read_golden
from service.contract.manifest import Manifest
from service.contract.repository import ModelRef, Repository
from service.experiment.aliases import Aliases

_KEPT = 32  # golden rows of versions: some hundred kilobytes each


class PackageReader:
    """Manifests and golden rows, read once: versions never change.

    Manifests are large and are not kept here: the repository hands out the one that a loaded model
    holds. Kept here, those of replaced versions would stay in memory.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.golden = lru_cache(_KEPT)(self._golden)

    def manifest(self, name: str, version: int) -> Manifest:
        """Raises UnknownModel or PackageError."""
        return self.repository.manifest(name, version)

    def _golden(self, name: str, version: int) -> Golden:
        """Raises PackageError; a failure is not kept."""
        return read_golden(self.repository.path(name, version))


@dataclass(frozen=True)
class ResolvedModels:
    """A `Models` view: aliases as they were read once, so that one plan never sees two versions.

    It holds the manifests it gave, so that a check reads each of them once.
    """

    reader: PackageReader
    aliases: Aliases
    _manifests: dict[tuple[str, int], Manifest] = field(default_factory=dict, repr=False)

    def manifest(self, ref: ModelRef) -> Manifest:
        """Raises UnknownModel or PackageError; a variant that was refused is unknown."""
        wanted = ref.name, self._version(ref)
        if wanted not in self._manifests:
            self._manifests[wanted] = self.reader.manifest(*wanted)
        manifest = self._manifests[wanted]
        if ref.variant is not None:
            manifest.variant(ref.variant)
        return manifest

    def golden(self, ref: ModelRef) -> Golden:
        self.manifest(ref)
        return self.reader.golden(ref.name, self._version(ref))

    def _version(self, ref: ModelRef) -> int:
        return self.reader.repository.resolve(ref, self.aliases.get(ref.name))
