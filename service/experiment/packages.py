"""Packages as plans see them: references resolved under one fixed set of aliases."""

from dataclasses import dataclass
from functools import lru_cache

from service.contract.golden import Golden, read_golden
from service.contract.manifest import Manifest
from service.contract.repository import ModelRef, Repository
from service.experiment.aliases import Aliases

_KEPT = 32  # versions; a manifest with its vocabularies may take some megabytes


class PackageReader:
    """Manifests and golden rows, each read once: versions never change."""

    def __init__(self, repository: Repository) -> None:
        self.repository = repository
        self.package = lru_cache(_KEPT)(self._package)

    def _package(self, name: str, version: int) -> tuple[Manifest, Golden]:
        """Raises UnknownModel or PackageError; a failure is not kept."""
        manifest = self.repository.manifest(name, version)
        return manifest, read_golden(self.repository.path(name, version))


@dataclass(frozen=True)
class ResolvedModels:
    """A `Models` view: aliases as they were read once, so that one plan never sees two versions."""

    reader: PackageReader
    aliases: Aliases

    def manifest(self, ref: ModelRef) -> Manifest:
        return self.reader.package(ref.name, self._version(ref))[0]

    def golden(self, ref: ModelRef) -> Golden:
        return self.reader.package(ref.name, self._version(ref))[1]

    def _version(self, ref: ModelRef) -> int:
        return self.reader.repository.resolve(ref, self.aliases.get(ref.name))
