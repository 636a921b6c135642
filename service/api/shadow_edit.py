"""Start, stop and promote the shadow of a plan document. Pure: documents in, changed copies out."""

import copy
from collections.abc import Mapping
from typing import Any

from service.errors import InvalidRequest

Document = dict[str, Any]


def start_shadow(plan: Mapping[str, Any], shadow: Mapping[str, Any]) -> Document:
    """With this shadow, in place of any other."""
    return copy.deepcopy(dict(plan)) | {"shadow": dict(shadow)}


def stop_shadow(plan: Mapping[str, Any]) -> Document:
    """Without a shadow.

    Raises:
        InvalidRequest: there is none.
    """
    changed = copy.deepcopy(dict(plan))
    _taken(changed)
    return changed


def promote_shadow(plan: Mapping[str, Any], model: str | None) -> Document:
    """With the shadow's formula as the default and `model`, "name/version", as the plan's model.

    Raises:
        InvalidRequest: there is no shadow, or another one than `model` is of.
    """
    changed = copy.deepcopy(dict(plan))
    shadow = _taken(changed)
    if (shadow.get("model") is None) != (model is None):
        raise InvalidRequest(
            "the shadow of the live plan is not the one that this replica scores; ask again"
        )
    if shadow.get("formula") is not None:
        changed["default"] = {**changed["default"], "formula": shadow["formula"]}
    if model is not None:
        changed["model"] = model
    return changed


def _taken(plan: Document) -> Document:
    shadow: Document | None = plan.pop("shadow", None)
    if shadow is None:
        raise InvalidRequest("the live plan has no shadow")
    return shadow
