"""What differs between two plan documents: as a unified diff, and as params before -> after."""

import difflib
import json
from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]


def diff_lines(before: Document, after: Document, name: str, other: str) -> list[str]:
    """A unified diff of the documents as indented JSON; [] when they are equal."""
    old, new = (json.dumps(d, indent=1, ensure_ascii=False).splitlines() for d in (before, after))
    return list(difflib.unified_diff(old, new, fromfile=name, tofile=other, lineterm=""))


def param_changes(before: Document, after: Document) -> list[str]:
    """`base.b: 1.2 -> 1.6` for each param whose value differs."""
    old = dict(_params(before))
    return [
        f"{name}: {old[name]:g} -> {value:g}" if name in old else f"{name}: {value:g}"
        for name, value in _params(after)
        if old.get(name) != value
    ]


def _params(plan: Document) -> Iterator[tuple[str, float]]:
    for formula, spec in plan["formulas"].items():
        for name, param in spec.get("params", {}).items():
            yield f"{formula}.{name}", param["value"]
        for form in ("multiplicative", "additive"):
            for head, term in spec.get(form, {}).items():
                weight = term["weight"] if isinstance(term, dict) else term
                yield f"{formula}.w_{head}", weight
