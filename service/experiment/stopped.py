"""Stop an arm in a plan document. Pure: a document in, a changed copy out."""

import copy
from collections.abc import Mapping
from typing import Any

from service.experiment.errors import NotRunning


def stop_arm(document: Mapping[str, Any], layer: str, arm: str, why: str) -> dict[str, Any]:
    """A copy in which nobody gets the arm "experiment/arm"; it keeps its slots.

    Raises:
        NotRunning: the document has no such arm, or it is stopped already.
    """
    changed = copy.deepcopy(dict(document))
    for found in changed.get("layers", ()):
        for experiment in found.get("experiments", ()) if found["name"] == layer else ():
            for entry in experiment["arms"]:
                if f"{experiment['name']}/{entry['name']}" != arm:
                    continue
                if (before := entry.get("stopped")) is not None:
                    raise NotRunning(f"arm {arm!r} is stopped already: {before}")
                entry["stopped"] = why
                return changed
    raise NotRunning(f"arm {arm!r} of layer {layer!r} is not in the plan")
