"""Give the memory of a dropped model back to the system, without stalling the threads that serve.

Freeing a large vocabulary is one long step that holds the interpreter lock; here it is taken in
pieces. The C library keeps freed memory for itself until it is told to trim.
"""

import ctypes
import gc
import time
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from service.contract.manifest import Manifest
from service.scoring.package import LoadedModel

_PATIENCE_S = 30.0  # for requests that still hold the model
_PAUSE_S = 0.02
_BETWEEN_S = 0.001  # between two pieces: other threads get the interpreter lock


@dataclass(frozen=True)
class Dropped:
    """Models that are to go: what is large in them, and whether somebody still holds them."""

    pieces: list[object]
    alive: list[weakref.ref[LoadedModel] | weakref.ref[Manifest]]

    @classmethod
    def of(cls, models: list[LoadedModel], staying: Iterable[LoadedModel] = ()) -> Self:
        """Empties the list: what waits to be given back holds no model itself.

        A manifest of one that stays (another variant of the same version) is not waited for.
        """
        dropped, shared = cls([], []), {id(model.manifest) for model in staying}
        while models:
            model = models.pop()
            dropped.alive.append(weakref.ref(model))
            if id(model.manifest) not in shared:
                dropped.alive.append(weakref.ref(model.manifest))
                dropped.pieces.extend(_pieces(model.manifest))
        return dropped


def give_back(dropped: Dropped) -> None:
    """Wait until nobody holds the models either, and return their memory."""
    pieces, alive = dropped.pieces, dropped.alive
    until = time.monotonic() + _PATIENCE_S
    while any(ref() is not None for ref in alive) and time.monotonic() < until:
        time.sleep(_PAUSE_S)
    while pieces:
        pieces.pop()
        time.sleep(_BETWEEN_S)
    gc.collect()
    trim()


def trim() -> bool:
    """Ask the C library to return free memory; False where it cannot (only glibc can)."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError):
        return False


def _pieces(manifest: Manifest) -> Iterator[object]:
    """What is large in a manifest, and can be freed by itself."""
    schema = manifest.schema_
    built = vars(schema).get("vocabularies", {})  # a cached property: not to be built for this
    for feature in schema.features:
        yield getattr(feature, "vocabulary", None)
        yield built.get(feature.name)
