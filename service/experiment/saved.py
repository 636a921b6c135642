"""The last accepted plan of each scene on local disk: what a start without Redis serves."""

import contextlib
import json
import os
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from service.experiment.aliases import Aliases
from service.experiment.errors import DamagedPlan
from service.experiment.library import Pinned
from service.experiment.store import StoredPlan, read_body, write_body

_SUFFIX = ".json"
_DRAFTS = ".*.????????"  # `.<scene>.` and what mkstemp adds
_STALE_S = 3600.0  # a draft is written in milliseconds, by whatever process


@dataclass(frozen=True)
class Saved:
    """An accepted publication, what the aliases it names pointed at, and its libraries."""

    stored: StoredPlan
    aliases: Aliases
    libraries: Pinned = field(default_factory=dict)


class SavedPlans:
    """One file a scene; replaced by a rename, so a reader finds the old or the new one, whole.

    Whoever saves removes what a killed process left of a draft.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def save(self, scene: str, saved: Saved) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        body = write_body(
            saved.stored,
            version=saved.stored.version,
            aliases=saved.aliases,
            scene=scene,
            libraries=saved.libraries,
        )
        handle, draft = tempfile.mkstemp(prefix=f".{scene}.", dir=self._directory)
        try:
            with os.fdopen(handle, "w") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            Path(draft).replace(self._directory / f"{scene}{_SUFFIX}")
        except BaseException:
            Path(draft).unlink(missing_ok=True)
            raise
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._remove_stale()

    def _remove_stale(self) -> None:
        before = time.time() - _STALE_S
        for draft in self._directory.glob(_DRAFTS):
            with contextlib.suppress(OSError):  # another process was first
                if draft.stat().st_mtime < before:
                    draft.unlink()

    def scenes(self) -> list[str]:
        if not self._directory.is_dir():
            return []
        return sorted(p.name.removesuffix(_SUFFIX) for p in self._directory.glob(f"[!.]*{_SUFFIX}"))

    def read(self, scene: str) -> Saved:
        """The saved plan of a scene.

        Raises:
            DamagedPlan: it cannot be read back as it was saved.
        """
        path = self._directory / f"{scene}{_SUFFIX}"
        try:
            body = path.read_bytes()
            fields = json.loads(body)
            version, aliases = int(fields["version"]), dict(fields["aliases"])
            libraries = {n: (int(v), d) for n, (v, d) in fields.get("libraries", {}).items()}
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise DamagedPlan(f"{path} is damaged: {type(err).__name__} {err}") from err
        return Saved(read_body(body, version, str(path)), aliases, libraries)
