"""Give the memory of a dropped model back to the system, without stalling the threads that serve.

Freeing a large vocabulary is one long step that holds the interpreter lock; here it is taken in
pieces. The C library keeps freed memory for itself until it is told to trim.
"""

import ctypes
import gc
import time
import weakref
from collections.abc import Iterator

from service.contract.manifest import Manifest
from service.scoring.package import LoadedModel

_PATIENCE_S = 30.0  # for requests that still hold the model
_PAUSE_S = 0.02
_BETWEEN_S = 0.001  # between two pieces: other threads get the interpreter lock


def give_back(models: list[LoadedModel]) -> None:
    """Empty the list, wait until nobody else holds its models either, and return their memory."""
    pieces: list[object] = []
    alive: list[weakref.ref[LoadedModel] | weakref.ref[Manifest]] = []
    while models:
        model = models.pop()
        alive += [weakref.ref(model), weakref.ref(model.manifest)]
        pieces += _pieces(model.manifest)
        del model
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
