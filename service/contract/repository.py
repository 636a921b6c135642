"""`models/<name>/<version>/`: list, resolve and publish packages; versions never change."""

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self
from weakref import WeakValueDictionary

from service.contract.errors import PackageError, UnknownModel
from service.contract.manifest import FILE, Manifest, read_manifest
from service.contract.writing import alone_in, draft_in, sync_directory, sync_file

ALIASES = "aliases.json"
CHAMPION = "champion"
_REFERENCE = re.compile(
    r"([a-z0-9][a-z0-9_-]{0,63})(?:@([a-z][a-z0-9_-]{0,31})|/([1-9][0-9]{0,8}))?"
    r"(?:\+([a-z][a-z0-9]{0,15}))?"
)


@dataclass(frozen=True)
class ModelRef:
    """`name@alias` (moves with it) or `name/version` (pinned); a bare name means `@champion`.

    `+int8` behind it means that variant of the package.
    """

    name: str
    alias: str | None = None
    version: int | None = None
    variant: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        match = _REFERENCE.fullmatch(text)
        if match is None:
            raise UnknownModel(f"{text!r} is no model: write name, name@alias or name/version")
        name, alias, version, variant = match.groups()
        if version is not None:
            return cls(name, version=int(version), variant=variant)
        return cls(name, alias=alias or CHAMPION, variant=variant)

    def __str__(self) -> str:
        place = f"@{self.alias}" if self.version is None else f"/{self.version}"
        return f"{self.name}{place}{f'+{self.variant}' if self.variant else ''}"

    @property
    def package(self) -> Self:
        """The same without its variant."""
        return replace(self, variant=None)

    def at(self, version: int) -> Self:
        """The same, pinned to a version."""
        return replace(self, alias=None, version=version)


class Repository:
    """The models directory. Publishing is the rename of a finished, synced directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # A manifest with its vocabularies may take 100 MB: whoever holds one shares it.
        self._read: WeakValueDictionary[tuple[int, ...], Manifest] = WeakValueDictionary()

    def names(self) -> list[str]:
        """Models with at least one version, sorted."""
        if not self.root.is_dir():
            return []
        return sorted(d.name for d in self.root.iterdir() if d.is_dir() and self.versions(d.name))

    def versions(self, name: str) -> list[int]:
        """Published versions of a model, ascending; [] for an unknown one."""
        directory = self.root / name
        if not directory.is_dir():
            return []
        return sorted(int(d.name) for d in directory.iterdir() if _is_version(d))

    def path(self, name: str, version: int) -> Path:
        return self.root / name / str(version)

    def manifest(
        self, name: str, version: int, between: Callable[[], object] = lambda: None
    ) -> Manifest:
        """The checked manifest of a version; `between`: see `read_manifest`.

        Raises:
            UnknownModel: there is no such version.
            PackageError: its manifest is wrong, or belongs to another name or version.
        """
        self._require(name, version)
        directory = self.path(name, version)
        found = self._identity(directory / FILE)
        if found is not None and (known := self._read.get(found)) is not None:
            return known
        manifest = read_manifest(directory, between)
        if (manifest.name, manifest.version) != (name, version):
            raise PackageError(f"{directory}: the manifest says {manifest.id}")
        if found is not None:
            self._read[found] = manifest
        return manifest

    def read_aliases(self, name: str) -> dict[str, int]:
        """`aliases.json`: the bootstrap for an empty store; {} when there is none."""
        path = self.root / name / ALIASES
        try:
            aliases = json.loads(path.read_bytes())
        except FileNotFoundError:
            return {}
        except ValueError as err:
            raise PackageError(f"{path}: not JSON: {err}") from err
        if not isinstance(aliases, dict) or not all(type(v) is int for v in aliases.values()):
            raise PackageError(f"{path}: must map alias to version number")
        return aliases

    def set_alias(self, name: str, alias: str, version: int) -> None:
        """Point an alias of `aliases.json` at a version; two writers at once lose nothing."""
        self._require(name, version)
        ModelRef.parse(f"{name}@{alias}")
        path = self.root / name / ALIASES
        with alone_in(path.parent):
            aliases = self.read_aliases(name) | {alias: version}
            draft = path.with_name(f".{ALIASES}.{os.getpid()}")
            with draft.open("w") as file:
                json.dump(aliases, file, sort_keys=True)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            sync_directory(path.parent)

    def resolve(self, ref: ModelRef, aliases: Mapping[str, int] | None = None) -> int:
        """The version a reference means now; `aliases` (the store's) go before `aliases.json`.

        Raises:
            UnknownModel: no such model, alias or version; the sentence lists what there is.
        """
        if not self.versions(ref.name):
            raise UnknownModel(
                f"no model {ref.name!r} in {self.root} (known: {', '.join(self.names()) or 'none'})"
            )
        if ref.version is not None:
            self._require(ref.name, ref.version)
            return ref.version
        known = dict(aliases) if aliases else self.read_aliases(ref.name)
        if ref.alias not in known:
            raise UnknownModel(
                f"model {ref.name!r} has no alias {ref.alias!r}"
                f" (known: {', '.join(sorted(known)) or 'none'})"
            )
        self._require(ref.name, known[ref.alias])
        return known[ref.alias]

    def publish(self, name: str, write: Callable[[Path, int], None]) -> int:
        """Publish the next version: `write(directory, version)` fills it, one rename shows it.

        A crash or an error at any point leaves no version behind; two publishers get two versions.
        What a publisher that was killed had written is removed by the next one of that model.
        """
        ModelRef.parse(name)
        parent = self.root / name
        parent.mkdir(parents=True, exist_ok=True)
        while True:
            version = max(self.versions(name), default=0) + 1
            with draft_in(parent) as draft:
                write(draft, version)
                for file in draft.iterdir():
                    sync_file(file)
                draft.chmod(0o755)
                sync_directory(draft)
                try:
                    draft.rename(self.path(name, version))
                except OSError:
                    if self.path(name, version).exists():
                        continue  # another publisher took this number: write again under the next
                    raise
                sync_directory(parent)
                return version

    @staticmethod
    def _identity(path: Path) -> tuple[int, ...] | None:
        """What changes with the content of a file; None when there is no such file."""
        try:
            found = path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _require(self, name: str, version: int) -> None:
        if version not in self.versions(name):
            known = ", ".join(map(str, self.versions(name))) or "none"
            raise UnknownModel(f"model {name!r} has no version {version} (known: {known})")


def _is_version(directory: Path) -> bool:
    """Whether a directory is named by a version as `path` writes it; "07" and "１" are not."""
    name = directory.name
    return name.isdecimal() and name == str(int(name)) and directory.is_dir()
